//! What a go-plugin host and its plugins agree on before the first call: cookie, handshake line, standard streams.

use std::env;
use std::io::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rustls::pki_types::CertificateDer;
use serde_json::json;

use super::socket::Address;

/// The variable and the value by which both cores show that they start a plugin. No secret.
const COOKIE: (&str, &str) = (
    "TF_PLUGIN_MAGIC_COOKIE",
    "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2",
);

/// The version of go-plugin's own protocol, and of Terraform's.
const VERSIONS: &str = "1|6";

/// Under which addresses the two cores look for `durable-objects/cloudflare`.
const SOURCES: [&str; 2] = [
    "registry.terraform.io/durable-objects/cloudflare",
    "registry.opentofu.org/durable-objects/cloudflare",
];

/// What a person sees who starts the program by hand.
pub const NOT_A_PLUGIN: &str = r#"This is a provider for Terraform and OpenTofu.
They start it themselves once a configuration asks for it:

    terraform {
      required_providers {
        cloudflare = {
          source = "durable-objects/cloudflare"
        }
      }
    }

Then run `terraform init` or `tofu init`. The README tells more:
https://github.com/durable-objects/terraform-provider-cloudflare#readme

`--version` prints the version; `-debug` serves until Ctrl-C and prints how to attach a core."#;

/// What the host gives a plugin.
pub struct Start {
    /// The host's certificate as PEM; absent where the user has switched TLS off.
    pub client_certificate: Option<String>,
}

/// What the host has given this process; `None` if no host has started it.
pub fn start() -> Option<Start> {
    if env::var_os(COOKIE.0)? != COOKIE.1 {
        return None;
    }
    let client_certificate = env::var_os("PLUGIN_CLIENT_CERT")
        .filter(|pem| !pem.is_empty())
        .map(|pem| pem.to_string_lossy().into_owned());
    Some(Start { client_certificate })
}

/// Tells the host where to connect. Must be the first thing ever written to stdout, and the last.
///
/// The host's own list of versions is not looked at: one that lacks version 6 says so better than we could.
pub fn announce(address: &Address, certificate: Option<&CertificateDer<'_>>) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(handshake_line(address, certificate).as_bytes())?;
    stdout.flush()
}

fn handshake_line(address: &Address, certificate: Option<&CertificateDer<'_>>) -> String {
    // Hosts that sent no certificate crash on one in the answer.
    let certificate = certificate.map_or(String::new(), |der| STANDARD_NO_PAD.encode(der));
    let Address { network, address } = address;
    format!("{VERSIONS}|{network}|{address}|grpc|{certificate}\n")
}

/// Takes the standard streams from the host: later prints go to stderr, where they become log lines, instead of
/// filling a pipe; and stdin, the user's terminal, is let go.
#[cfg(unix)]
pub fn detach_stdio() -> io::Result<()> {
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    let null = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(())
}

/// Nothing to do where streams cannot be replaced: nothing here reads stdin or prints.
#[cfg(not(unix))]
pub fn detach_stdio() -> io::Result<()> {
    Ok(())
}

/// Tells a person how to attach a core.
pub fn announce_debug(address: &Address) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(
        stdout,
        "Provider started. To attach Terraform or OpenTofu, set this environment variable:\n\n\
         \tTF_REATTACH_PROVIDERS='{}'\n\n\
         Ctrl-C ends the provider.",
        reattach(address).replace('\'', r"'\''")
    )?;
    stdout.flush()
}

fn reattach(address: &Address) -> String {
    // With `Test` set, cores neither shut the process down nor kill it.
    let config = json!({
        "Protocol": "grpc",
        "ProtocolVersion": 6,
        "Pid": std::process::id(),
        "Test": true,
        "Addr": { "Network": address.network, "String": address.address },
    });
    let configs: serde_json::Map<String, serde_json::Value> = SOURCES
        .into_iter()
        .map(|source| (source.to_owned(), config.clone()))
        .collect();
    serde_json::Value::Object(configs).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Address {
        Address {
            network: "unix",
            address: "/run/x".to_owned(),
        }
    }

    #[test]
    fn the_handshake_line_has_six_fields_and_base64_without_padding() {
        assert_eq!(
            handshake_line(&address(), Some(&CertificateDer::from(vec![0xfb; 4]))),
            "1|6|unix|/run/x|grpc|+/v7+w\n"
        );
        assert_eq!(handshake_line(&address(), None), "1|6|unix|/run/x|grpc|\n");
    }

    #[test]
    fn both_cores_find_the_address_to_attach_to() {
        let configs: serde_json::Value =
            serde_json::from_str(&reattach(&address())).expect("valid JSON");
        for source in SOURCES {
            let config = &configs[source];
            assert_eq!(config["ProtocolVersion"], 6, "{source}");
            assert_eq!(config["Test"], true);
            assert_eq!(config["Addr"]["String"], "/run/x");
        }
    }
}
