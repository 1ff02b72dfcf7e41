//! Literal cases: what a Worker hosts, what it shall host, and the plan, all as text.
//!
//! Before: `counter = Counter` (also `? = Counter` for a class without a stable ID), then any of `kv`, `consent`,
//! `id N`, `named NAME`. After: `counter = Counter`, then any of `kv`, `sqlite`, `here`, `from SCRIPT`, `was CLASS`, or
//! `counter @ SCRIPT [CLASS]` for a binding of another Worker's namespace, then `from SCRIPT`. The evidence has lines of its own:
//! `listed N NAME SCRIPT CLASS`, `gone N`, `tag SCRIPT counter=Counter`, `planned counter SCRIPT`, `tagged TAG`, `formerly SCRIPT`,
//! `bound BINDING counter [N]` and, after, `binds BINDING`. A foreign binding has the name of its stable ID.

mod one_worker;
mod several_workers;
mod texts;

use super::*;
use crate::durable::{BoundBefore, BoundElsewhere, Desired, Hosted, LiveNamespace, ScriptName};

fn id(text: &str) -> StableId {
    StableId::new(text).expect("a stable ID")
}

fn class(text: &str) -> ClassName {
    ClassName::new(text).expect("a class name")
}

fn script(text: &str) -> ScriptName {
    ScriptName::from_api(text)
}

/// The situation of a Worker named `w`.
#[track_caller]
fn situation(before: &str, after: &str) -> Situation {
    let mut situation = Situation {
        script: script("w"),
        former_script: None,
        old_tag: None,
        before: Vec::new(),
        after: Vec::new(),
        elsewhere: Vec::new(),
        bound_before: Vec::new(),
        bound_after: BTreeSet::new(),
        evidence: Default::default(),
    };
    for line in before
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        before_line(&mut situation, line);
    }
    for line in after.lines().map(str::trim).filter(|line| !line.is_empty()) {
        after_line(&mut situation, line);
    }
    situation
}

#[track_caller]
fn before_line(situation: &mut Situation, line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let evidence = &mut situation.evidence;
    match words[..] {
        ["listed", number, name, owner, of] => {
            evidence
                .namespaces
                .get_or_insert_default()
                .push(LiveNamespace {
                    id: NamespaceId::new(number),
                    name: name.into(),
                    script: Some(script(owner)),
                    class: Some(class(of)),
                    storage: Storage::Sqlite,
                });
        }
        ["gone", number] => evidence.gone.push(NamespaceId::new(number)),
        ["tag", owner, ref claims @ ..] => {
            let claim = |text: &&str| {
                let (stable_id, of) = text.split_once('=').expect("id=Class");
                Claim::new(&id(stable_id), &class(of))
            };
            evidence
                .tags
                .push((script(owner), claims.iter().map(claim).collect()));
        }
        ["planned", stable_id, owner] => evidence
            .planned_elsewhere
            .push((id(stable_id), script(owner))),
        ["bound", name, stable_id, ref number @ ..] => {
            situation.bound_before.push(BoundBefore {
                name: name.into(),
                stable_id: Some(id(stable_id)),
                namespace_id: number.first().map(|number| NamespaceId::new(number)),
            });
        }
        ["tagged", tag] => situation.old_tag = Some(MigrationTag::new(tag)),
        ["formerly", name] => situation.former_script = Some(script(name)),
        [stable_id, "=", of, ref rest @ ..] => {
            let mut hosted = Hosted {
                stable_id: (stable_id != "?").then(|| id(stable_id)),
                class: class(of),
                namespace_id: None,
                server_name: None,
                storage: Storage::Sqlite,
                consent: false,
            };
            let mut rest = rest.iter();
            while let Some(word) = rest.next() {
                match *word {
                    "kv" => hosted.storage = Storage::KeyValue,
                    "consent" => hosted.consent = true,
                    "id" => {
                        hosted.namespace_id = rest.next().map(|number| NamespaceId::new(number))
                    }
                    "named" => hosted.server_name = rest.next().map(|name| (*name).into()),
                    other => panic!("{other} in {line}"),
                }
            }
            situation.before.push(hosted);
        }
        _ => panic!("{line}"),
    }
}

