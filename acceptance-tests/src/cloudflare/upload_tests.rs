//! Upload rules, case by case: a history of uploads that pass, then one upload and what becomes of it.

use serde_json::{Value, json};

use super::*;
use crate::cloudflare::account::NamespaceNames;
use crate::cloudflare::runtime::ModuleFile;
use crate::cloudflare::script::Exports;

/// Uploads code that exports `classes`.
fn upload(
    account: &mut Account,
    script: &str,
    classes: &[&str],
    metadata: Value,
) -> Result<(), ApiFailure> {
    let module = ModuleFile {
        name: "worker.js".into(),
        content_type: "application/javascript+module".into(),
        body: classes.join(" ").into_bytes().into(),
    };
    let exports = Exports {
        classes: classes.iter().map(|class| (*class).to_owned()).collect(),
        ..Exports::default()
    };
    let metadata = Metadata::parse(&metadata)?;
    let strict = metadata.fields.get("strict").is_some();
    let entry = Entry {
        part: "worker.js".into(),
        syntax: Syntax::Modules,
    };
    let code = Some(Code::new(entry, vec![module], exports, 1));
    apply_upload(
        account,
        Upload {
            script: script.into(),
            metadata,
            code,
            unmentioned: Unmentioned::Reset,
            strict,
            source: "api".into(),
        },
        "now",
    )
}

fn object(name: &str, class: &str) -> Value {
    json!({"name": name, "type": "durable_object_namespace", "class_name": class})
}

fn foreign(name: &str, class: &str, script: &str) -> Value {
    let mut binding = object(name, class);
    binding["script_name"] = json!(script);
    binding
}

/// Worker `w` with classes A (bound as `A`) and B (not bound) at tag v1; Worker `c` binds `w`'s B as `X`.
fn base() -> Account {
    let mut account = Account::new("account", "seed");
    upload(
        &mut account,
        "w",
        &["A", "B"],
        json!({
            "bindings": [object("A", "A"), {"name": "S", "type": "secret_text", "text": "secret"}],
            "migrations": {"new_tag": "v1", "new_sqlite_classes": ["A", "B"]},
        }),
    )
    .expect("the first upload passes");
    upload(
        &mut account,
        "c",
        &[],
        json!({"bindings": [foreign("X", "B", "w")]}),
    )
    .expect("the client's upload passes");
    account
}

/// An upload to `w` in the base account with a matching tag.
#[track_caller]
fn check(
    classes: &[&str],
    bindings: Value,
    steps: Value,
    expected: Result<&str, (u16, u32, &str)>,
) {
    let mut account = base();
    check_in(&mut account, classes, bindings, steps, expected);
}

#[track_caller]
fn check_in(
    account: &mut Account,
    classes: &[&str],
    bindings: Value,
    mut steps: Value,
    expected: Result<&str, (u16, u32, &str)>,
) {
    let before = format!("{account:?}");
    if steps.is_object() {
        steps["old_tag"] = json!("v1");
        steps["new_tag"] = json!("v2");
    }
    let result = upload(
        account,
        "w",
        classes,
        json!({"bindings": bindings, "migrations": steps}),
    );
    match (result, expected) {
        (Ok(()), Ok(namespaces)) => {
            let mut found: Vec<String> = account
                .namespaces_of("w")
                .map(|ns| format!("{}={}", ns.name, ns.class))
                .collect();
            found.sort();
            assert_eq!(found.join(" "), namespaces);
        }
        (Err(failure), Err((status, code, text))) => {
            let error = &failure.errors[0];
            assert_eq!(
                (failure.status, error.code),
                (status, code),
                "{}",
                error.message
            );
            assert_eq!(error.message, text);
            assert_eq!(
                format!("{account:?}"),
                before,
                "a refused upload changes nothing"
            );
        }
        (result, expected) => panic!("got {result:?} instead of {expected:?}"),
    }
}

const STILL_BOUND: &str = "Cannot apply --delete-class migration to class 'A' without also removing the binding that references it.";

