//! Literal cases: what a Worker hosts, what it shall host, and the plan, all as text.
//!
//! Before: `counter = Counter` (also `? = Counter` for a class without a stable ID), then any of `kv`, `consent`,
//! `id N`, `named NAME`. After: `counter = Counter`, then any of `kv`, `sqlite`, `here`, `from SCRIPT`, `was CLASS`, or
//! `counter @ SCRIPT [CLASS]` for a binding of another Worker's namespace, then `from SCRIPT`. The evidence has lines of its own:
//! `listed N NAME SCRIPT CLASS`, `gone N`, `tag SCRIPT counter=Counter`, `planned counter SCRIPT`, `tagged TAG`, `formerly SCRIPT`,
//! `bound BINDING counter [N]` and, after, `binds BINDING`. A foreign binding has the name of its stable ID.

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

#[test]
fn nothing_to_do_is_nothing() {
    check("", "", "");
    check("a = A", "a = A", "");
    check("a = A kv", "a = A", "");
    check("a = A kv", "a = A kv", "");
    check("? = A", "", "");
    check("a = A\n? = B", "a = A", "");
    check("a = A", "a = A was Old", "");
    check("a = A", "a = A here from other", "");
}

#[test]
fn a_new_stable_id_is_created() {
    check("", "a = A", "create a: A (SQLite)\nupload create-A.1");
    check("", "a = A kv", "create a: A (key-value)\nupload create-A.1");
    check(
        "tagged v1",
        "b = B\na = A kv",
        "create a: A (key-value)
         create b: B (SQLite)
         upload create-A_create-B.1.after-v1",
    );
    check(
        "",
        "a = A was Old",
        "create a: A (SQLite)\nupload create-A.1",
    );
}

#[test]
fn another_class_is_a_rename() {
    check(
        "chat-rooms = ChatRoom",
        "chat-rooms = Room",
        "rename chat-rooms: ChatRoom -> Room (data kept)
         upload rename-ChatRoom-Room.1",
    );
    check(
        "a = A kv",
        "a = B",
        "rename a: A -> B (data kept)\nupload rename-A-B.1",
    );
}

#[test]
fn two_bindings_of_one_namespace_are_one_namespace() {
    check(
        "",
        "a = A\na = A sqlite",
        "create a: A (SQLite)\nupload create-A.1",
    );
    check(
        "a = A",
        "a = B was X\na = B",
        "rename a: A -> B (data kept)\nupload rename-A-B.1",
    );
}

#[test]
fn what_is_bound_nowhere_is_deleted() {
    check(
        "old = Gone",
        "",
        "delete old: Gone (its data is deleted)\nupload delete-Gone.1",
    );
    let plan = plan(&situation("old = Gone id 7 consent", ""));
    let deletion = plan.deletions().next().expect("one deletion");
    assert_eq!(
        (
            deletion.namespace_id.as_ref().map(NamespaceId::as_str),
            deletion.consent
        ),
        (Some("7"), true)
    );
}

#[test]
fn create_rename_and_delete_go_in_one_upload() {
    check(
        "a = A\nc = C\ntagged t",
        "a = B\nd = D",
        "rename a: A -> B (data kept)
         delete c: C (its data is deleted)
         create d: D (SQLite)
         upload rename-A-B_delete-C_create-D.1.after-t",
    );
}

#[test]
fn a_class_without_a_stable_id_is_adopted_and_never_deleted() {
    check("? = A", "a = A", "adopt a: A (data kept)");
    check(
        "? = Old",
        "a = New was Old",
        "adopt a: Old -> New (data kept)\nupload rename-Old-New.1",
    );
    check("? = A\n? = B", "a = A", "adopt a: A (data kept)");
    // Its own name wins over the former one; the other class stays without an ID.
    check("? = A\n? = Old", "a = A was Old", "adopt a: A (data kept)");
    // A class with a stable ID is nobody's to take over.
    check(
        "x = A",
        "a = B was A\nx = A",
        "create a: B (SQLite)\nupload create-B.1",
    );
    check(
        "? = A kv",
        "a = A sqlite",
        "adopt a: A (data kept)\nproblem: The storage of namespace `a` cannot be changed",
    );
}

#[test]
fn nothing_is_created_beside_a_class_that_may_be_meant() {
    check(
        "? = Old",
        "a = New",
        "create a: New (SQLite)
         problem: Namespace `a` may be one that exists already",
    );
    check(
        "? = Old",
        "a = New\nold = Old",
        "create a: New (SQLite)
         adopt old: Old (data kept)
         upload create-New.1",
    );
    let detail = plan(&situation("? = Old", "a = New")).problems[0].detail();
    assert!(detail.contains("previous_class_name = \"Old\""), "{detail}");
}

