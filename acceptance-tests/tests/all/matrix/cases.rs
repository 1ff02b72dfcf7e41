//! What goes wrong at which call: the rows and columns of the matrix.
//!
//! Left out is what makes no difference:
//!
//! - A process that is killed before a call has done its work: that is a kill at the call before.
//! - Reads in every wrong way. To the provider they have failed, or they have not: each fails once for all attempts, with an error and with
//!   a closed connection in turn, and the core and the provider, or the provider alone, are killed in turn.
//! - `Retry-After` at a read of something that was read before.
//! - Other tools during the plan: for the provider that is before the plan or after it. They come at every call of the apply before the
//!   first write; at that write only where Cloudflare can tell, by the migration tag of an upload that changes classes.
//! - Other tools that change classes while several Workers are at work: which of them has already written depends on the order.

use acceptance_tests::cloudflare::{Action, Call, Fault, Misbehaviour};

use super::flow::Flow;

/// A call among those of a run: Workers that are at work at the same time change the order of calls, but not this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    method: String,
    path: String,
    /// How many calls of this method and path come before it.
    nth: u32,
    /// Whether it is refused when another tool has moved the migration tag.
    guarded: bool,
}

/// When a disturbance comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Plan,
    Apply,
}

/// Whose process ends when the call has done its work, before the answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The core and the provider.
    Both,
    /// The provider alone.
    Provider,
}

/// What goes wrong at a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Disturbance {
    /// The call, and so many calls of its kind after it, misbehave.
    Faulty(Misbehaviour, u32),
    /// A process is killed.
    Kill(Victim),
    /// Every listing from then on shows the account as it was after the call.
    StaleFromHere,
    /// Another tool does this right before the call. `stops`: we must then write nothing.
    Overtaken {
        actions: Vec<Action>,
        stops: bool,
        ends: Ends,
    },
}

/// What applying again leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// To what the flow means.
    Meant,
    /// To an empty plan, without what the other tool deleted.
    Bereft,
    /// To the question what the other tool's new namespace is, with nothing written; or to an empty plan.
    Asked,
}

/// One case of the matrix.
#[derive(Clone, Debug)]
pub struct Case {
    pub phase: Phase,
    pub at: Position,
    pub what: Disturbance,
}

/// How much of the product is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Everything at every call.
    Everything,
    /// A kill after every write.
    KillsAfterWrites,
}

impl Position {
    /// A fault at exactly this call, and so many of its kind after it.
    pub fn fault(&self, kind: Misbehaviour, times: u32) -> Fault {
        Fault {
            method: Some(self.method.clone()),
            path: Some(self.path.clone()),
            times: Some(times),
            after: self.nth,
            kind,
        }
    }

    /// Who waits for another Worker reads again and again: how often depends on how busy the machine is.
    pub fn is_repeated_read(&self) -> bool {
        !self.is_write() && self.nth > 0
    }

    fn is_write(&self) -> bool {
        self.method != "GET"
    }

    fn is_listing(&self) -> bool {
        self.method == "GET"
            && (self.path.ends_with("/workers/scripts") || self.path.ends_with("/namespaces"))
    }

    fn is_settings(&self) -> bool {
        self.method == "GET" && self.path.ends_with("/settings")
    }
}

/// The positions of recorded calls.
pub fn positions(calls: &[Call]) -> Vec<Position> {
    let mut all: Vec<Position> = Vec::new();
    for Call {
        method,
        path,
        metadata,
        ..
    } in calls
    {
        let same = |it: &&Position| it.method == *method && it.path == *path;
        let nth = all.iter().filter(same).count();
        all.push(Position {
            method: method.clone(),
            path: path.clone(),
            nth: u32::try_from(nth).expect("a run makes few calls"),
            guarded: metadata
                .as_ref()
                .is_some_and(|it| it.get("migrations").is_some()),
        });
    }
    all
}

/// A refusal that passes by itself, but not soon enough: every attempt of a call meets it.
fn persistent_failure(turn: usize) -> Disturbance {
    let kind = match turn % 2 {
        0 => Misbehaviour::Error {
            status: 500,
            code: 10013,
            message: "An unknown error has occurred.".into(),
        },
        _ => Misbehaviour::CloseBefore,
    };
    // The configurations allow one repetition.
    Disturbance::Faulty(kind, 2)
}

