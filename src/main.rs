//! Process entry.

use std::env;
use std::ffi::OsStr;
use std::io::Write as _;
use std::process::ExitCode;

use terraform_provider_cloudflare::bundle;
use terraform_provider_cloudflare::provider;
use terraform_provider_cloudflare::rpc::{self, Serving};

fn main() -> ExitCode {
    let serving = match env::args_os().nth(1).as_deref().and_then(OsStr::to_str) {
        Some("--version" | "-version") => {
            let mut stdout = std::io::stdout().lock();
            let text = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));
            return match writeln!(stdout, "{text}") {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            };
        }
        Some(bundle::CHILD_MODE) => return bundle::serve(),
        Some("--debug" | "-debug") => Serving::Debug,
        _ => Serving::Plugin,
    };
    rpc::serve(provider::provider, serving)
}