#[test]
fn class_changes_follow_cloudflares_rules() {
    // Accepted.
    check(
        &["A", "B"],
        json!([object("A", "A")]),
        json!(null),
        Ok("w_A=A w_B=B"),
    );
    check(
        &["A", "B", "C"],
        json!([]),
        json!({"new_sqlite_classes": ["C"]}),
        Ok("w_A=A w_B=B w_C=C"),
    );
    check(
        &["Z", "B"],
        json!([object("A", "Z")]),
        json!({"renamed_classes": [{"from": "A", "to": "Z"}]}),
        Ok("w_A=Z w_B=B"),
    );
    check(
        &["B"],
        json!([]),
        json!({"deleted_classes": ["A"]}),
        Ok("w_B=B"),
    );
    check(
        &["A", "B"],
        json!([]),
        json!({"deleted_classes": ["A"]}),
        Ok("w_B=B"),
    );
    check(
        &["Z", "C"],
        json!([]),
        json!({"steps": [{"deleted_classes": ["A"]}, {"renamed_classes": [{"from": "B", "to": "Z"}]}, {"new_sqlite_classes": ["C"]}]}),
        Ok("w_B=Z w_C=C"),
    );
    // Creating.
    check(
        &["A", "B"],
        json!([]),
        json!({"new_sqlite_classes": ["C"]}),
        Err((
            400,
            10070,
            "Cannot apply new-class migration to class 'C' that is not exported by script",
        )),
    );
    check(
        &["A", "B"],
        json!([]),
        json!({"new_sqlite_classes": ["A"]}),
        Err((
            400,
            10074,
            "Cannot apply new-sqlite-class migration to class 'A' that is already depended on by existing Durable Objects",
        )),
    );
    check(
        &["A", "B"],
        json!([]),
        json!({"new_classes": ["A"]}),
        Err((
            400,
            10074,
            "Cannot apply new-class migration to class 'A' that is already depended on by existing Durable Objects",
        )),
    );
    // Leaving a class out.
    check(
        &["B"],
        json!([]),
        json!(null),
        Err((
            400,
            10064,
            "New version of script does not export class 'A' which is depended on by existing Durable Objects. Did you \
         forget to include it? If you renamed it, try a rename-class migration. If you want to delete all the Durable \
         Objects implemented by the class, you can use a delete-class migration",
        )),
    );
    // Deleting.
    check(
        &["A", "B"],
        json!([object("A", "A")]),
        json!({"deleted_classes": ["A"]}),
        Err((400, 10061, STILL_BOUND)),
    );
    check(
        &["A", "B"],
        json!([object("A", "B")]),
        json!({"deleted_classes": ["A"]}),
        Err((400, 10061, STILL_BOUND)),
    );
    check(
        &["A", "B"],
        json!([{"name": "A", "type": "inherit"}]),
        json!({"deleted_classes": ["A"]}),
        Err((400, 10061, STILL_BOUND)),
    );
    check(
        &["A", "B"],
        json!([foreign("F", "A", "c")]),
        json!({"deleted_classes": ["A"]}),
        Err((400, 10061, STILL_BOUND)),
    );
    check(
        &["A"],
        json!([]),
        json!({"deleted_classes": ["B"]}),
        Err((
            400,
            10061,
            "Cannot apply --delete-class migration to class 'B' without also removing the binding that references it.",
        )),
    );
    check(
        &["A", "B"],
        json!([]),
        json!({"deleted_classes": ["C"]}),
        Err((
            400,
            10074,
            "Cannot apply delete-class migration to class 'C' which was not exported in the previous version of the script",
        )),
    );
    // Two roles.
    for steps in [
        json!({"deleted_classes": ["A"], "new_sqlite_classes": ["A"]}),
        json!({"steps": [{"deleted_classes": ["A"]}, {"renamed_classes": [{"from": "B", "to": "A"}]}]}),
        json!({"renamed_classes": [{"from": "B", "to": "A"}, {"from": "A", "to": "B"}]}),
        json!({"renamed_classes": [{"from": "A", "to": "C"}], "deleted_classes": ["A"]}),
    ] {
        check(
            &["A", "B", "C"],
            json!([]),
            steps,
            Err((
                400,
                10074,
                "class 'A' cannot be the target of more than one migration",
            )),
        );
    }
    // Renaming.
    check(
        &["A", "B"],
        json!([]),
        json!({"renamed_classes": [{"from": "C", "to": "D"}]}),
        Err((
            400,
            10074,
            "Cannot apply rename-class migration to class 'C' which was not exported in the previous version of the script",
        )),
    );
    check(
        &["A", "B"],
        json!([]),
        json!({"renamed_classes": [{"from": "A", "to": "D"}]}),
        Err((
            400,
            10070,
            "Cannot apply rename-class migration to class 'D' that is not exported by script",
        )),
    );
    // Sources are judged by the deployed version, not by earlier steps.
    check(
        &["A", "B", "D"],
        json!([]),
        json!({"steps": [{"new_sqlite_classes": ["C"]}, {"renamed_classes": [{"from": "C", "to": "D"}]}]}),
        Err((
            400,
            10074,
            "Cannot apply rename-class migration to class 'C' which was not exported in the previous version of the script",
        )),
    );
    // Binding.
    check(
        &["A", "B", "C"],
        json!([object("C", "C")]),
        json!(null),
        Err((
            400,
            10061,
            "Cannot create binding for class 'C' because it is not currently configured to implement Durable Objects. \
         Configure a migration in your configuration to add this class.",
        )),
    );
    check(
        &["A", "B"],
        json!([foreign("F", "Q", "c")]),
        json!(null),
        Err((
            400,
            10061,
            "Cannot create binding for class 'Q' that is not exported by script 'c'.",
        )),
    );
    check(
        &["A", "B"],
        json!([foreign("F", "Q", "nobody")]),
        json!(null),
        Err((
            400,
            10061,
            "Cannot create binding for class in script 'nobody' that does not exist.",
        )),
    );
    check(
        &["A", "B"],
        json!([object("F", "A"), object("F", "B")]),
        json!(null),
        Err((
            400,
            10053,
            "Binding name 'F' already in use. Please use a different name and try again.",
        )),
    );
}

