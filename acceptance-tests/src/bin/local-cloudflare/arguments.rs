//! What can be written behind `local-cloudflare`, and what it means when it is left out.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Printed for `--help`.
pub const HELP: &str = "\
Local Cloudflare: Cloudflare's API for one account on this machine, with the real Workers runtime behind it.
Terraform, OpenTofu, wrangler and alchemy take it for Cloudflare. Nothing leaves this machine, and no other
machine can reach it.

Usage: cargo run -p acceptance-tests --bin local-cloudflare -- [options]

Options:
  --port <port>          Port of the API and of the status page; 0 takes a free one [default: 8787]
  --workers-port <port>  Port of all deployed Workers; 0 takes a free one [default: the one after --port]
  --state-dir <folder>   Where Workers and the data of their Durable Objects are kept from one start to the
                         next [default: .local-cloudflare in the current folder]
  --ephemeral            Keep nothing: start empty, and forget everything at the end
  --token <token>        The API token to accept [default: always the same one]
  --account-id <id>      The id of the account, 32 hex digits [default: always the same one]
  --quiet                Print no line for each request
  -h, --help             Print this

It prints the environment variables that clients need, and then a line for each request. Ctrl-C ends it.
Remove the state folder to start anew. Tests make calls fail with the switches that GET /__local lists.
";

/// How to run.
#[derive(Debug, PartialEq, Eq)]
pub struct Arguments {
    pub port: u16,
    pub workers_port: u16,
    /// Nothing is kept without one.
    pub state_dir: Option<PathBuf>,
    pub token: Option<String>,
    pub account_id: Option<String>,
    pub quiet: bool,
}

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    Help,
    Run(Arguments),
}

/// Reads the arguments behind the program's name. An error says what is wrong with them.
pub fn parse(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Result<Asked, String> {
    use lexopt::prelude::*;

    let mut parser = lexopt::Parser::from_args(arguments);
    let (mut port, mut workers_port) = (8787_u16, None);
    let (mut state_dir, mut ephemeral) = (None, false);
    let (mut token, mut account_id, mut quiet) = (None, None, false);
    let text = |error: lexopt::Error| error.to_string();
    while let Some(argument) = parser.next().map_err(text)? {
        let name = match argument {
            Long(name) => name.to_owned(),
            Short('h') => "help".to_owned(),
            other => return Err(text(other.unexpected())),
        };
        let mut value = || {
            let value = parser.value();
            value.map_err(|_| format!("--{name} needs a value"))
        };
        match name.as_str() {
            "port" => port = number(&name, value()?)?,
            "workers-port" => workers_port = Some(number(&name, value()?)?),
            "state-dir" => state_dir = Some(PathBuf::from(value()?)),
            "ephemeral" => ephemeral = true,
            "token" => token = Some(valid_token(value()?)?),
            "account-id" => account_id = Some(valid_account(value()?)?),
            "quiet" => quiet = true,
            "help" => return Ok(Asked::Help),
            _ => return Err(format!("there is no option --{name}")),
        }
    }
    if state_dir.as_deref() == Some(Path::new("")) {
        return Err("--state-dir is a folder".into());
    }
    if ephemeral && state_dir.is_some() {
        return Err(
            "--ephemeral keeps nothing, so it does not go together with --state-dir".into(),
        );
    }
    Ok(Asked::Run(Arguments {
        port,
        workers_port: workers_port.unwrap_or(match port {
            0 => 0,
            port => port.checked_add(1).unwrap_or(0),
        }),
        state_dir: match ephemeral {
            true => None,
            false => Some(state_dir.unwrap_or_else(|| ".local-cloudflare".into())),
        },
        token,
        account_id,
        quiet,
    }))
}

fn number(name: &str, value: OsString) -> Result<u16, String> {
    let number = value.to_str().and_then(|it| it.parse().ok());
    number.ok_or_else(|| format!("--{name} is a number from 0 to 65535, not {value:?}"))
}

/// A header has to carry it, and a shell's single quotes have to hold it.
fn valid_token(value: OsString) -> Result<String, String> {
    let token = value.into_string().unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\'';
    if token.is_empty() || !token.bytes().all(plain) {
        return Err("--token is made of letters, digits and signs other than quotes".into());
    }
    Ok(token)
}

fn valid_account(value: OsString) -> Result<String, String> {
    let id = value.into_string().unwrap_or_default();
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if id.len() != 32 || !id.bytes().all(digit) {
        return Err("--account-id is 32 hex digits, in lower case".into());
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(arguments: &[&str]) -> Arguments {
        match parse(arguments) {
            Ok(Asked::Run(arguments)) => arguments,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_left_out_has_a_value_that_can_be_bookmarked() {
        let found = run(&[]);
        assert_eq!((found.port, found.workers_port), (8787, 8788));
        assert_eq!(found.state_dir, Some(".local-cloudflare".into()));
        assert_eq!(run(&["--port", "0"]).workers_port, 0);
        assert_eq!(run(&["--port=9000"]).workers_port, 9001);
        assert_eq!(run(&["--port=9000", "--workers-port=80"]).workers_port, 80);
        assert_eq!(run(&["--ephemeral"]).state_dir, None);
    }

    #[test]
    fn a_wrong_argument_is_named() {
        for (arguments, part) in [
            (&["--prot", "1"][..], "--prot"),
            (&["--port"], "--port needs a value"),
            (&["--port", "70000"], "--port is a number"),
            (&["--token", "two words"], "--token"),
            (&["--token", "it's"], "--token"),
            (&["--account-id", "me"], "--account-id"),
            (&["--ephemeral", "--state-dir", "x"], "--ephemeral"),
            (&["--quiet=1"], "--quiet"),
            (&["serve"], "serve"),
        ] {
            let error = parse(arguments).expect_err("it is wrong");
            assert!(error.contains(part), "{arguments:?}: {error}");
        }
    }
}