#[test]
fn one_class_is_taken_over_once() {
    check(
        "? = Old",
        "a = A was Old\nb = B was Old",
        "adopt a: Old -> A (data kept)
         adopt b: Old -> B (data kept)
         problem: Two namespaces would take over class `Old`",
    );
    check(
        "? = Old",
        "a = A was Old\nb = Old",
        "adopt a: Old -> A (data kept)
         adopt b: Old (data kept)
         problem: Two namespaces would take over class `Old`",
    );
}

#[test]
fn contradictions_are_problems() {
    check(
        "",
        "a = A\nb = A",
        "problem: Durable Object class `A` has two stable IDs",
    );
    check("", "a = A\na = B", "problem: Namespace `a` has two classes");
    check(
        "",
        "a = A kv\na = A sqlite",
        "problem: Namespace `a` has two kinds of storage",
    );
    check(
        "",
        "a = A\na @ other A",
        "problem: Namespace `a` has two hosting Workers",
    );
    check(
        "",
        "a @ one\na @ two",
        "problem: Namespace `a` has two hosting Workers",
    );
    check(
        "",
        "a @ one A\na @ one B",
        "problem: Namespace `a` has two classes",
    );
    check("", "a @ one A\na @ one", "");
}

#[test]
fn storage_cannot_change() {
    check(
        "a = A",
        "a = A kv",
        "problem: The storage of namespace `a` cannot be changed",
    );
    check(
        "a = A kv",
        "a = A sqlite",
        "problem: The storage of namespace `a` cannot be changed",
    );
    let detail = plan(&situation("a = A kv", "a = A sqlite")).problems[0].detail();
    assert!(detail.contains("`sqlite = false`"), "{detail}");
}

#[test]
fn a_name_that_is_given_up_and_taken_needs_a_second_upload() {
    check(
        "a = A\nb = B",
        "a = B\nb = A",
        "rename a: A -> B (data kept)
         rename b: B -> A (data kept)
         upload A>~B B>~A
         upload ~>A ~>B",
    );
    check(
        "a = A\nb = B\nc = C",
        "a = B\nb = C\nc = A",
        "rename a: A -> B (data kept)
         rename b: B -> C (data kept)
         rename c: C -> A (data kept)
         upload A>~B B>~C C>~A
         upload ~>A ~>B ~>C",
    );
    // What is finished first comes first.
    check(
        "a = A\nb = B",
        "a = B\nb = C",
        "rename b: B -> C (data kept)
         rename a: A -> B (data kept)
         upload A>~B B>C
         upload ~>B",
    );
    check(
        "a = A",
        "a = B\nn = A",
        "rename a: A -> B (data kept)
         create n: A (SQLite)
         upload A>B +~A
         upload ~>A",
    );
    check(
        "a = A",
        "n = A",
        "delete a: A (its data is deleted)
         create n: A (SQLite)
         upload -A +~A
         upload ~>A",
    );
    check(
        "a = A\nb = B",
        "a = B",
        "delete b: B (its data is deleted)
         rename a: A -> B (data kept)
         upload -B A>~B
         upload ~>B",
    );
    check(
        "? = A\nb = B",
        "a = B was A\nb = A",
        "adopt a: A -> B (data kept)
         rename b: B -> A (data kept)
         upload A>~B B>~A
         upload ~>A ~>B",
    );
    check(
        "a = A\n? = B",
        "a = B",
        "rename a: A -> B (data kept)
         problem: Namespace `a` cannot take class `B`",
    );
}

#[test]
fn temporary_names_are_made_of_the_stable_id_and_the_old_tag() {
    let parked = |before: &str| -> Vec<String> {
        let plan = plan(&situation(before, "a = B\nb = A"));
        let renamed = plan.uploads[0]
            .migration
            .clone()
            .expect("class changes")
            .renamed;
        renamed.into_iter().map(|(_, to)| to.to_string()).collect()
    };
    let first = parked("a = A\nb = B");
    assert!(first.iter().all(|name| ClassName::new(name).is_ok()) && first[0] != first[1]);
    assert_eq!(first, parked("b = B\na = A"));
    assert_ne!(first, parked("tagged v2\na = A\nb = B"));
}