#[test]
fn a_renamed_class_leaves_its_server_name_behind_unless_names_follow() {
    let steps = json!({"renamed_classes": [{"from": "A", "to": "Z"}], "new_sqlite_classes": ["A"]});
    let held = "Durable Object namespace name 'w_A' already in use. Please use a different name and try again.";
    check(
        &["A", "B", "Z"],
        json!([]),
        steps.clone(),
        Err((400, 10065, held)),
    );
    let mut account = base();
    account.names = NamespaceNames::Follow;
    check_in(
        &mut account,
        &["A", "B", "Z"],
        json!([]),
        steps,
        Ok("w_A=A w_B=B w_Z=Z"),
    );
}

#[test]
fn the_migration_tag_is_a_lock() {
    let mismatch = |got: &str| {
        format!(
            "Actor migration tag precondition failed, got tag '{got}' when expected tag is 'v1'. Please make sure the tags \
         match and try again."
        )
    };
    for (migrations, expected) in [
        (json!(null), Ok("v1")),
        (json!({}), Err(mismatch(""))),
        (json!({"new_sqlite_classes": []}), Err(mismatch(""))),
        (json!({"old_tag": "x", "new_tag": "v2"}), Err(mismatch("x"))),
        (json!({"old_tag": "v1", "new_tag": "v1"}), Ok("v1")),
        (json!({"old_tag": "v1", "new_tag": "v2"}), Ok("v2")),
        // The lock is checked before the classes.
        (
            json!({"old_tag": "x", "new_tag": "v2", "new_sqlite_classes": ["A"]}),
            Err(mismatch("x")),
        ),
    ] {
        let mut account = base();
        let result = upload(
            &mut account,
            "w",
            &["A", "B"],
            json!({"migrations": migrations}),
        );
        match expected {
            Ok(tag) => {
                result.expect("the upload passes");
                assert_eq!(account.scripts["w"].migration_tag.as_deref(), Some(tag));
            }
            Err(text) => {
                let failure = result.expect_err("the upload is refused");
                assert_eq!((failure.status, failure.errors[0].code), (412, 10079));
                assert_eq!(failure.errors[0].message, text);
            }
        }
    }
}

