//! etcd's API, generated from `proto/etcd.proto`.
#![allow(missing_docs, clippy::all, clippy::pedantic, clippy::nursery)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::use_self, clippy::or_fun_call)]

tonic::include_proto!("etcdserverpb");
