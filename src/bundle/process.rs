//! One child that bundles: its start, what goes in and comes out, and how it ended.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::CHILD_MODE;

/// What the child exits with after a panic.
pub const PANICKED: u8 = 3;

/// Begins the line of its stderr that says where.
pub const PANICKED_AT: &str = "panicked at ";

/// The longest answer that is read: several times what Cloudflare takes.
const LONGEST_ANSWER: u64 = 256 << 20;

/// How much of the child's stderr is looked at.
const LONGEST_STDERR: u64 = 64 << 10;

/// Why a child gave no answer, for people.
#[derive(Debug, Error)]
pub enum Stop {
    /// There is no child.
    #[error("The process that bundles could not be started from `{}`: {error}.", program.display())]
    Start { program: PathBuf, error: io::Error },
    /// The child was there, and its end was not seen.
    #[error("The process that bundles was lost: {0}.")]
    Lost(io::Error),
    #[error(
        "It was not done after {} seconds. Shortening very long expressions can take that long: try it without `minify`. Otherwise bundle \
         with another tool and set `modules`.",
        .0.as_secs_f32()
    )]
    Time(Duration),
    #[error(
        "The bundle is larger than {} MiB, far more than Cloudflare takes.",
        LONGEST_ANSWER >> 20
    )]
    TooLong,
    #[error(
        "Its stack overflowed (signal 6, SIGABRT): one of the sources nests too deeply, or has an expression of too many parts. Code like \
         that is generated, or is data. Import data as a text module instead, or bundle with another tool and set `modules`."
    )]
    Stack,
    #[error(
        "It needed more memory than it may have (signal 6, SIGABRT): the sources are too large. Leave out what the Worker does not need, \
         or bundle with another tool and set `modules`."
    )]
    Memory,
    #[error(
        "It failed by a fault of its own, at {0}. Sources that are not valid can lead there: check them with `tsc` or an editor. If they \
         are fine, please report it; until it is mended, bundle with another tool and set `modules`."
    )]
    Panic(String),
    #[error(
        "It was killed (signal 9, SIGKILL). The system does that when memory runs short: give the machine more of it, or let fewer \
         resources be worked on at a time with `-parallelism`."
    )]
    Killed,
    #[error("It was ended by signal {0}.")]
    Signal(i32),
    #[error("The process that bundles ended early: {0}.")]
    Exit(ExitStatus),
}

/// Has a child bundle, and returns its answer unread. It ends when the future is dropped.
///
/// # Errors
/// It did not come to an answer.
pub async fn answer(
    program: Option<&Path>,
    directory: &Path,
    request: &[u8],
    limit: Duration,
) -> Result<Bytes, Stop> {
    let program = program.map_or_else(own_program, |program| Ok(program.to_owned()));
    let program = program.map_err(|error| Stop::Start {
        program: PathBuf::new(),
        error,
    })?;
    let child = match command(&program, directory).spawn() {
        Ok(child) => child,
        Err(error) => return Err(Stop::Start { program, error }),
    };
    match tokio::time::timeout(limit, exchange(child, request)).await {
        Ok(exchanged) => exchanged,
        Err(_) => Err(Stop::Time(limit)),
    }
}

/// The child: it gets nothing of the provider's but the request.
fn command(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .arg(CHILD_MODE)
        .env_clear()
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    // Ctrl-C goes to a whole group. It is for the core, which tells the provider, which ends the child if it has to.
    #[cfg(unix)]
    command.process_group(0).arg0(env!("CARGO_PKG_NAME"));
    // Without it libraries of the system do not load.
    #[cfg(windows)]
    command.envs(std::env::var_os("SystemRoot").map(|root| ("SystemRoot", root)));
    command
}

/// The running program, even if its file has been replaced or deleted since.
fn own_program() -> io::Result<PathBuf> {
    match cfg!(target_os = "linux") {
        true => Ok("/proc/self/exe".into()),
        false => std::env::current_exe(),
    }
}

/// Tells the child what to do, and reads until it ends. Its stdin stays open until then: it ends when that is closed.
async fn exchange(mut child: Child, request: &[u8]) -> Result<Bytes, Stop> {
    let mut stdin = child.stdin.take();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(stdin) = &mut stdin {
            // A child that is gone has said why in another way.
            let _ = stdin.write_all(request).await;
            let _ = stdin.flush().await;
        }
        Ok(())
    };
    let (answer, stderr, ()) = tokio::try_join!(read_answer(stdout), read_stderr(stderr), write)?;
    let status = child.wait().await.map_err(Stop::Lost)?;
    match status.success() {
        true => Ok(answer),
        false => Err(why(status, &stderr)),
    }
}

