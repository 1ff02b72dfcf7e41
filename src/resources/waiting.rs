//! Applies that wait for each other: a Worker may bind a class that another apply of the same run has yet to create.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// How long all running applies may wait for each other before they give up together. On local Cloudflare, where what was uploaded
/// is seen at once, only core may need a moment until it starts the next apply.
const STARVED: Duration = Duration::from_secs(30);
const STARVED_LOCALLY: Duration = Duration::from_secs(3);

#[derive(Default)]
struct Count {
    running: usize,
    waiting: usize,
    /// Since when nobody has made progress.
    stuck_since: Option<Instant>,
}

/// The applies of this process.
#[derive(Default)]
pub struct Applies {
    count: Mutex<Count>,
    progress: Notify,
    /// Whether Cloudflare is local.
    local: AtomicBool,
}

/// Why a wait ended without what was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GaveUp {
    /// The time was over.
    TimedOut,
    /// Every running apply waited for another one.
    Starved,
}

impl GaveUp {
    /// Why the other Worker was not seen to change; reads after "which does not have it: ".
    pub fn reason(self) -> &'static str {
        match self {
            Self::TimedOut => "two minutes were not enough",
            Self::Starved => {
                "every apply that runs now waits for another one; with `-parallelism=1`, or when all places are taken by Workers that wait, \
                 the other Worker gets no turn"
            }
        }
    }
}

/// One running apply.
pub struct Running<'a>(&'a Applies);

impl Applies {
    /// Counts an apply as long as the guard lives.
    pub fn run(&self) -> Running<'_> {
        self.update(|count| count.running += 1);
        Running(self)
    }

    /// Notes whether Cloudflare is local.
    pub fn set_local(&self, local: bool) {
        self.local.store(local, Ordering::Relaxed);
    }

    /// Tells the waiting applies that something was uploaded.
    pub fn uploaded(&self) {
        self.update(|_| {});
        self.progress.notify_waiters();
    }

    /// Waits until something was uploaded by this process, or `pause` is over, whichever is first.
    ///
    /// # Errors
    /// At `deadline`, or when every running apply has waited for [`STARVED`].
    pub async fn wait(&self, pause: Duration, deadline: Instant) -> Result<(), GaveUp> {
        let progress = self.progress.notified();
        self.update(|count| count.waiting += 1);
        let _waiting = Waiting(self);
        let now = Instant::now();
        let starved = self
            .count
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .stuck_since;
        let patience = match self.local.load(Ordering::Relaxed) {
            true => STARVED_LOCALLY,
            false => STARVED,
        };
        if starved.is_some_and(|since| now >= since + patience) {
            return Err(GaveUp::Starved);
        }
        if now >= deadline {
            return Err(GaveUp::TimedOut);
        }
        tokio::select! {
            () = progress => {}
            () = sleep_until(deadline.min(now + pause.min(patience))) => {}
        }
        Ok(())
    }

    /// Changes the counts, and keeps track of since when all wait.
    fn update(&self, change: impl FnOnce(&mut Count)) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let before = (count.running, count.waiting);
        change(&mut count);
        if before == (count.running, count.waiting) || count.running > before.0 {
            count.stuck_since = None; // Progress: an upload, or another apply began.
        }
        if count.running > 0 && count.waiting == count.running && count.stuck_since.is_none() {
            count.stuck_since = Some(Instant::now());
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.update(|count| count.running -= 1);
    }
}

/// Ends the counting of a wait, also of one that is dropped.
struct Waiting<'a>(&'a Applies);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // Between two looks an apply still waits: only an upload or a new apply is progress.
        let mut count = self.0.count.lock().unwrap_or_else(PoisonError::into_inner);
        count.waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn applies_that_only_wait_for_each_other_give_up_together() {
        let applies = Applies::default();
        let _one = applies.run();
        let deadline = Instant::now() + Duration::from_secs(120);
        let mut looks = 0;
        let gave_up = loop {
            match applies.wait(Duration::from_secs(2), deadline).await {
                Ok(()) => looks += 1,
                Err(gave_up) => break gave_up,
            }
        };
        assert_eq!((gave_up, looks), (GaveUp::Starved, 15));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_beside_a_working_apply_lasts_until_its_deadline() {
        let applies = Applies::default();
        let (_one, _other) = (applies.run(), applies.run());
        let start = Instant::now();
        let gave_up = loop {
            if let Err(gave_up) = applies
                .wait(Duration::from_secs(2), start + Duration::from_secs(120))
                .await
            {
                break gave_up;
            }
        };
        assert_eq!(gave_up, GaveUp::TimedOut);
        assert_eq!(start.elapsed(), Duration::from_secs(120));
    }
}
