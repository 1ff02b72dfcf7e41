//! Generates gRPC clients from the provider's `.proto` files, for tests that drive the binary without a core.

use std::error::Error;

const FILES: [&str; 5] = [
    "tfplugin6.proto",
    "grpc_broker.proto",
    "grpc_controller.proto",
    "grpc_stdio.proto",
    "grpc_health.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed=../proto/{file}");
    }
    let descriptors = protox::compile(FILES, ["../proto"])?;
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(false)
        .compile_fds(descriptors)?;
    Ok(())
}