#[test]
fn migrations_as_a_list_are_refused() {
    let mut account = base();
    let failure = upload(
        &mut account,
        "w",
        &["A", "B"],
        json!({"migrations": [{"tag": "v1"}]}),
    )
    .expect_err("a list is not an object");
    assert_eq!(failure.errors[0].code, 10021);
    assert!(
        failure.errors[0]
            .message
            .contains("cannot unmarshal array into"),
        "{failure}"
    );
}

#[test]
fn key_value_classes_need_the_right_plan() {
    for (plan, code) in [
        (Plan::Paid, None),
        (Plan::Free, Some(10097)),
        (Plan::PaidWithoutKv, Some(10099)),
    ] {
        let mut account = base();
        account.plan = plan;
        let steps = json!({"old_tag": "v1", "new_tag": "v2", "new_classes": ["K"]});
        let result = upload(
            &mut account,
            "w",
            &["A", "B", "K"],
            json!({"migrations": steps}),
        );
        assert_eq!(result.err().map(|failure| failure.errors[0].code), code);
    }
}

#[test]
fn a_transfer_moves_the_namespace_with_its_id() {
    let mut account = base();
    let id = account
        .namespace("w", "B")
        .expect("it is in the base")
        .id
        .clone();
    let steps = json!({"new_tag": "t1", "transferred_classes": [{"from": "B", "from_script": "w", "to": "Room"}]});
    upload(
        &mut account,
        "n",
        &["Room"],
        json!({"migrations": steps, "bindings": [object("R", "Room")]}),
    )
    .expect("the transfer passes");
    assert_eq!(
        account.namespace("n", "Room").map(|ns| ns.id.clone()),
        Some(id.clone())
    );
    assert!(account.namespace("w", "B").is_none());
    let shown = account.scripts["c"].bindings[0].shown(&account, "c");
    assert_eq!(
        shown["namespace_id"],
        json!(id),
        "other Workers' bindings keep working"
    );
    upload(&mut account, "w", &["A"], json!({}))
        .expect("the source drops the class without a migration");
}

#[test]
fn only_what_is_asked_for_survives_an_upload() {
    let names = |account: &Account| {
        let mut names: Vec<String> = account.scripts["w"]
            .bindings
            .iter()
            .map(|b| b.name.clone())
            .collect();
        names.sort();
        names.join(" ")
    };
    let vars = json!([{"name": "P", "type": "plain_text", "text": "p"}, {"name": "J", "type": "json", "json": [1]}]);
    for (metadata, expected) in [
        (json!({}), ""),
        (json!({"keep_bindings": ["secret_text"]}), "S"),
        (json!({"keep_bindings": ["plain_text"]}), "P"),
        (json!({"bindings": [{"name": "J", "type": "inherit"}]}), "J"),
        (
            json!({"bindings": [{"name": "N", "type": "inherit", "old_name": "P"}]}),
            "N",
        ),
        (
            json!({"bindings": [{"name": "gone", "type": "inherit"}]}),
            "",
        ),
        (
            json!({"bindings": [{"name": "S", "type": "plain_text", "text": "now public"}]}),
            "S",
        ),
    ] {
        let mut account = base();
        upload(
            &mut account,
            "w",
            &["A", "B"],
            json!({"bindings": vars, "keep_bindings": ["secret_text"]}),
        )
        .expect("variables pass");
        assert_eq!(names(&account), "J P S");
        upload(&mut account, "w", &["A", "B"], metadata).expect("the upload passes");
        assert_eq!(names(&account), expected);
    }
    let mut account = base();
    let missing = json!({"strict": true, "bindings": [{"name": "x", "type": "inherit"}, {"name": "y", "type": "inherit"}]});
    let failure =
        upload(&mut account, "w", &["A", "B"], missing).expect_err("strict inheritance fails");
    assert_eq!(
        failure.errors.iter().map(|e| e.code).collect::<Vec<_>>(),
        [10057, 10057]
    );
}

