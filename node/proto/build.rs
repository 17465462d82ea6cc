//! Compiles the contracts with protox (no protoc on the machine) and keeps the descriptor set for reflection.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let files = [
        "thermocline/v1/kv.proto",
        "thermocline/v1/admin.proto",
        "thermocline/replica/v1/log.proto",
        "thermocline/replica/v1/replicas.proto",
    ];
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(files, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("thermocline_descriptor.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
