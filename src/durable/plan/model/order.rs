//! What holds for whatever the planner is given: the order of things does not matter, and every message has its form.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::Index;

use super::names::{CLASSES, IDS};
use crate::durable::plan::plan;
use crate::durable::tag::Claim;
use crate::durable::{
    BoundBefore, BoundElsewhere, ClassName, Desired, Evidence, Hosted, LiveNamespace, MigrationTag,
    NamespaceId, ScriptName, Situation, StableId, Storage,
};

const SCRIPTS: &[&str] = &["w", "other", "third"];

/// A few numbers from which one thing is made.
type Row = (Index, Index, Index, u8);

fn rows(most: usize) -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec(any::<Row>(), 0..=most)
}

fn id(index: Index) -> StableId {
    StableId::new(IDS[index.index(IDS.len())]).expect("an ID")
}

fn class(index: Index) -> ClassName {
    ClassName::from_api(CLASSES[index.index(CLASSES.len())])
}

fn script(index: Index) -> ScriptName {
    ScriptName::from_api(SCRIPTS[index.index(SCRIPTS.len())])
}

fn number(flags: u8) -> NamespaceId {
    NamespaceId::new(&(flags % 8).to_string())
}

fn hosted(row: &Row) -> Hosted {
    let &(of, to, name, flags) = row;
    Hosted {
        stable_id: (flags % 4 != 0).then(|| id(of)),
        class: class(to),
        namespace_id: (flags & 16 == 0).then(|| number(flags)),
        server_name: (flags & 32 == 0).then(|| format!("w_{}", class(name))),
        storage: Storage::Sqlite,
        consent: flags & 8 != 0,
    }
}

fn desired((row, from): (&Row, &Option<Index>)) -> Desired {
    let &(of, to, previous, flags) = row;
    Desired {
        stable_id: id(of),
        class: class(to),
        storage: match flags % 5 {
            0 => Some(Storage::KeyValue),
            1 => Some(Storage::Sqlite),
            _ => None,
        },
        names_script: flags & 8 != 0,
        transferred_from: from.map(script),
        previous_class: (flags & 3 == 1).then(|| class(previous)),
    }
}

/// Anything, also what contradicts itself.
fn anything() -> impl Strategy<Value = Situation> {
    let evidence = (rows(4), rows(3), rows(2));
    let after = prop::collection::vec((any::<Row>(), prop::option::of(any::<Index>())), 0..=4);
    let tag = prop::option::of("[a-z0-9.-]{1,40}");
    (rows(4), after, rows(3), rows(3), evidence, tag).prop_map(
        |(before, after, elsewhere, bound, (listing, tags, planned), tag)| {
            let live = |(place, row): (usize, &Row)| LiveNamespace {
                id: number(u8::try_from(place).expect("few") * (1 + row.3 % 2)),
                name: format!("{}_{}", script(row.0), class(row.1)),
                script: (row.3 & 4 == 0).then(|| script(row.0)),
                class: (row.3 & 8 == 0).then(|| class(row.2)),
                storage: Storage::Sqlite,
            };
            // The listing has no id twice, and no class of a script.
            let mut listing: Vec<LiveNamespace> = listing.iter().enumerate().map(live).collect();
            let mut seen = BTreeSet::new();
            listing.retain(|live| seen.insert(live.id.clone()));
            let mut seen = BTreeSet::new();
            listing.retain(|live| seen.insert((live.script.clone(), live.class.clone())));
            // A state has no stable ID and no class twice.
            let mut before: Vec<Hosted> = before.iter().map(hosted).collect();
            let (mut ids, mut classes) = (BTreeSet::new(), BTreeSet::new());
            before.retain(|it| {
                let is_new = it.stable_id.clone().is_none_or(|id| ids.insert(id));
                is_new && classes.insert(it.class.clone())
            });
            let foreign = |&(of, to, from, flags): &Row| BoundElsewhere {
                stable_id: (flags & 1 == 0).then(|| id(of)),
                script: ScriptName::from_api(SCRIPTS[1 + usize::from(flags & 2 == 0)]),
                class: (flags & 4 == 0).then(|| class(to)),
                transferred_from: (flags & 8 == 0).then(|| script(from)),
                binding: (flags & 16 == 0).then(|| format!("B{}", flags % 3)),
            };
            let was_bound = |&(of, _, _, flags): &Row| BoundBefore {
                name: format!("B{}", flags % 3),
                stable_id: (flags & 4 == 0).then(|| id(of)),
                namespace_id: (flags & 8 == 0).then(|| number(flags)),
            };
            Situation {
                script: ScriptName::from_api("w"),
                former_script: None,
                old_tag: tag.as_deref().map(MigrationTag::new),
                before,
                after: after
                    .iter()
                    .map(|(row, from)| desired((row, from)))
                    .collect(),
                elsewhere: elsewhere.iter().map(foreign).collect(),
                bound_before: bound.iter().map(was_bound).collect(),
                bound_after: bound.iter().map(|row| format!("B{}", row.3 % 4)).collect(),
                evidence: Evidence {
                    namespaces: Some(listing),
                    gone: planned.iter().map(|row| number(row.3)).collect(),
                    tags: tags
                        .iter()
                        .map(|row| (script(row.0), vec![Claim::new(&id(row.1), &class(row.2))]))
                        .collect(),
                    planned_elsewhere: planned
                        .iter()
                        .map(|row| (id(row.0), script(row.1)))
                        .collect(),
                },
            }
        },
    )
}

