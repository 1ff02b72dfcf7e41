//! The child: the provider's program in a private mode that bundles once and ends.
//!
//! A parser that overflows its stack aborts the whole process; here that takes nobody along. Whatever happens first ends the child: the
//! answer is written, the bundler panics, or the parent closes stdin.

use std::io::{self, IsTerminal as _, Write};
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

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

/// How long after a panic anywhere the bundler may still say which source is to blame.
const PATIENCE: Duration = Duration::from_secs(5);

/// What ends the child.
#[derive(Debug)]
enum End {
    /// The answer is written, or nobody reads it.
    Answered(io::Result<()>),
    /// Some thread panics. The bundler may make sense of that, or wait for that thread for ever.
    Panicking,
    /// The bundler panicked.
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
        Ok(End::Panicking | End::Panicked) => ExitCode::from(PANICKED),
        Ok(End::Abandoned) => ExitCode::FAILURE,
        Err(text) => fail(&text),
    }
}

fn fail(text: &str) -> ExitCode {
    // Nobody is left to tell if this fails.
    let _ = writeln!(io::stderr(), "{text}");
    ExitCode::FAILURE
}

/// Ends with the first end. Threads that still run end with the process.
fn run() -> Result<End, String> {
    if io::stdin().is_terminal() {
        return Err(INTERNAL.to_owned());
    }
    let answers = answers().map_err(|error| format!("Failed to take over stdout: {error}."))?;
    // Held here as well: once it is closed the parent may close stdin, which must not count as giving up.
    let answers = Arc::new(answers);
    let request = wire::read_request(io::stdin().lock())
        .map_err(|error| format!("No request: {error}.\n{INTERNAL}"))?;
    let (tell, ends) = mpsc::channel();
    tell_panics(tell.clone());
    let to = answers.clone();
    spawn("bundle", STACK, tell.clone(), move || work(&request, &*to))?;
    spawn("parent", 64 << 10, tell, || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        End::Abandoned
    })?;
    Ok(first(&ends, PATIENCE))
}

/// The first real end.
fn first(ends: &Receiver<End>, patience: Duration) -> End {
    let mut left = Duration::MAX;
    loop {
        match ends.recv_timeout(left) {
            Ok(End::Panicking) => left = patience,
            Ok(end) => return end,
            Err(_) => return End::Panicked,
        }
    }
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

fn work(request: &Request, answers: impl Write) -> End {
    match panic::catch_unwind(AssertUnwindSafe(|| bundler::bundle(request))) {
        Ok(outcome) => End::Answered(wire::write_answer(&outcome, answers)),
        Err(_) => End::Panicked,
    }
}

/// Says where a panic happened, and not what it says: that may quote sources.
fn tell_panics(tell: Sender<End>) {
    panic::set_hook(Box::new(move |panic| {
        if let Some(place) = panic.location() {
            let (file, line) = (place.file(), place.line());
            let _ = writeln!(io::stderr(), "{PANICKED_AT}{file}:{line}");
        }
        let _ = tell.send(End::Panicking);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn first_of(events: impl IntoIterator<Item = End>) -> End {
        let (tell, ends) = mpsc::channel();
        for event in events {
            tell.send(event).expect("somebody listens");
        }
        first(&ends, Duration::ZERO)
    }

    #[test]
    fn an_answer_after_a_panic_counts_and_silence_does_not() {
        let answered = || End::Answered(Ok(()));
        assert!(matches!(
            first_of([answered(), End::Abandoned]),
            End::Answered(_)
        ));
        assert!(matches!(
            first_of([End::Panicking, End::Panicking, answered()]),
            End::Answered(_)
        ));
        assert!(matches!(first_of([End::Panicking]), End::Panicked));
        assert!(matches!(
            first_of([End::Panicking, End::Abandoned]),
            End::Abandoned
        ));
    }
}
