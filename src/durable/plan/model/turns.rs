//! Several applies at once: one goes on at a time, in any order, and everything may end after any write.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::cloud::Cloud;
use super::worker::State;
use crate::durable::{ScriptName, StableId};

/// What ends a run early.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Break {
    /// The process dies right after that many writes; nothing of what was under way is recorded.
    Killed(usize),
    /// The run is stopped after that many writes; every apply records how far it has come.
    Stopped(usize),
}

/// What an apply waits for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wait {
    /// Another Worker has to take a namespace.
    Taker {
        own: ScriptName,
        stable_id: StableId,
    },
    /// Another Worker has to host a class.
    Host {
        own: ScriptName,
        host: ScriptName,
        stable_id: Option<StableId>,
    },
    /// Other Workers have to let go of a class that is deleted.
    Others {
        own: ScriptName,
        stable_id: Option<StableId>,
    },
    /// Other Workers have to let go of a Worker that is deleted.
    Binders { own: ScriptName },
}

/// Why an apply failed.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    GaveUp(Wait),
    Stopped,
    /// Nothing was written, or Cloudflare refused a write.
    Refused(String),
}

/// How an apply ended.
pub struct Applied {
    /// The state that it leaves; `None` if there is none.
    pub state: Option<State>,
    pub trouble: Option<Failure>,
    /// Whether what depends on it may go on: also after a create that has committed, whatever went wrong later.
    pub is_done: bool,
}

/// Numbers that look like chance and are the same in every run of a test.
#[derive(Clone, Debug)]
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).expect("below the limit")
    }
}

/// What the applies of a run share.
pub struct Account {
    cloud: RefCell<Cloud>,
    writes: Cell<usize>,
    ends: Option<Break>,
    /// Grows whenever anything goes on.
    progress: Cell<usize>,
    /// Whether whoever waits has waited long enough.
    patience_is_over: Cell<bool>,
    /// The first thing that must never happen.
    violation: RefCell<Option<String>>,
}

impl Account {
    pub fn new(cloud: Cloud, ends: Option<Break>) -> Self {
        Self {
            cloud: RefCell::new(cloud),
            writes: Cell::new(0),
            ends,
            progress: Cell::new(0),
            patience_is_over: Cell::new(false),
            violation: RefCell::new(None),
        }
    }

    pub fn cloud(&self) -> RefMut<'_, Cloud> {
        self.cloud.borrow_mut()
    }

    pub fn into_cloud(self) -> Cloud {
        self.cloud.into_inner()
    }

    pub fn is_killed(&self) -> bool {
        matches!(self.ends, Some(Break::Killed(writes)) if self.writes.get() >= writes)
    }

    pub fn is_stopped(&self) -> bool {
        matches!(self.ends, Some(Break::Stopped(writes)) if self.writes.get() >= writes)
    }

    pub fn violate(&self, what: String) {
        self.violation.borrow_mut().get_or_insert(what);
    }

    /// Lets others go on.
    pub async fn pause(&self) {
        let mut paused = false;
        self.progress.update(|it| it + 1);
        poll_fn(|_| match std::mem::replace(&mut paused, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }

    /// To be called after every accepted write.
    pub async fn wrote(&self) {
        self.writes.update(|it| it + 1);
        if let Err(what) = self.cloud().check() {
            self.violate(what);
        }
        self.pause().await;
    }

    /// Waits until something is so.
    pub async fn wait(&self, what: Wait, is_so: impl Fn(&Cloud) -> bool) -> Result<(), Failure> {
        poll_fn(|_| match is_so(&self.cloud()) {
            true => Poll::Ready(Ok(())),
            false if self.is_stopped() => Poll::Ready(Err(Failure::Stopped)),
            false if self.patience_is_over.get() => Poll::Ready(Err(Failure::GaveUp(what.clone()))),
            false => Poll::Pending,
        })
        .await
    }
}

/// An apply that may be under way.
pub struct Apply<'a> {
    pub future: Pin<Box<dyn Future<Output = Applied> + 'a>>,
    /// What has to be done before it starts.
    pub after: Vec<ScriptName>,
}

/// Carries everything out. Returns how each apply ended; of one that is missing there, nobody knows.
///
/// # Errors
/// What must never happen.
pub fn take_turns(
    account: &Account,
    mut applies: BTreeMap<ScriptName, Apply<'_>>,
    chance: &mut Chance,
) -> Result<Vec<(ScriptName, Applied)>, String> {
    let mut ended: Vec<(ScriptName, Applied)> = Vec::new();
    let mut blocked: BTreeSet<ScriptName> = BTreeSet::new();
    loop {
        let undone = |name: &ScriptName| {
            let done = |(other, applied): &(ScriptName, Applied)| other == name && applied.is_done;
            !ended.iter().any(done)
        };
        let may_run: Vec<ScriptName> = applies
            .iter()
            .filter(|(_, apply)| !apply.after.iter().any(undone))
            .map(|(name, _)| name.clone())
            .collect();
        let ready: Vec<&ScriptName> = may_run.iter().filter(|it| !blocked.contains(*it)).collect();
        if may_run.is_empty() {
            return Ok(ended); // What is left depends on what failed.
        }
        // Where everybody waits for somebody, all give up together.
        account.patience_is_over.set(ready.is_empty());
        let turns = match ready.is_empty() {
            true => may_run.clone(),
            false => vec![ready[chance.below(ready.len())].clone()],
        };
        for name in turns {
            let before = account.progress.get();
            let Some(apply) = applies.get_mut(&name) else {
                continue;
            };
            let mut context = Context::from_waker(Waker::noop());
            let polled = apply.future.as_mut().poll(&mut context);
            if let Some(what) = account.violation.borrow_mut().take() {
                return Err(what);
            }
            if account.is_killed() {
                return Ok(ended);
            }
            if let Poll::Ready(applied) = polled {
                applies.remove(&name);
                ended.push((name, applied));
                blocked.clear();
            } else if account.progress.get() == before {
                blocked.insert(name);
            } else {
                blocked.clear();
            }
        }
    }
}
