//! The child: the provider's program in a private mode that bundles once and ends.
//!
//! A parser that overflows its stack aborts the whole process; here that takes nobody along. Whatever happens first ends the child: the
//! answer is written, something panics, or the parent closes stdin.

use std::io::{self, IsTerminal as _, Write};
use std::panic;
use std::process::ExitCode;
use std::sync::mpsc::{self, Sender};
use std::thread;

use bundler::{Request, wire};

use super::process::{PANICKED, PANICKED_AT};

/// What a person sees who starts this mode by hand.
const INTERNAL: &str = "This mode is internal: the provider starts itself like this to bundle `entrypoint`, and says on stdin what. There \
                        is nothing to run by hand.";

/// The stack of the thread that waits for the others, which parses too.
const STACK: usize = 64 << 20;

/// How much memory the child may write to. A bundle of 300 modules takes 0.1 GiB, and the stacks of four threads 0.3.
#[cfg(unix)]
const MEMORY: u64 = 4 << 30;

/// What ends the child.
enum End {
    /// The answer is written, or nobody reads it.
    Answered(io::Result<()>),
    /// Somewhere, on any thread: what comes after it cannot be trusted, if it comes at all.
    Panicked,
    /// The parent has closed stdin: it is gone, or has given up.
    Abandoned,
}

/// Runs the child: a request from stdin, the answer to stdout.
pub fn serve() -> ExitCode {
    limit();
    match run() {
        Ok(End::Answered(Ok(()))) => ExitCode::SUCCESS,
        Ok(End::Answered(Err(error))) => fail(&format!("Failed to write the answer: {error}.")),
        Ok(End::Panicked) => ExitCode::from(PANICKED),
        Ok(End::Abandoned) => ExitCode::FAILURE,
        Err(text) => fail(&text),
    }
}

fn fail(text: &str) -> ExitCode {
    // Nobody is left to tell if this fails.
    let _ = writeln!(io::stderr(), "{text}");
    ExitCode::FAILURE
}

/// Ends with the first event. Threads that still run end with the process.
fn run() -> Result<End, String> {
    if io::stdin().is_terminal() {
        return Err(INTERNAL.to_owned());
    }
    let answers = answers().map_err(|error| format!("Failed to take over stdout: {error}."))?;
    let request = wire::read_request(io::stdin().lock())
        .map_err(|error| format!("No request: {error}.\n{INTERNAL}"))?;
    let (tell, ends) = mpsc::channel();
    tell_panics(tell.clone());
    spawn("bundle", STACK, tell.clone(), move || {
        End::Answered(work(&request, answers))
    })?;
    spawn("parent", 64 << 10, tell, || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        End::Abandoned
    })?;
    ends.recv().map_err(|error| format!("{error}."))
}

fn spawn(
    name: &str,
    stack: usize,
    tell: Sender<End>,
    work: impl FnOnce() -> End + Send + 'static,
) -> Result<(), String> {
    let thread = thread::Builder::new()
        .name(name.to_owned())
        .stack_size(stack);
    // Nobody listens once the child ends.
    let spawned = thread.spawn(move || tell.send(work()).unwrap_or_default());
    spawned
        .map(drop)
        .map_err(|error| format!("Failed to start a thread: {error}."))
}

fn work(request: &Request, answers: impl Write) -> io::Result<()> {
    wire::write_answer(&bundler::bundle(request), answers)
}

/// Says where a panic happened, and not what it says: that may quote sources.
fn tell_panics(tell: Sender<End>) {
    panic::set_hook(Box::new(move |panic| {
        if let Some(place) = panic.location() {
            let (file, line) = (place.file(), place.line());
            let _ = writeln!(io::stderr(), "{PANICKED_AT}{file}:{line}");
        }
        let _ = tell.send(End::Panicked);
    }));
}

/// Stdout for the answer alone: whatever else is printed goes to stderr.
#[cfg(unix)]
fn answers() -> io::Result<std::fs::File> {
    let answers = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    Ok(answers.into())
}

#[cfg(not(unix))]
fn answers() -> io::Result<io::Stdout> {
    Ok(io::stdout())
}

/// Sees to it that sources which take too much end the child and not the machine, and that no crash leaves a dump with them in it.
///
/// What is limited is memory that can be written to. The whole address space says little: it holds the program, and allocators and
/// stacks reserve several times of it what they use.
#[cfg(unix)]
fn limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    for (resource, most) in [(Resource::Core, 0), (Resource::Data, MEMORY)] {
        let now = getrlimit(resource);
        let lowered = |limit: Option<u64>| Some(limit.map_or(most, |limit| limit.min(most)));
        let limits = Rlimit {
            current: lowered(now.current),
            maximum: lowered(now.maximum),
        };
        // Without the limits everything works as well.
        let _ = setrlimit(resource, limits);
    }
    // If memory runs short all the same, rather this process than the provider or the core.
    #[cfg(target_os = "linux")]
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
}

/// There is nothing of the kind.
#[cfg(not(unix))]
fn limit() {}
