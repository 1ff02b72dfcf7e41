//! Local Cloudflare as a command: starts it, says how to reach it, prints a line for each request, and ends it cleanly.

mod arguments;
mod report;

use std::error::Error;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use acceptance_tests::cloudflare::runtime::RuntimeError;
use acceptance_tests::cloudflare::{LocalCloudflare, Options, StartError};
use acceptance_tests::install;
use tokio::signal::unix::{Signal, SignalKind, signal};

use arguments::{Arguments, Asked};

#[tokio::main]
async fn main() -> ExitCode {
    let started = Instant::now();
    let arguments = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(Asked::Run(arguments)) => arguments,
        Ok(Asked::Help) => return written(print(arguments::HELP)),
        Err(error) => {
            let _ = writeln!(
                io::stderr(),
                "error: {error}\n\n`local-cloudflare --help` lists the options."
            );
            return ExitCode::from(2);
        }
    };
    match run(arguments, started).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = format!("error: {error}\n");
            let mut cause = error.source();
            while let Some(error) = cause {
                text += &format!("  because: {error}\n");
                cause = error.source();
            }
            if let Some(hint) = error.downcast_ref().and_then(hint) {
                text += &format!("\nhint: {hint}\n");
            }
            let _ = write!(io::stderr(), "{text}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments, started: Instant) -> Result<(), Box<dyn Error>> {
    // From here on a signal ends everything in order, also in the middle of the start.
    let mut ends = Ends::new()?;
    let workerd = install::workerd().await?;
    let mut options = Options {
        port: arguments.port,
        workers_port: arguments.workers_port,
        state_dir: arguments.state_dir,
        crons: true,
        ..Options::new(workerd)
    };
    if let Some(token) = arguments.token {
        options.token = token;
    }
    if let Some(account) = arguments.account_id {
        options.account_id = account;
    }
    let state_dir = options.state_dir.clone();
    let local = LocalCloudflare::start(options).await?;
    let mut answered = local.follow();
    let written = serve(
        &local,
        state_dir.as_deref(),
        started,
        arguments.quiet,
        &mut answered,
        &mut ends,
    );
    let written = written.await;
    tokio::select! {
        () = local.stop() => {}
        // Whoever asks twice does not want to wait for what is still being answered.
        () = ends.asked() => {}
    }
    match written {
        // Nobody reads any more, as in `local-cloudflare | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Until somebody ends it, or does not want to read any more.
async fn serve(
    local: &LocalCloudflare,
    state_dir: Option<&Path>,
    started: Instant,
    quiet: bool,
    answered: &mut tokio::sync::mpsc::UnboundedReceiver<acceptance_tests::cloudflare::Answered>,
    ends: &mut Ends,
) -> io::Result<()> {
    print(&report::ready(local, state_dir, started.elapsed()))?;
    loop {
        tokio::select! {
            () = ends.asked() => break,
            Some(answered) = answered.recv() => {
                if !quiet {
                    print(&report::line(&answered))?;
                }
            }
        }
    }
    print("\nStopping.\n")
}

/// What to do about a failed start.
fn hint(error: &StartError) -> Option<&'static str> {
    match error {
        StartError::Listen { .. } => {
            Some("choose another port with --port, or a free one with --port 0")
        }
        StartError::Runtime(RuntimeError::Listen { .. }) => {
            Some("choose another port with --workers-port, or a free one with --workers-port 0")
        }
        StartError::InUse { .. } => {
            Some("end that one, or use another folder with --state-dir, or --ephemeral")
        }
        StartError::Account(_) => Some(
            "move that file away if it cannot be repaired (the data of Durable Objects stays in the folder), \
             or use another folder with --state-dir",
        ),
        _ => None,
    }
}

/// The signals that end it: Ctrl-C, `kill`, and a terminal that is closed.
struct Ends([Signal; 3]);

impl Ends {
    fn new() -> io::Result<Self> {
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn asked(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

fn written(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