#[test]
fn a_crash_between_two_uploads_is_finished_or_reverted_by_the_next_plan() {
    check(
        "a = Parked_1\nb = Parked_2",
        "a = B\nb = A",
        "rename a: Parked_1 -> B (data kept)
         rename b: Parked_2 -> A (data kept)
         upload rename-Parked_1-B_rename-Parked_2-A.1",
    );
    check(
        "a = Parked_1\nb = Parked_2",
        "a = A\nb = B",
        "rename a: Parked_1 -> A (data kept)
         rename b: Parked_2 -> B (data kept)
         upload rename-Parked_1-A_rename-Parked_2-B.1",
    );
}

#[test]
fn a_server_name_that_is_held_delays_a_create_but_no_rename() {
    check(
        "a = B named w_A",
        "a = B\nn = A",
        "create n: A (SQLite)
         upload +~A
         upload ~>A",
    );
    check(
        "a = B named w_A\nc = C named w_C",
        "a = B\nc = A",
        "rename c: C -> A (data kept)\nupload rename-C-A.1",
    );
    check(
        "listed 9 w_A other X",
        "n = A",
        "create n: A (SQLite)
         upload +~A
         upload ~>A",
    );
    check(
        "listed 9 w_A other X\ngone 9",
        "n = A",
        "create n: A (SQLite)\nupload create-A.1",
    );
    check(
        "a = B named old_A",
        "a = B\nn = A",
        "create n: A (SQLite)\nupload create-A.1",
    );
}

#[test]
fn a_delete_carries_no_binding_of_that_class_and_no_binding_that_reached_it() {
    check(
        "a = A",
        "b @ other A",
        "delete a: A (its data is deleted)
         upload -A without b
         upload",
    );
    check(
        "a = A",
        "b @ other B",
        "delete a: A (its data is deleted)
         upload delete-A.1",
    );
    check(
        "a = A\nb = B\nbound ROOM a",
        "b = B\nbinds ROOM",
        "delete a: A (its data is deleted)
         upload -A without ROOM
         upload",
    );
    check(
        "a = A id 1\nbound ROOM x 1",
        "binds ROOM",
        "delete a: A (its data is deleted)
         upload -A without ROOM
         upload",
    );
    check(
        "a = A\nbound ROOM a",
        "binds OTHER",
        "delete a: A (its data is deleted)
         upload delete-A.1",
    );
    check(
        "a = A\nbound ROOM a",
        "n = A\nbinds ROOM",
        "delete a: A (its data is deleted)
         create n: A (SQLite)
         upload -A +~A without ROOM
         upload ~>A",
    );
}

#[test]
fn a_namespace_that_lives_elsewhere_is_not_created_again() {
    let away = "a = A id 1 named w_A\nlisted 1 w_A other A";
    check(
        away,
        "a = A",
        "problem: Namespace `a` is hosted by Worker `other`",
    );
    check(
        away,
        "a = A here",
        "problem: Namespace `a` is hosted by Worker `other`",
    );
    check(
        away,
        "a = A here from other",
        "transfer a: A of other -> A (data kept)\nupload transfer-other-A-A.1",
    );
    check(
        away,
        "a = A from other",
        "problem: Namespace `a` is hosted by Worker `other`",
    );
    check(
        away,
        "a = A from third",
        "problem: Namespace `a` is hosted by Worker `other`",
    );
    // It is not this Worker's to delete either.
    check(away, "", "");
    check(away, "a @ third A from w", "");
    // Taken between two plan calls of one run, which must not differ.
    check(
        away,
        "a @ other A from w",
        "leave a: A to other (data kept)",
    );
}

#[test]
fn a_namespace_known_to_be_gone_is_created_again() {
    check(
        "a = A id 1 named w_A\ngone 1",
        "a = A",
        "create a: A (SQLite)\nupload create-A.1",
    );
    check("a = A id 1 named w_A\ngone 1", "", "");
    // Missing from a listing that may lag proves nothing.
    check("a = A id 1 named w_A\nlisted 2 w_B w B", "a = A", "");
}

#[test]
fn a_worker_that_is_renamed_keeps_what_it_hosts() {
    check(
        "formerly old\na = A id 1 named old_A\nlisted 1 old_A old A",
        "a = A",
        "",
    );
    check(
        "formerly old\na = A id 1 named old_A\nlisted 1 old_A old A",
        "a = B\nn = A from old",
        "rename a: A -> B (data kept)
         create n: A (SQLite)
         upload A>B +~A
         upload ~>A",
    );
    check(
        "formerly old\ntag old a=A\na = A",
        "a = A\nb = B",
        "create b: B (SQLite)\nupload create-B.1",
    );
}

