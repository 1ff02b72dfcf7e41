//! One workerd process: started, known to be ready, drained, or killed when dropped.
//! Knows nothing about Workers: a configuration file goes in, a port per socket comes out.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use command_fds::{CommandFdExt as _, FdMapping};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::net::unix::pipe;
use tokio::process::Child;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long the process may take to finish what it is doing after it was told to end.
const DRAIN_LIMIT: Duration = Duration::from_secs(3);

/// The descriptor the process announces its sockets on.
const CONTROL_FD: i32 = 3;

/// The descriptor of a file that is open as long as the process lives.
const GUARD_FD: i32 = 4;

/// A workerd process that answers on all its sockets.
pub(super) struct Process {
    child: Child,
    /// Socket name to port.
    pub(super) ports: HashMap<String, u16>,
    /// Cancelled when the process has ended, for whatever reason.
    pub(super) gone: CancellationToken,
}

/// Why a process did not become ready.
pub(super) enum StartFailure {
    /// It could not be run at all.
    Io(io::Error),
    /// It ended and said why.
    Exited(String),
}

#[derive(Deserialize)]
struct ControlEvent {
    event: String,
    socket: String,
    port: u16,
}

impl Process {
    /// Starts workerd and waits until every one of `sockets` answers. Dropping the future kills the process.
    pub(super) async fn start(
        workerd: &Path,
        config: &Path,
        sockets: usize,
        guard: Option<&File>,
    ) -> Result<Self, StartFailure> {
        let (mut child, control) = spawn(workerd, config, guard).map_err(StartFailure::Io)?;
        let gone = CancellationToken::new();
        let stderr = child.stderr.take().expect("stderr is piped");
        let errors = collect("stderr", stderr, gone.clone());
        let stdout = child.stdout.take().expect("stdout is piped");
        collect("stdout", stdout, CancellationToken::new());

        let mut ports = HashMap::new();
        let mut lines = BufReader::new(control).lines();
        while ports.len() < sockets {
            let Some(line) = lines.next_line().await.map_err(StartFailure::Io)? else {
                // The descriptor is closed by the end of the process alone.
                child.wait().await.map_err(StartFailure::Io)?;
                return Err(StartFailure::Exited(errors.await.unwrap_or_default()));
            };
            let event: ControlEvent =
                serde_json::from_str(&line).map_err(|error| StartFailure::Io(error.into()))?;
            if event.event == "listen" {
                ports.insert(event.socket, event.port);
            }
        }
        Ok(Self { child, ports, gone })
    }

    /// The process id, if the process has not been waited for.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Lets the process finish what it is doing, then makes sure that it is gone.
    pub(super) async fn end(mut self) {
        if let Some(pid) = self.child.id().and_then(|id| id.try_into().ok()) {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                // It may have ended by itself in the meantime; then there is nothing to tell it.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
            if timeout(DRAIN_LIMIT, self.child.wait()).await.is_err() {
                log::warn!("workerd did not finish within {DRAIN_LIMIT:?}; it is killed");
                let _ = self.child.kill().await;
            }
        }
    }
}

fn spawn(
    workerd: &Path,
    config: &Path,
    guard: Option<&File>,
) -> io::Result<(Child, pipe::Receiver)> {
    let (reader, writer) = io::pipe()?;
    let mut descriptors = vec![FdMapping {
        parent_fd: writer.into(),
        child_fd: CONTROL_FD,
    }];
    if let Some(guard) = guard {
        descriptors.push(FdMapping {
            parent_fd: guard.try_clone()?.into(),
            child_fd: GUARD_FD,
        });
    }
    let mut command = Command::new(workerd);
    command
        .arg("serve")
        .arg("--experimental")
        .arg(format!("--control-fd={CONTROL_FD}"))
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.fd_mappings(descriptors).map_err(io::Error::other)?;
    let mut command = tokio::process::Command::from(command);
    command.kill_on_drop(true);
    let child = command.spawn()?;
    // `command` holds our copy of the writing end; it goes out of scope here, or we would never see the end of file.
    drop(command);
    Ok((child, pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?))
}

/// Logs what the process prints; returns the first part of it, and cancels `ended`, when the process has ended.
fn collect(
    stream: &'static str,
    pipe: impl AsyncRead + Unpin + Send + 'static,
    ended: CancellationToken,
) -> JoinHandle<String> {
    const KEEP: usize = 64 * 1024;
    tokio::spawn(async move {
        let _ended = ended.drop_guard();
        let mut kept = String::new();
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while let Ok(1..) = reader.read_until(b'\n', &mut line).await {
            let text = String::from_utf8_lossy(&line);
            log::debug!(target: "workerd", "{stream}: {}", text.trim_end());
            if kept.len() < KEEP {
                kept.push_str(&text);
            }
            line.clear();
        }
        kept
    })
}
