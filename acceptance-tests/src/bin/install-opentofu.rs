//! Builds the pinned OpenTofu if it is not there yet and prints its path, so that a test run does not have to wait.

use std::io::Write as _;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match acceptance_tests::install::opentofu().await {
        Ok(path) => match writeln!(std::io::stdout(), "{}", path.display()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}