#[test]
fn a_transfer_is_found_by_the_tag_or_else_by_the_class() {
    check(
        "tag other a=X\nlisted 1 other_X other X",
        "a = A here from other",
        "transfer a: X of other -> A (data kept)\nupload transfer-other-X-A.1",
    );
    check(
        "tag other a=X\nlisted 1 other_X other X",
        "a = A from other",
        "problem: Namespace `a` is hosted by Worker `other`",
    );
    check(
        "listed 1 other_A other A",
        "a = A here from other",
        "transfer a: A of other -> A (data kept)\nupload transfer-other-A-A.1",
    );
    check(
        "listed 1 other_Old other Old\nlisted 2 other_A other A",
        "a = A here from other was Old",
        "transfer a: Old of other -> A (data kept)\nupload transfer-other-Old-A.1",
    );
    check(
        "tag third a=A\nlisted 1 third_A third A",
        "a = A here from other",
        "problem: Namespace `a` is hosted by Worker `third`",
    );
    check(
        "listed 1 other_A other A",
        "a = A here kv from other",
        "transfer a: A of other -> A (data kept)
         problem: The storage of namespace `a` cannot be changed",
    );
    // The class there belongs to another stable ID, or the tag is older than the listing.
    let nothing = "create a: A (SQLite)
         upload create-A.1
         warning: No namespace `a` found on Worker `other`";
    check(
        "tag other x=A\nlisted 1 other_A other A",
        "a = A here from other",
        nothing,
    );
    check(
        "tag other a=A\nlisted 1 other_B other B",
        "a = A here from other",
        nothing,
    );
    check("", "a = A here from other", nothing);
    check(
        "",
        "a = A from w",
        "create a: A (SQLite)\nupload create-A.1",
    );
    check("", "a = A from ", "create a: A (SQLite)\nupload create-A.1");
}

#[test]
fn a_known_namespace_is_transferred_and_none_of_that_class_instead() {
    check(
        "bound ROOM a 1\nlisted 1 x_A third A\nlisted 2 other_A other A",
        "a = A here from other",
        "problem: Namespace `a` is hosted by Worker `third`",
    );
    check(
        "bound ROOM a 1\nlisted 1 other_X other X",
        "a = A here from other",
        "transfer a: X of other -> A (data kept)\nupload transfer-other-X-A.1",
    );
    check(
        "bound ROOM a 1\nlisted 1 other_X other X",
        "a = A",
        "problem: Namespace `a` is hosted by Worker `other`",
    );
}

#[test]
fn what_is_transferred_goes_to_its_final_class_unless_another_worker_has_yet_to_take_that() {
    let here = "listed 1 other_X other X\ntag other a=X";
    check(
        &format!("{here}\nb = A"),
        "a = A here from other\nb = B",
        "rename b: A -> B (data kept)
         transfer a: X of other -> A (data kept)
         upload A>B
         upload other.X>A",
    );
    check(
        &format!("{here}\nb = A"),
        "a = A here from other\nb @ other X from w",
        "leave b: A to other (data kept)
         transfer a: X of other -> A (data kept)
         upload other.X>~A
         upload ~>A once A is gone",
    );
    check(
        &format!("{here}\nb = B\nc = C"),
        "a = A here from other\nb = C\nc = B",
        "transfer a: X of other -> A (data kept)
         rename b: B -> C (data kept)
         rename c: C -> B (data kept)
         upload B>~C C>~B
         upload other.X>A
         upload ~>B ~>C",
    );
    check(
        &format!("{here}\n? = A"),
        "a = A here from other",
        "transfer a: X of other -> A (data kept)
         problem: Namespace `a` cannot take class `A`",
    );
}

#[test]
fn what_is_hosted_here_and_bound_from_elsewhere_leaves_if_that_is_said() {
    check(
        "a = A",
        "a @ other A from w",
        "leave a: A to other (data kept)",
    );
    check(
        "a = A",
        "a @ other A",
        "problem: Namespace `a` is hosted here, not by `other`",
    );
    check(
        "a = A\ntag other a=X\nlisted 2 other_X other X",
        "a @ other A from w",
        "problem: Namespace `a` exists here and on Worker `other`",
    );
    check(
        "a = A\nb = B",
        "a @ other A from w\nb = A",
        "leave a: A to other (data kept)
         rename b: B -> A (data kept)
         upload B>~A
         upload ~>A once A is gone",
    );
    check("? = A", "a @ other A", "");
}

