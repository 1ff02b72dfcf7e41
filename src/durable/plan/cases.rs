//! Literal cases: what a Worker hosts, what it shall host, and the plan, all as text.
//!
//! Before: `counter = Counter` (also `? = Counter` for a class without a stable ID), then any of `kv`, `consent`,
//! `id N`, `named NAME`. After: `counter = Counter`, then any of `kv`, `sqlite`, `here`, `from SCRIPT`, `was CLASS`, or
//! `counter @ SCRIPT [CLASS]` for a binding of another Worker's namespace, then `from SCRIPT`. The evidence has lines of its own:
//! `listed N NAME SCRIPT CLASS`, `gone N`, `tag SCRIPT counter=Counter`, `planned counter SCRIPT`, `tagged TAG`, `formerly SCRIPT`.

use super::*;
use crate::durable::{BoundElsewhere, Desired, Hosted, LiveNamespace, ScriptName};

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
            });
        }
        _ => panic!("{line}"),
    }
}

/// The changes, then `upload …`, `problem: …` and `warning: …`, a line each.
fn shown(plan: &MigrationPlan) -> String {
    let mut lines: Vec<String> = plan.changes.iter().map(ToString::to_string).collect();
    for upload in &plan.uploads {
        lines.push(format!("upload {}", upload.new_tag));
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
fn what_needs_several_uploads_is_a_problem_for_now() {
    check(
        "a = A\nb = B",
        "a = B\nb = A",
        "rename a: A -> B (data kept)
         rename b: B -> A (data kept)
         problem: Namespace `a` cannot take class `B` in one apply
         problem: Namespace `b` cannot take class `A` in one apply",
    );
    check(
        "a = A\nb = B",
        "a = B\nb = C",
        "rename a: A -> B (data kept)
         rename b: B -> C (data kept)
         problem: Namespace `a` cannot take class `B` in one apply",
    );
    check(
        "a = A",
        "a = B\nn = A",
        "rename a: A -> B (data kept)
         create n: A (SQLite)
         problem: Namespace `n` cannot take class `A` in one apply",
    );
    check(
        "a = A",
        "n = A",
        "delete a: A (its data is deleted)
         create n: A (SQLite)
         problem: Namespace `n` cannot take class `A` in one apply",
    );
    check(
        "a = A\nb = B",
        "a = B",
        "rename a: A -> B (data kept)
         delete b: B (its data is deleted)
         problem: Namespace `a` cannot take class `B` in one apply",
    );
    check(
        "a = A\n? = B",
        "a = B",
        "rename a: A -> B (data kept)
         problem: Namespace `a` cannot take class `B` in one apply",
    );
    check(
        "? = A\nb = B",
        "a = B was A\nb = A",
        "adopt a: A -> B (data kept)
         rename b: B -> A (data kept)
         problem: Namespace `a` cannot take class `B` in one apply
         problem: Namespace `b` cannot take class `A` in one apply",
    );
}

#[test]
fn only_an_exchange_is_explained_as_one() {
    let circular = |before: &str, after: &str| -> Vec<bool> {
        let plan = plan(&situation(before, after));
        plan.problems
            .iter()
            .map(|problem| problem.detail().contains("exchange"))
            .collect()
    };
    assert_eq!(circular("a = A\nb = B", "a = B\nb = A"), [true, true]);
    assert_eq!(
        circular("a = A\nb = B\nc = C", "a = B\nb = C\nc = A"),
        [true, true, true]
    );
    assert_eq!(
        circular("a = A\nb = B\nc = C", "a = B\nb = C\nc = D"),
        [false, false]
    );
    assert_eq!(
        circular("a = A\nb = B\nc = C", "a = B\nb = A\nn = C"),
        [true, true, false]
    );
}

#[test]
fn a_server_name_that_is_held_stops_a_create_but_no_rename() {
    check(
        "a = B named w_A",
        "a = B\nn = A",
        "create n: A (SQLite)
         problem: Namespace `n` cannot be created as class `A`",
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
         problem: Namespace `n` cannot be created as class `A`",
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
        "problem: Namespace `a` cannot be moved from Worker `other`",
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
    check(away, "a @ other A from w", "");
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
         problem: Namespace `n` cannot take class `A` in one apply",
    );
    check(
        "formerly old\ntag old a=A\na = A",
        "a = A\nb = B",
        "create b: B (SQLite)\nupload create-B.1",
    );
}

#[test]
fn moves_between_workers_are_problems_for_now() {
    check(
        "tag other a=X",
        "a = A here from other",
        "problem: Namespace `a` cannot be moved from Worker `other`",
    );
    check(
        "tag other a=X",
        "a = A from other",
        "problem: Namespace `a` is hosted by Worker `other`",
    );
    check(
        "listed 1 other_A other A",
        "a = A here from other",
        "problem: Namespace `a` cannot be moved from Worker `other`",
    );
    check(
        "listed 1 other_Old other Old",
        "a = A here from other was Old",
        "problem: Namespace `a` cannot be moved from Worker `other`",
    );
    check(
        "tag third a=A",
        "a = A here from other",
        "problem: Namespace `a` is hosted by Worker `third`",
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
fn what_is_hosted_here_and_bound_from_elsewhere_is_a_problem() {
    check(
        "a = A",
        "a @ other A from w",
        "problem: Namespace `a` cannot be moved to Worker `other`",
    );
    check(
        "a = A",
        "a @ other A",
        "problem: Namespace `a` is hosted here, not by `other`",
    );
    check(
        "a = A\ntag other a=X",
        "a @ other A from w",
        "problem: Namespace `a` exists here and on Worker `other`",
    );
    check("? = A", "a @ other A", "");
}

#[test]
fn a_class_is_not_deleted_while_another_workers_class_of_that_name_is_bound() {
    check(
        "a = A",
        "b @ other A",
        "delete a: A (its data is deleted)
         problem: Namespace `a` cannot be deleted while a class `A` is bound",
    );
    check(
        "a = A",
        "b @ other B",
        "delete a: A (its data is deleted)
         upload delete-A.1",
    );
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
        check_any(&format!("a = {class}"), &format!("a = B\n{name} = {class}"));
        check_any("", &format!("a = {class}\n{name} = {class}"));
        check_any(&format!("{name} = A"), &format!("{name} @ {long} A from w"));
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
    let first = plan(&situation("", &many)).uploads.remove(0).new_tag;
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
            .remove(0);
        assert!(upload.new_tag.as_str().len() <= 128, "{}", upload.new_tag);
        assert_ne!(upload.new_tag.as_str(), old);
    }
    // The one old tag that the plain rule would repeat.
    let repeated = "create-A.1.after-create-A.1.after-create-";
    let upload = plan(&situation(&format!("tagged {repeated}"), "a = A"))
        .uploads
        .remove(0);
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
    assert_eq!(upload.deleted, [class("G")]);
    assert_eq!(upload.renamed, [(class("A"), class("B"))]);
}