async fn read_answer(stdout: Option<impl AsyncRead + Unpin>) -> Result<Bytes, Stop> {
    let mut answer = Vec::new();
    if let Some(stdout) = stdout {
        let mut limited = stdout.take(LONGEST_ANSWER + 1);
        let read = limited.read_to_end(&mut answer).await;
        read.map_err(Stop::Lost)?;
    }
    match answer.len() as u64 > LONGEST_ANSWER {
        true => Err(Stop::TooLong),
        false => Ok(answer.into()),
    }
}

/// The beginning of stderr. The rest is read as well, so that the child can go on.
async fn read_stderr(stderr: Option<impl AsyncRead + Unpin>) -> Result<String, Stop> {
    let mut beginning = Vec::new();
    if let Some(mut stderr) = stderr {
        let mut limited = (&mut stderr).take(LONGEST_STDERR);
        let read = limited.read_to_end(&mut beginning).await;
        read.map_err(Stop::Lost)?;
        let rest = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
        rest.map_err(Stop::Lost)?;
    }
    Ok(String::from_utf8_lossy(&beginning).into_owned())
}

/// Why a child ended without an answer. Nothing of its stderr is repeated but the place of a panic: it may quote sources.
fn why(status: ExitStatus, stderr: &str) -> Stop {
    if status.code() == Some(PANICKED.into()) {
        let place = stderr.split_once(PANICKED_AT).map(|(_, rest)| rest);
        let place = place.and_then(|place| place.lines().next());
        return Stop::Panic(place.map_or_else(|| "an unknown place".to_owned(), place_in_crate));
    }
    // What the runtime of Rust prints before it aborts.
    if stderr.contains("has overflowed its stack") {
        return Stop::Stack;
    }
    if stderr.contains("memory allocation of ") {
        return Stop::Memory;
    }
    match signal(status) {
        Some(9) => Stop::Killed,
        Some(signal) => Stop::Signal(signal),
        None => Stop::Exit(status),
    }
}

#[cfg(unix)]
fn signal(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
fn signal(_status: ExitStatus) -> Option<i32> {
    None
}

/// A place without the directories of the machine that built the program: from the crate's on.
fn place_in_crate(place: &str) -> String {
    let parts: Vec<&str> = place.split(['/', '\\']).collect();
    let source = parts.iter().rposition(|part| *part == "src");
    parts[source.unwrap_or_default().saturating_sub(1)..].join("/")
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[track_caller]
    fn check(status: i32, stderr: &str, expected: &str) {
        let why = why(ExitStatus::from_raw(status), stderr).to_string();
        assert!(why.starts_with(expected), "{why}");
    }

    #[test]
    fn the_way_a_child_ended_is_told_apart() {
        let stack = "\nthread 'tokio-rt-worker' (7) has overflowed its stack\nfatal runtime error: stack overflow, aborting\n";
        check(6, stack, "Its stack overflowed (signal 6, SIGABRT): ");
        let memory = "memory allocation of 4096 bytes failed\n";
        check(6, memory, "It needed more memory than it may have");
        check(9, "", "It was killed (signal 9, SIGKILL). ");
        check(11, "", "It was ended by signal 11.");
        check(
            2 << 8,
            "",
            "The process that bundles ended early: exit status: 2.",
        );
    }

    #[test]
    fn a_panic_is_placed_in_its_crate_and_nothing_else_is_repeated() {
        for (stderr, expected) in [
            (
                "secret\npanicked at /home/me/.cargo/registry/src/index-1/rolldown-1.2.5/src/stages/link.rs:14\nsecret",
                "It failed by a fault of its own, at rolldown-1.2.5/src/stages/link.rs:14. ",
            ),
            (
                "panicked at bundler/src/engine/mod.rs:3",
                "It failed by a fault of its own, at bundler/src/engine/mod.rs:3. ",
            ),
            (
                "panicked at C:\\rust\\core\\src\\option.rs:3",
                "It failed by a fault of its own, at core/src/option.rs:3. ",
            ),
            (
                "panicked at build.rs:1",
                "It failed by a fault of its own, at build.rs:1. ",
            ),
            (
                "secret",
                "It failed by a fault of its own, at an unknown place. ",
            ),
        ] {
            check(i32::from(PANICKED) << 8, stderr, expected);
        }
    }
}