#[test]
fn a_second_namespace_of_one_stable_id_is_warned_of() {
    let expect = "create a: A (SQLite)
         upload create-A.1
         warning: Another namespace `a` exists on Worker `other`";
    check("tag other a=X", "a = A", expect);
    check("planned a other", "a = A", expect);
    check("planned a other\ntag other a=A", "a = A", expect);
    check("a = A\ntag other a=A", "a = A", "");
    check(
        "tag w a=A\nplanned a w",
        "a = A",
        "create a: A (SQLite)\nupload create-A.1",
    );
}

#[test]
fn any_name_is_just_a_name() {
    check(
        "__proto__ = __proto__\nconstructor = constructor",
        "__proto__ = constructor2\nconstructor = constructor",
        "rename __proto__: __proto__ -> constructor2 (data kept)
         upload rename-__proto__-constructor2.1",
    );
    check(
        "a:b = A",
        "a:b = B",
        "rename a:b: A -> B (data kept)\nupload rename-A-B.1",
    );
    check(
        "x->y,&%; = A",
        "x->y,&%; = B",
        "rename x->y,&%;: A -> B (data kept)\nupload rename-A-B.1",
    );
    check(
        "toString = hasOwnProperty",
        "",
        "delete toString: hasOwnProperty (its data is deleted)\nupload delete-hasOwnProperty.1",
    );
    check(
        "日本 = 部屋",
        "日本 = Räume",
        "rename 日本: 部屋 -> Räume (data kept)\nupload rename-部屋-Räume.1",
    );
}

#[test]
fn a_stable_id_cannot_forge_a_second_sentence() {
    let change = Change::Rename {
        stable_id: id("a\nrename b\u{2028}"),
        from: class("A"),
        to: class("B"),
    };
    assert_eq!(
        change.to_string(),
        "rename a\\nrename b\\u{2028}: A -> B (data kept)"
    );
}

#[test]
fn summaries_fit_whatever_the_names_are() {
    let long = "x".repeat(255);
    let wide = "界".repeat(85);
    let class = "A".repeat(300);
    for name in [long.as_str(), wide.as_str()] {
        // `shown` checks the length of each.
        check_any(
            &format!("{name} = A\n? = {class}"),
            &format!("{name} = {class}"),
        );
        check_any("", &format!("a = {class}\n{name} = {class}"));
        check_any(&format!("{name} = A"), &format!("{name} @ {long} A"));
        check_any(&format!("tag {long} {name}=A"), &format!("{name} = A"));
    }
}

/// That there is something to say, and that it has the form of a message.
#[track_caller]
fn check_any(before: &str, after: &str) {
    let plan = plan(&situation(before, after));
    assert!(!plan.problems.is_empty() || !plan.warnings.is_empty());
    shown(&plan);
}

#[test]
fn a_new_tag_is_bounded_and_never_the_old_one() {
    let many: String = (0..50)
        .map(|n| format!("id{n} = SomeClassName{n}\n"))
        .collect();
    let first = plan(&situation("", &many))
        .uploads
        .remove(0)
        .migration
        .expect("class changes")
        .new_tag;
    assert!(
        first
            .as_str()
            .starts_with("create-SomeClassName0_create-SomeClassName1_"),
        "{first}"
    );
    for old in [
        first.as_str(),
        "create-A.1.after-create-A.1.after-create-A.1",
        &"界".repeat(300),
    ] {
        let upload = plan(&situation(&format!("tagged {old}"), &many))
            .uploads
            .remove(0)
            .migration
            .expect("class changes");
        assert!(upload.new_tag.as_str().len() <= 128, "{}", upload.new_tag);
        assert_ne!(upload.new_tag.as_str(), old);
    }
    // The one old tag that the plain rule would repeat.
    let repeated = "create-A.1.after-create-A.1.after-create-";
    let upload = plan(&situation(&format!("tagged {repeated}"), "a = A"))
        .uploads
        .remove(0)
        .migration
        .expect("class changes");
    assert_eq!(upload.new_tag.as_str(), format!("{repeated}-again"));
}

#[test]
fn an_upload_says_what_it_leaves_owned() {
    let upload = plan(&situation(
        "a = A\ngone-soon = G\n? = U\n? = V",
        "a = B\nv = V",
    ))
    .uploads
    .remove(0);
    let owned: Vec<String> = upload
        .owned
        .iter()
        .map(|claim| format!("{}={}", claim.stable_id, claim.class))
        .collect();
    assert_eq!(owned, ["a=B", "v=V"]);
    let migration = upload.migration.expect("class changes");
    assert_eq!(migration.deleted, [class("G")]);
    assert_eq!(migration.renamed, [(class("A"), class("B"))]);
}