/// The cases of a flow whose plan and apply make these calls.
pub fn cases(flow: &Flow, plan: &[Position], apply: &[Position], depth: Depth) -> Vec<Case> {
    let mut all = Vec::new();
    if depth == Depth::KillsAfterWrites {
        for at in apply.iter().filter(|it| it.is_write()) {
            push(&mut all, Phase::Apply, at, Disturbance::Kill(Victim::Both));
        }
        return all;
    }
    for (turn, at) in plan.iter().enumerate() {
        let victim = [Victim::Both, Victim::Provider][turn % 2];
        push(&mut all, Phase::Plan, at, Disturbance::Kill(victim));
        push(&mut all, Phase::Plan, at, persistent_failure(turn));
    }
    let first_write = apply.iter().position(Position::is_write);
    for (turn, at) in apply.iter().enumerate() {
        let mut add = |what| push(&mut all, Phase::Apply, at, what);
        let limited = Disturbance::Faulty(Misbehaviour::RateLimit { retry_after: 1 }, 1);
        if at.is_write() {
            add(Disturbance::Kill(Victim::Both));
            add(Disturbance::Kill(Victim::Provider));
            add(Disturbance::StaleFromHere);
            add(limited);
            add(Disturbance::Faulty(Misbehaviour::CloseBefore, 1));
            add(Disturbance::Faulty(Misbehaviour::CloseBefore, 20));
            add(Disturbance::Faulty(Misbehaviour::CloseAfterCommit, 1));
            add(Disturbance::Faulty(Misbehaviour::ErrorAfterCommit, 1));
            add(Disturbance::Faulty(Misbehaviour::Truncated, 1));
        } else {
            add(Disturbance::Kill(
                [Victim::Both, Victim::Provider][turn % 2],
            ));
            add(persistent_failure(turn));
            if at.nth == 0 {
                add(limited);
            }
        }
        if at.is_settings() {
            add(Disturbance::Faulty(Misbehaviour::NoVersions, 1));
            add(Disturbance::Faulty(Misbehaviour::NoVersions, 20));
        }
        if at.is_listing() && first_write.is_some_and(|first| first < turn) {
            // A listing that shows the beginning differs only after the first write.
            let before = apply[first_write.unwrap_or_default()..turn].iter();
            let same = before.filter(|it| it.path == at.path && !it.is_write());
            let nth = u32::try_from(same.count()).expect("a run makes few calls");
            let at = Position { nth, ..at.clone() };
            let stale = Disturbance::Faulty(Misbehaviour::Stale, 1);
            push(&mut all, Phase::Apply, &at, stale);
        }
        if first_write.is_none_or(|first| turn < first || turn == first && at.guarded) {
            for what in overtaken(flow) {
                push(&mut all, Phase::Apply, at, what);
            }
        }
    }
    all
}

fn push(all: &mut Vec<Case>, phase: Phase, at: &Position, what: Disturbance) {
    all.push(Case {
        phase,
        at: at.clone(),
        what,
    });
}

/// What other tools do to a flow. Whoever changes classes moves the migration tag as well.
fn overtaken(flow: &Flow) -> Vec<Disturbance> {
    let moved = |script: &str| Action::SetMigrationTag {
        script: script.into(),
        tag: Some("elsewhere-1".into()),
    };
    let mut all = Vec::new();
    if let Some(script) = flow.tag_moves {
        all.push(Disturbance::Overtaken {
            actions: vec![moved(script)],
            stops: false,
            ends: Ends::Meant,
        });
    }
    if let Some((script, class)) = flow.overtaken {
        let (script, class) = (script.to_owned(), class.to_owned());
        let delete = Action::DeleteClass {
            script: script.clone(),
            class: class.clone(),
        };
        let replace = Action::ReplaceClass {
            script: script.clone(),
            class,
        };
        for (change, ends) in [(delete, Ends::Bereft), (replace, Ends::Asked)] {
            all.push(Disturbance::Overtaken {
                actions: vec![moved(&script), change],
                stops: true,
                ends,
            });
        }
    }
    if let Some((script, one, other)) = flow.exchanged {
        let rename = |from: &str, to: &str| Action::RenameClass {
            script: script.into(),
            from: from.into(),
            to: to.into(),
        };
        all.push(Disturbance::Overtaken {
            actions: vec![
                moved(script),
                rename(one, "Aside"),
                rename(other, one),
                rename("Aside", other),
            ],
            stops: true,
            ends: Ends::Meant,
        });
    }
    all
}