#[test]
fn the_order_of_anything_does_not_matter() {
    let case = (anything(), any::<Index>());
    let outcome = super::runner(300).run(&case, |(one, turn)| {
        let mut other = one.clone();
        other.before.reverse();
        other.after.reverse();
        other.elsewhere.reverse();
        other.bound_before.reverse();
        other.evidence.tags.reverse();
        other.evidence.gone.reverse();
        other.evidence.planned_elsewhere.reverse();
        let listing = other.evidence.namespaces.iter_mut();
        listing.for_each(|all| all.reverse());
        if !other.after.is_empty() {
            let by = turn.index(other.after.len());
            other.after.rotate_left(by);
        }
        prop_assert_eq!(plan(&one), plan(&other));
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn every_message_has_its_form_and_a_plan_with_problems_uploads_nothing() {
    let outcome = super::runner(150).run(&anything(), |situation| {
        let plan = plan(&situation);
        let problems = plan.problems.iter().map(|it| (it.summary(), it.detail()));
        let warnings = plan.warnings.iter().map(|it| (it.summary(), it.detail()));
        for (summary, detail) in problems.chain(warnings) {
            prop_assert!(summary.chars().count() <= 80, "{}", summary);
            prop_assert!(
                !summary.contains('\n') && !summary.ends_with('.'),
                "{}",
                summary
            );
            prop_assert!(detail.ends_with('.'), "{}", detail);
        }
        for change in &plan.changes {
            prop_assert!(change.to_string().lines().count() == 1);
        }
        prop_assert!(plan.problems.is_empty() || plan.uploads.is_empty());
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

/// Found by the generated cases: two bindings of one stable ID that reach two namespaces.
#[test]
fn the_order_of_contradictory_bindings_does_not_matter() {
    let id = |text: &str| StableId::new(text).expect("an ID");
    let live = |number: &str, owner: &str| LiveNamespace {
        id: NamespaceId::new(number),
        name: format!("{owner}_A"),
        script: Some(ScriptName::from_api(owner)),
        class: Some(ClassName::from_api("A")),
        storage: Storage::Sqlite,
    };
    let was_bound = |name: &str, number: &str| BoundBefore {
        name: name.to_owned(),
        stable_id: Some(id("x")),
        namespace_id: Some(NamespaceId::new(number)),
    };
    let one = Situation {
        script: ScriptName::from_api("w"),
        former_script: None,
        old_tag: None,
        before: Vec::new(),
        after: vec![Desired {
            stable_id: id("x"),
            class: ClassName::from_api("A"),
            storage: None,
            names_script: false,
            transferred_from: None,
            previous_class: None,
        }],
        elsewhere: Vec::new(),
        bound_before: vec![was_bound("B0", "2"), was_bound("B1", "1")],
        bound_after: BTreeSet::new(),
        evidence: Evidence {
            namespaces: Some(vec![live("1", "other"), live("2", "third")]),
            ..Evidence::default()
        },
    };
    let mut other = one.clone();
    other.bound_before.reverse();
    assert_eq!(plan(&one), plan(&other));
}
