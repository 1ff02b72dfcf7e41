//! How long the process lives, and how running calls learn that the user has had enough.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::Serving;

/// How long applies may go on after the core has died: enough to finish a request and to notice the stop.
const ORPHANED: Duration = Duration::from_secs(60);

/// The same after SIGTERM, whose sender waits no longer than a host does.
const TERMINATED: Duration = Duration::from_secs(1);

/// How often to look for the parent.
const WATCH: Duration = Duration::from_millis(500);

/// The running calls and the end of the process.
#[derive(Default)]
pub struct Lifecycle {
    calls: Mutex<Calls>,
    apply_ended: Notify,
    exit: CancellationToken,
}

#[derive(Default)]
struct Calls {
    running: usize,
    applies: usize,
    stop: CancellationToken,
}

/// A running call. Ends when dropped.
pub struct Call {
    lifecycle: Arc<Lifecycle>,
    is_apply: bool,
    stop: CancellationToken,
}

impl Call {
    /// Is cancelled when the user interrupts the run.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut calls = self.lifecycle.calls();
        calls.running -= 1;
        if self.is_apply {
            calls.applies -= 1;
            self.lifecycle.apply_ended.notify_waiters();
        }
        calls.rearm();
    }
}

impl Calls {
    /// An attached process serves the next run too: once the interrupted calls are through, a stop is history.
    fn rearm(&mut self) {
        if self.running == 0 && self.stop.is_cancelled() {
            self.stop = CancellationToken::new();
        }
    }
}

impl Lifecycle {
    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a call runs.
    pub fn begin(self: &Arc<Self>, is_apply: bool) -> Call {
        let mut calls = self.calls();
        calls.running += 1;
        calls.applies += usize::from(is_apply);
        Call {
            lifecycle: self.clone(),
            is_apply,
            stop: calls.stop.clone(),
        }
    }

    /// Tells all running calls to come to an end.
    pub fn stop(&self) {
        let mut calls = self.calls();
        calls.stop.cancel();
        calls.rearm();
    }

    /// Ends the process.
    pub fn shut_down(&self) {
        self.exit.cancel();
    }

    /// Ends when the process is to end.
    pub fn exit(&self) -> WaitForCancellationFutureOwned {
        self.exit.clone().cancelled_owned()
    }

    /// How many applies are running.
    pub fn applies(&self) -> usize {
        self.calls().applies
    }

    /// Ends when no apply is running.
    pub async fn applies_ended(&self) {
        loop {
            let ended = self.apply_ended.notified();
            if self.applies() == 0 {
                return;
            }
            ended.await;
        }
    }

    /// Stops the running calls, gives applies some time to say what they have done, and ends the process.
    async fn wind_down(&self, patience: Duration) {
        self.stop();
        if tokio::time::timeout(patience, self.applies_ended())
            .await
            .is_err()
        {
            log::error!("an apply did not end in time and is abandoned");
        }
        self.shut_down();
    }
}

/// The signals that concern a provider. From its making on they do not kill the process.
#[cfg(unix)]
pub struct Signals {
    /// Ctrl-C, which the terminal sends to the core as well. Only without a core is it meant for us.
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
    serving: Serving,
}

#[cfg(unix)]
impl Signals {
    /// Installs the handlers.
    pub fn install(serving: Serving) -> io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            serving,
        })
    }

    /// Acts on signals until the process ends.
    pub async fn watch(mut self, lifecycle: Arc<Lifecycle>) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => if self.serving == Serving::Debug {
                    return lifecycle.wind_down(TERMINATED).await;
                },
                _ = self.terminate.recv() => return lifecycle.wind_down(TERMINATED).await,
                // The terminal is gone, and the core with it or soon: the watchdog sees to that.
                _ = self.hang_up.recv() => {}
            }
        }
    }
}

/// Ctrl-C, the only signal there is.
#[cfg(not(unix))]
pub struct Signals {
    interrupt: tokio::signal::windows::CtrlC,
    serving: Serving,
}

#[cfg(not(unix))]
impl Signals {
    /// Installs the handler.
    pub fn install(serving: Serving) -> io::Result<Signals> {
        Ok(Signals {
            interrupt: tokio::signal::windows::ctrl_c()?,
            serving,
        })
    }

    /// Acts on Ctrl-C until the process ends.
    pub async fn watch(mut self, lifecycle: Arc<Lifecycle>) {
        while self.interrupt.recv().await.is_some() {
            if self.serving == Serving::Debug {
                return lifecycle.wind_down(TERMINATED).await;
            }
        }
    }
}

/// Notices when the core has died without a word.
pub struct Watchdog {
    #[cfg(unix)]
    parent: Option<rustix::process::Pid>,
}

impl Watchdog {
    /// Remembers the parent.
    pub fn new() -> Watchdog {
        Watchdog {
            #[cfg(unix)]
            parent: rustix::process::getppid(),
        }
    }

    /// Ends the process once the core is gone, after running applies.
    pub async fn watch(self, lifecycle: Arc<Lifecycle>) {
        let mut ticks = tokio::time::interval(WATCH);
        while !self.is_orphaned() {
            ticks.tick().await;
        }
        lifecycle.wind_down(ORPHANED).await;
    }

    #[cfg(unix)]
    fn is_orphaned(&self) -> bool {
        rustix::process::getppid() != self.parent || nobody_reads_stderr()
    }

    /// Windows has no parents; hosts there end their children by a job object.
    #[cfg(not(unix))]
    fn is_orphaned(&self) -> bool {
        false
    }
}

#[cfg(unix)]
fn nobody_reads_stderr() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stderr = rustix::stdio::stderr();
    let mut stderr = [PollFd::new(&stderr, PollFlags::empty())];
    let ready = poll(&mut stderr, Some(&Timespec::default()));
    ready == Ok(1) && stderr[0].revents().contains(PollFlags::ERR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_reaches_running_calls_and_is_history_once_they_have_ended() {
        let lifecycle = Arc::new(Lifecycle::default());
        let first = lifecycle.begin(true);
        let second = lifecycle.begin(false);
        lifecycle.stop();
        assert!(first.stop().is_cancelled());
        assert!(second.stop().is_cancelled());
        drop(first);
        let same_run = lifecycle.begin(false);
        assert!(same_run.stop().is_cancelled());
        drop((second, same_run));
        let next_run = lifecycle.begin(true);
        assert!(!next_run.stop().is_cancelled());
        lifecycle.stop();
        assert!(next_run.stop().is_cancelled());
    }

    #[test]
    fn a_stop_without_running_calls_stops_nothing() {
        let lifecycle = Arc::new(Lifecycle::default());
        lifecycle.stop();
        assert!(!lifecycle.begin(true).stop().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn winding_down_waits_for_applies_but_not_for_ever() {
        let lifecycle = Arc::new(Lifecycle::default());
        let apply = lifecycle.begin(true);
        let task = {
            let lifecycle = lifecycle.clone();
            tokio::spawn(async move { lifecycle.wind_down(ORPHANED).await })
        };
        tokio::task::yield_now().await;
        assert!(apply.stop().is_cancelled());
        assert!(!lifecycle.exit.is_cancelled());
        drop(apply);
        task.await.expect("does not panic");
        assert!(lifecycle.exit.is_cancelled());

        let lifecycle = Arc::new(Lifecycle::default());
        let _hung = lifecycle.begin(true);
        lifecycle.wind_down(ORPHANED).await;
        assert!(lifecycle.exit.is_cancelled());
    }
}
