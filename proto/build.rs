//! Turns the `.proto` files into Rust with protox, so that nobody needs protoc to build the provider.

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
        println!("cargo::rerun-if-changed=proto/{file}");
    }
    let descriptors = protox::compile(FILES, ["proto"])?;
    tonic_prost_build::configure()
        .build_client(false)
        .build_server(true)
        // RPCs that the provider does not offer answer UNIMPLEMENTED, which every core understands.
        .generate_default_stubs(true)
        // The whole protocol is generated, and only a part of it is offered.
        .message_attribute(".", "#[allow(dead_code)]")
        .enum_attribute(".", "#[allow(dead_code)]")
        // Values can be tens of MiB; `Bytes` keeps them in the buffer that the message arrived in.
        .bytes(".tfplugin6.DynamicValue")
        .compile_fds(descriptors)?;
    Ok(())
}