#[test]
fn omitted_settings_are_reset_and_limits_of_tags_hold() {
    let mut account = base();
    let full = json!({"tags": ["a=b; ü"], "logpush": true, "observability": {"enabled": true}, "compatibility_date": "2026-01-01"});
    upload(&mut account, "w", &["A", "B"], full).expect("settings pass");
    assert!(account.scripts["w"].settings.logpush);
    upload(&mut account, "w", &["A", "B"], json!({})).expect("an upload without settings passes");
    assert_eq!(account.scripts["w"].settings, Settings::default());
    for (tags, status, text) in [
        (
            vec!["t".to_owned(); 11],
            403,
            "You have exceeded the limit of 10 tags per Worker. Remove a tag to add another.",
        ),
        (vec!["t".repeat(1025)], 400, "Tag is too large"),
        (vec!["a,b".into()], 400, "Tag contains an invalid character"),
    ] {
        let failure = upload(&mut account, "w", &["A", "B"], json!({"tags": tags}))
            .expect_err("tags are refused");
        assert_eq!(
            (failure.status, failure.errors[0].message.as_str()),
            (status, text)
        );
    }
}

#[test]
fn names_and_dates_are_checked() {
    let mut account = base();
    for name in ["Upper", "a.b", "", "-a"] {
        let failure = upload(&mut account, name, &[], json!({})).expect_err("the name is refused");
        assert_eq!(failure.errors[0].code, 10016, "{name}");
    }
    let failure = upload(
        &mut account,
        "w",
        &["A", "B"],
        json!({"compatibility_date": "soon"}),
    );
    assert_eq!(
        failure.expect_err("the date is refused").errors[0].code,
        10021
    );
}

#[test]
fn a_worker_that_others_bind_is_deleted_only_by_force() {
    let mut account = base();
    let service = json!({"bindings": [{"name": "W", "type": "service", "service": "w"}]});
    upload(&mut account, "d", &[], service).expect("the service binding passes");
    let failure = account
        .delete_worker("w", false)
        .expect_err("it is still bound");
    assert_eq!(
        (failure.errors[0].code, failure.errors[0].message.as_str()),
        (
            10142,
            "Cannot delete service 'w' because it is still referenced by service bindings in Workers 'd'. Please remove \
         bindings pointing to it and try again."
        )
    );
    account
        .delete_worker("d", false)
        .expect("nothing binds the client");
    assert_eq!(
        account
            .delete_worker("w", false)
            .expect_err("its class is bound")
            .errors[0]
            .code,
        10061
    );
    account.delete_worker("w", true).expect("force deletes it");
    assert!(account.namespaces.is_empty());
}

#[test]
fn a_renamed_worker_keeps_its_namespaces_and_blocks_their_old_names() {
    let mut account = base();
    let ids: Vec<String> = account.namespaces.iter().map(|ns| ns.id.clone()).collect();
    account.rename_worker("w", "v").expect("the name is free");
    assert_eq!(
        account
            .namespaces
            .iter()
            .map(|ns| ns.id.clone())
            .collect::<Vec<_>>(),
        ids
    );
    assert!(account.namespaces.iter().all(|ns| ns.script == "v"));
    let again = json!({"migrations": {"new_sqlite_classes": ["A"]}});
    let failure = upload(&mut account, "w", &["A"], again).expect_err("the name is held");
    assert_eq!(failure.errors[0].code, 10065);
}
