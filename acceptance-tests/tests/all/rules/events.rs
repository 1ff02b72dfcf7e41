//! What happens to the account, made up before it is known what is there.

use proptest::prelude::*;
use proptest::sample::Index;

/// The last one is never uploaded to.
pub(super) const WORKERS: [&str; 4] = ["a", "b", "c", "nobody"];
pub(super) const CLASSES: [&str; 4] = ["A", "B", "C", "D"];
pub(super) const BINDINGS: [&str; 3] = ["X", "Y", "Z"];

/// Something that happens to the account, made up before it is known what is there.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Upload(Draft),
    Rename { from: Index, to: Index },
    Delete(Index),
}

#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) worker: Index,
    /// `None` for an upload without migrations.
    pub(super) steps: Option<Vec<Step>>,
    pub(super) tag: Tag,
    /// Whether the steps are sent as a list of steps.
    pub(super) listed: bool,
    pub(super) code: Slip,
    pub(super) bindings: Vec<(Index, Reach)>,
}

#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) kind: Kind,
    pub(super) from: Index,
    pub(super) to: Index,
    pub(super) worker: Index,
    /// Whether its names are any names instead of those that fit.
    pub(super) careless: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    New,
    NewKv,
    Rename,
    Delete,
    Transfer,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Tag {
    Right,
    Wrong,
    Absent,
}

/// What the code exports beside or instead of what it has to.
#[derive(Clone, Debug)]
pub(super) enum Slip {
    None,
    Without(Index),
    With(Index),
    Everything,
}

#[derive(Clone, Debug)]
pub(super) struct Reach {
    pub(super) worker: Index,
    pub(super) class: Index,
    /// Whether the Worker is named although it is the uploading one.
    pub(super) explicit: bool,
    pub(super) careless: bool,
}

/// Which reading of namespace names holds, and what happens.
pub(super) fn sequences() -> impl Strategy<Value = (bool, Vec<Event>)> {
    let index = any::<Index>;
    let kind = prop_oneof![
        5 => Just(Kind::New),
        1 => Just(Kind::NewKv),
        3 => Just(Kind::Rename),
        2 => Just(Kind::Delete),
        2 => Just(Kind::Transfer),
    ];
    let careless = || prop::bool::weighted(0.06);
    let step = (kind, index(), index(), index(), careless()).prop_map(
        |(kind, from, to, worker, careless)| Step {
            kind,
            from,
            to,
            worker,
            careless,
        },
    );
    let steps = prop_oneof![
        4 => prop::collection::vec(step, 0..4).prop_map(Some),
        1 => Just(None),
    ];
    let tag = prop_oneof![12 => Just(Tag::Right), 1 => Just(Tag::Wrong), 1 => Just(Tag::Absent)];
    let code = prop_oneof![
        8 => Just(Slip::None),
        1 => index().prop_map(Slip::Without),
        1 => index().prop_map(Slip::With),
        3 => Just(Slip::Everything),
    ];
    let reach = (index(), index(), any::<bool>(), careless()).prop_map(
        |(worker, class, explicit, careless)| Reach {
            worker,
            class,
            explicit,
            careless,
        },
    );
    let bindings = prop::collection::vec((index(), reach), 0..3);
    let upload = (index(), steps, tag, any::<bool>(), code, bindings).prop_map(
        |(worker, steps, tag, listed, code, bindings)| {
            Event::Upload(Draft {
                worker,
                steps,
                tag,
                listed,
                code,
                bindings,
            })
        },
    );
    let rename = (index(), index()).prop_map(|(from, to)| Event::Rename { from, to });
    let event = prop_oneof![
        12 => upload,
        1 => rename,
        1 => index().prop_map(Event::Delete),
    ];
    (any::<bool>(), prop::collection::vec(event, 1..12))
}
