//! The child: the provider's program in a private mode that bundles once and ends.
//!
//! A parser that overflows its stack aborts the whole process; here that takes nobody along.

use std::process::ExitCode;

/// The argument that makes the program such a child.
pub const CHILD_MODE: &str = "bundle";

/// What the child exits with when it could not read the request or write the answer.
#[cfg(feature = "bundler")]
const UNUSABLE: u8 = 2;

/// What the child exits with after a panic.
#[cfg(feature = "bundler")]
const PANICKED: u8 = 3;

/// How much memory the child may ask for, with all stacks: a bundle of 300 modules takes 0.1 GiB.
#[cfg(all(feature = "bundler", unix))]
const MEMORY: u64 = 8 << 30;

/// The stack of the thread that waits for the others, which parses too.
#[cfg(feature = "bundler")]
const STACK: usize = 64 << 20;

/// Runs the child: a request from stdin, the answer to stdout.
#[cfg(not(feature = "bundler"))]
pub fn serve() -> ExitCode {
    ExitCode::FAILURE
}

/// Runs the child: a request from stdin, the answer to stdout.
#[cfg(feature = "bundler")]
pub fn serve() -> ExitCode {
    use std::io::IsTerminal;

    if std::io::stdin().is_terminal() {
        eprintln!(
            "The provider calls itself like this to bundle; there is nothing to run by hand."
        );
        return ExitCode::from(UNUSABLE);
    }
    // Where a panic happened, and not what it says: that may quote sources.
    std::panic::set_hook(Box::new(|panic| {
        if let Some(place) = panic.location() {
            eprintln!("panicked at {}:{}", place.file(), place.line());
        }
    }));
    let working = std::thread::Builder::new().stack_size(STACK).spawn(work);
    match working.map(std::thread::JoinHandle::join) {
        Ok(Ok(Ok(()))) => ExitCode::SUCCESS,
        Ok(Ok(Err(error))) => {
            eprintln!("{error}");
            ExitCode::from(UNUSABLE)
        }
        Ok(Err(_)) => ExitCode::from(PANICKED),
        Err(error) => {
            eprintln!("no thread: {error}");
            ExitCode::from(UNUSABLE)
        }
    }
}

#[cfg(feature = "bundler")]
fn work() -> Result<(), bundler::wire::Unreadable> {
    let answers = answers()?;
    let request = bundler::wire::read_request(std::io::stdin().lock())?;
    limit_memory();
    std::thread::spawn(end_with_parent);
    let outcome = bundler::bundle(&request);
    Ok(bundler::wire::write_answer(&outcome, answers)?)
}

/// Stdout for the answer alone: whatever else is printed goes to stderr.
#[cfg(all(feature = "bundler", unix))]
fn answers() -> std::io::Result<std::fs::File> {
    let answers = rustix::io::dup(std::io::stdout())?;
    rustix::stdio::dup2_stdout(std::io::stderr())?;
    Ok(answers.into())
}

#[cfg(all(feature = "bundler", not(unix)))]
fn answers() -> std::io::Result<std::io::Stdout> {
    Ok(std::io::stdout())
}

/// More memory than any bundle needs ends the child instead of the machine, and no crash leaves a dump with sources in it.
#[cfg(all(feature = "bundler", unix))]
fn limit_memory() {
    use rustix::process::{Resource, Rlimit, setrlimit};

    let limit = |bytes| Rlimit {
        current: Some(bytes),
        maximum: Some(bytes),
    };
    // Without the limits everything works as well.
    let _ = setrlimit(Resource::As, limit(MEMORY));
    let _ = setrlimit(Resource::Core, limit(0));
}

#[cfg(all(feature = "bundler", not(unix)))]
fn limit_memory() {}

/// The parent keeps the child's stdin open while it wants the answer.
#[cfg(feature = "bundler")]
#[expect(
    clippy::disallowed_methods,
    reason = "the child owns nothing that has to be put away, and its other threads do not listen"
)]
fn end_with_parent() {
    let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
    std::process::exit(0);
}