#[track_caller]
fn after_line(situation: &mut Situation, line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["binds", name] => {
            situation.bound_after.insert(name.into());
        }
        [stable_id, "=", of, ref rest @ ..] => {
            let mut desired = Desired {
                stable_id: id(stable_id),
                class: class(of),
                storage: None,
                names_script: false,
                transferred_from: None,
                previous_class: None,
            };
            let mut rest = rest.iter();
            while let Some(word) = rest.next() {
                match *word {
                    "kv" => desired.storage = Some(Storage::KeyValue),
                    "sqlite" => desired.storage = Some(Storage::Sqlite),
                    "here" => desired.names_script = true,
                    "from" => desired.transferred_from = rest.next().map(|name| script(name)),
                    "was" => desired.previous_class = rest.next().map(|name| class(name)),
                    other => panic!("{other} in {line}"),
                }
            }
            situation.after.push(desired);
        }
        [stable_id, "@", owner, ref rest @ ..] => {
            let (of, from) = match rest {
                [] => (None, None),
                ["from", from] => (None, Some(script(from))),
                [of] => (Some(class(of)), None),
                [of, "from", from] => (Some(class(of)), Some(script(from))),
                _ => panic!("{line}"),
            };
            situation.elsewhere.push(BoundElsewhere {
                stable_id: Some(id(stable_id)),
                script: script(owner),
                class: of,
                transferred_from: from,
                binding: Some(stable_id.into()),
            });
        }
        _ => panic!("{line}"),
    }
}

/// The changes, then `upload …`, `problem: …` and `warning: …`, a line each. The tag of an upload is shown where there is only one,
/// otherwise what it does.
fn shown(plan: &MigrationPlan) -> String {
    let mut lines: Vec<String> = plan.changes.iter().map(ToString::to_string).collect();
    match &plan.uploads[..] {
        [
            Upload {
                migration: Some(migration),
                ..
            },
        ] => lines.push(format!("upload {}", migration.new_tag)),
        uploads => lines.extend(
            uploads
                .iter()
                .map(|upload| format!("upload{}", steps(upload))),
        ),
    }
    for problem in &plan.problems {
        assert!(
            problem.summary().chars().count() <= 80,
            "{}",
            problem.summary()
        );
        assert!(!problem.summary().ends_with('.') && problem.detail().ends_with('.'));
        lines.push(format!("problem: {}", problem.summary()));
    }
    for warning in &plan.warnings {
        assert!(
            warning.summary().chars().count() <= 80,
            "{}",
            warning.summary()
        );
        lines.push(format!("warning: {}", warning.summary()));
    }
    lines.join("\n")
}

/// What an upload does. Temporary names are shown as `~` and the class that the code exports.
fn steps(upload: &Upload) -> String {
    let name = |class: &ClassName| {
        let alias = upload.aliases.iter().find(|alias| alias.held == *class);
        alias.map_or(class.to_string(), |alias| format!("~{}", alias.exported))
    };
    // In the last upload a temporary name is a source, which nothing exports any more.
    let source = |class: &ClassName| match class.as_str().starts_with("Parked_") {
        true => "~".to_owned(),
        false => class.to_string(),
    };
    let mut steps = Vec::new();
    if let Some(migration) = &upload.migration {
        let created = (migration.new_sqlite_classes.iter()).chain(&migration.new_classes);
        steps.extend(migration.deleted.iter().map(|class| format!(" -{class}")));
        let renamed = migration.renamed.iter();
        let mut renamed: Vec<String> = renamed
            .map(|(from, to)| format!(" {}>{}", source(from), name(to)))
            .collect();
        renamed.sort();
        steps.extend(renamed);
        steps.extend(created.map(|class| format!(" +{}", name(class))));
        let moved = migration.transferred.iter();
        steps.extend(moved.map(|it| format!(" {}.{}>{}", it.from_script, it.from, name(&it.to))));
    }
    let left_out = upload.left_out.iter();
    steps.extend(left_out.map(|name| format!(" without {name}")));
    let awaits = upload.awaits.iter();
    steps.extend(awaits.map(|class| format!(" once {class} is gone")));
    steps.concat()
}

#[track_caller]
fn check(before: &str, after: &str, expect: &str) {
    let expect: Vec<&str> = expect
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let plan = plan(&situation(before, after));
    assert_eq!(shown(&plan), expect.join("\n"));
    assert!(plan.problems.is_empty() || plan.uploads.is_empty());
}
