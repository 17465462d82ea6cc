//! The storage node: configuration, gRPC services and admin HTTP over the engine
