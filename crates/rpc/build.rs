//! Compiles the `.proto` files of the services that cross processes. No protoc is needed.

#![allow(clippy::print_stdout, reason = "how a build script talks to cargo")]

const PROTO_DIR: &str = "../../proto";
const SERVICES: [&str; 6] = [
    "lokirs/ingester.proto",
    "lokirs/index.proto",
    "lokirs/deletes.proto",
    "lokirs/queries.proto",
    "lokirs/scheduler.proto",
    "lokirs/rules.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed={PROTO_DIR}");
    let files = protox::compile(SERVICES, [PROTO_DIR])?;
    // Payloads stay slices of the message that they came in.
    tonic_prost_build::configure().bytes(".").compile_fds(files)?;
    Ok(())
}
