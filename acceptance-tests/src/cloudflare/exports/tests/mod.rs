//! The rules of declared classes, case by case: a history of deploys that pass, then one deploy and what it says.

mod transfers;
mod versions;

use serde_json::{Value, json};

use super::*;
use crate::cloudflare::account::{NamespaceNames, Plan};
use crate::cloudflare::runtime::ModuleFile;
use crate::cloudflare::script::{Code, Entry as Part, Syntax};
use crate::cloudflare::upload::{Metadata, Unmentioned, Upload, apply_upload};

/// A request with code that exports `classes`, in one text.
fn request(script: &str, classes: &str, metadata: Value) -> Result<Upload, ApiFailure> {
    let module = ModuleFile {
        name: "worker.js".into(),
        content_type: "application/javascript+module".into(),
        body: classes.to_owned().into_bytes().into(),
    };
    let exports = Exports {
        classes: classes.split_whitespace().map(str::to_owned).collect(),
        ..Exports::default()
    };
    let entry = Part {
        part: "worker.js".into(),
        syntax: Syntax::Modules,
    };
    Ok(Upload {
        script: script.into(),
        metadata: Metadata::parse(&metadata)?,
        code: Some(Code::new(entry, vec![module], exports, 1)),
        unmentioned: Unmentioned::Reset,
        strict: false,
        source: "api".into(),
    })
}

/// Uploads code that exports `classes`, in one text.
fn upload(
    account: &mut Account,
    script: &str,
    classes: &str,
    metadata: Value,
) -> Result<(), ApiFailure> {
    apply_upload(account, request(script, classes, metadata)?, "now")
}

fn live() -> Value {
    json!({"type": "durable-object", "storage": "sqlite"})
}

fn kv() -> Value {
    json!({"type": "durable-object", "storage": "legacy-kv"})
}

fn deleted() -> Value {
    json!({"type": "durable-object", "state": "deleted"})
}

fn renamed(to: &str) -> Value {
    json!({"type": "durable-object", "state": "renamed", "renamed_to": to})
}

fn transferred(to: &str) -> Value {
    json!({"type": "durable-object", "state": "transferred", "transferred_to": to})
}

fn expecting(from: &str) -> Value {
    json!({"type": "durable-object", "state": "expecting-transfer", "storage": "sqlite", "transfer_from": from})
}

fn bound(name: &str, class: &str, script: Option<&str>) -> Value {
    let mut binding =
        json!({"name": name, "type": "durable_object_namespace", "class_name": class});
    if let Some(script) = script {
        binding["script_name"] = json!(script);
    }
    binding
}

/// Worker `w` declares A (bound) and B; Worker `c` binds `w`'s B and declares nothing; Worker `k` has a key-value
/// backed class K, by a migration.
fn base() -> Account {
    let mut account = Account::new("account", "seed");
    let declared = json!({
        "exports": {"A": live(), "B": live()},
        "bindings": [bound("A", "A", None)],
    });
    upload(&mut account, "w", "A B", declared).expect("the first deploy passes");
    let client = json!({"bindings": [bound("X", "B", Some("w"))]});
    upload(&mut account, "c", "", client).expect("the client's upload passes");
    let migrated = json!({"migrations": {"new_tag": "v1", "new_classes": ["K"]}});
    upload(&mut account, "k", "K", migrated).expect("the migration passes");
    account
}

/// A report or a refusal in one line: `+`created `~`updated `-`deleted from>to class=>to class<=from scenario:class
/// (Workers) rm:class.
fn told(account: &Account, script: &str, result: Result<(), ApiFailure>) -> String {
    let finding = |finding: &Finding| {
        let scenario = json!(finding.scenario);
        let scenario = scenario.as_str().expect("a scenario is a name");
        match finding.referencing_scripts.join(",") {
            none if none.is_empty() => format!("{scenario}:{}", finding.class),
            scripts => format!("{scenario}:{}({scripts})", finding.class),
        }
    };
    if let Err(failure) = result {
        let [error] = &failure.errors[..] else {
            panic!("one error is expected: {failure}");
        };
        if error.code != 100_402 {
            return format!("{} {}", error.code, error.message);
        }
        let meta = error.meta.clone().expect("the details are there");
        let details: Vec<Finding> =
            serde_json::from_value(meta["details"].clone()).expect("details are findings");
        let lines: Vec<String> = details.iter().map(|d| format!("!{}", finding(d))).collect();
        return lines.join(" ");
    }
    let Some(report) = account.scripts[script].exports.report() else {
        return "no report".into();
    };
    let mut parts = Vec::new();
    parts.extend(report.created.iter().map(|c| format!("+{c}")));
    parts.extend(report.updated.iter().map(|c| format!("~{c}")));
    parts.extend(report.deleted.iter().map(|c| format!("-{c}")));
    parts.extend(
        report
            .renamed
            .iter()
            .map(|r| format!("{}>{}", r.from, r.to)),
    );
    parts.extend(
        report
            .transferred
            .iter()
            .map(|t| format!("{}=>{}", t.class, t.to)),
    );
    parts.extend(
        report
            .transfer_pending
            .iter()
            .map(|p| format!("{}<={}", p.class, p.from)),
    );
    parts.extend(report.info.iter().map(finding));
    parts.extend(report.removable_entries.iter().map(|c| format!("rm:{c}")));
    parts.join(" ")
}

/// Deploys to a Worker without bindings. A refusal must change nothing.
#[track_caller]
fn deploy(account: &mut Account, script: &str, classes: &str, exports: Value, expected: &str) {
    deploy_with(
        account,
        script,
        classes,
        json!({ "exports": exports }),
        expected,
    );
}

#[track_caller]
fn deploy_with(
    account: &mut Account,
    script: &str,
    classes: &str,
    metadata: Value,
    expected: &str,
) {
    let before = format!("{account:?}");
    let result = upload(account, script, classes, metadata);
    let refused = result.is_err();
    assert_eq!(told(account, script, result), expected);
    assert!(
        !refused || format!("{account:?}") == before,
        "a refused deploy changes nothing"
    );
}

/// One deploy to `w` of the base account.
#[track_caller]
fn check(classes: &str, exports: Value, expected: &str) {
    deploy(&mut base(), "w", classes, exports, expected);
}

fn id(account: &Account, script: &str, class: &str) -> String {
    let namespace = account.namespace(script, class);
    namespace.expect("the namespace is there").id.clone()
}

#[test]
fn each_row_of_the_table_has_its_outcome() {
    // A live entry.
    check(
        "A B C",
        json!({"A": live(), "B": live(), "C": live()}),
        "+C",
    );
    check("A B", json!({"A": live(), "B": live()}), "");
    check(
        "A B",
        json!({"A": kv(), "B": live()}),
        "!storage_type_mismatch:A",
    );
    check(
        "B",
        json!({"A": live(), "B": live()}),
        "!config_export_not_in_code:A",
    );
    check(
        "A B",
        json!({"A": live(), "B": live(), "C": live()}),
        "!config_references_nonexistent_class:C",
    );
    check(
        "A B C",
        json!({"A": live(), "B": live(), "C": kv()}),
        "!invalid_export:C",
    );
    // No entry.
    check(
        "A B C",
        json!({"A": live(), "B": live()}),
        "code_class_not_in_exports:C",
    );
    check(
        "A B",
        json!({"A": live()}),
        "!provisioned_class_missing_from_config:B",
    );
    check(
        "A",
        json!({"A": live()}),
        "!orphaned_provisioned_namespace:B",
    );
    // A tombstone that deletes.
    check("B", json!({"A": deleted(), "B": live()}), "-A");
    check(
        "A B",
        json!({"A": deleted(), "B": live()}),
        "!tombstone_delete_class_still_in_code:A",
    );
    check(
        "A",
        json!({"A": live(), "B": deleted()}),
        "!tombstone_delete_blocked_by_external_bindings:B(c)",
    );
    check(
        "A B",
        json!({"A": live(), "B": live(), "C": deleted()}),
        "stale_tombstone:C rm:C",
    );
    // A tombstone that renames.
    check(
        "B Z",
        json!({"A": renamed("Z"), "Z": live(), "B": live()}),
        "A>Z",
    );
    check(
        "A B Z",
        json!({"A": renamed("Z"), "Z": live(), "B": live()}),
        "A>Z tombstone_class_still_in_code:A",
    );
    check(
        "B",
        json!({"A": renamed("B"), "B": live()}),
        "!tombstone_renamed_to_occupied:A",
    );
    check(
        "A B",
        json!({"A": live(), "B": live(), "C": renamed("B")}),
        "stale_tombstone:C rm:C",
    );
    // A tombstone that gives away.
    check(
        "B",
        json!({"A": transferred("c"), "B": live()}),
        "!transferred_pending_not_found:A",
    );
}

#[test]
fn entries_that_contradict_themselves_are_told_together_with_all_the_rest() {
    for entry in [
        json!({"type": "durable-object"}),
        json!({"storage": "sqlite"}),
        json!({"type": "class", "storage": "sqlite"}),
        json!({"type": "durable-object", "storage": "memory"}),
        json!({"type": "durable-object", "storage": "sqlite", "state": "asleep"}),
        json!({"type": "durable-object", "storage": "sqlite", "renamed_to": "B"}),
        json!({"type": "durable-object", "storage": "sqlite", "transfer_from": "k"}),
        json!({"type": "durable-object", "storage": "sqlite", "state": "expecting-transfer"}),
        json!({"type": "durable-object", "storage": "sqlite", "state": "deleted"}),
        json!({"type": "durable-object", "state": "renamed"}),
        json!({"type": "durable-object", "state": "renamed", "renamed_to": "B", "storage": "sqlite"}),
        json!({"type": "durable-object", "state": "transferred"}),
        renamed("A"),
        renamed("no name"),
        renamed("Nobody"),
        transferred("w"),
    ] {
        check("A B", json!({"A": entry, "B": live()}), "!invalid_export:A");
    }
    check(
        "A C",
        json!({"A": {"type": "durable-object"}, "C": kv(), "D": live()}),
        "!invalid_export:A !orphaned_provisioned_namespace:B !invalid_export:C !config_references_nonexistent_class:D",
    );
    // The target of a rename is a live class of the same map, and gets one namespace.
    check(
        "C B",
        json!({"A": renamed("C"), "C": deleted(), "B": live()}),
        "!invalid_export:A",
    );
    let mut account = base();
    upload(&mut account, "c", "", json!({})).expect("the client lets go");
    let both = json!({"A": renamed("C"), "B": renamed("C"), "C": live()});
    deploy(&mut account, "w", "C", both, "!invalid_export:B");
    // A swap.
    check(
        "A B",
        json!({"A": renamed("B"), "B": renamed("A")}),
        "!tombstone_renamed_to_occupied:A !tombstone_renamed_to_occupied:B",
    );
}

#[test]
fn wrong_json_types_are_refused_at_once() {
    for (exports, says) in [
        (
            json!([]),
            "array into Go struct field ScriptMetadata.exports of",
        ),
        (
            json!({"A": "live"}),
            "string into Go struct field ScriptMetadata.exports.A of",
        ),
        (
            json!({"A": {"type": 1}}),
            "number into Go struct field ScriptMetadata.exports.A.type of",
        ),
        (
            json!({"A": {"type": "worker", "cache": true}}),
            "bool into Go struct field ScriptMetadata.exports.A.cache of",
        ),
    ] {
        let failure = upload(&mut base(), "w", "A B", json!({ "exports": exports }))
            .expect_err("the type is wrong");
        assert_eq!((failure.status, failure.errors[0].code), (400, 10021));
        assert!(failure.errors[0].message.contains(says), "{failure}");
    }
}

#[test]
fn a_refusal_says_everything_to_people_and_to_programs() {
    let mut account = base();
    let namespace = id(&account, "w", "B");
    let failure = upload(&mut account, "w", "A B", json!({"exports": {"A": kv()}}))
        .expect_err("two classes are wrong");
    let error = &failure.errors[0];
    let mut lines = error.message.lines();
    assert_eq!(
        lines.next(),
        Some("Durable Object exports reconciliation failed:")
    );
    assert!(lines.next().is_some_and(|line| {
        line.starts_with(" - [storage_type_mismatch] class 'A': class 'A' declares")
    }));
    assert_eq!(
        lines.next().map(str::to_owned),
        Some(format!(
            " - [provisioned_class_missing_from_config] class 'B': class 'B' has a provisioned Durable Object namespace \
             ({namespace}) but is not declared in `exports`. Every provisioned class must be declared in `exports` (live \
             or tombstone); silent drift is not permitted. (add 'B' back to `exports` as {{\"type\": \"durable-object\", \
             \"storage\": \"sqlite\"}} (or \"legacy-kv\"), or replace the entry with a `deleted` / `renamed` / \
             `transferred` tombstone)"
        ))
    );
    let answer = failure.envelope();
    let details = &answer["errors"][0]["meta"]["details"];
    assert_eq!(details[0]["scenario"], "storage_type_mismatch");
    assert_eq!(details[1]["class"], "B");
    assert_eq!(details[1]["namespace_id"], json!(namespace));
    assert!(details[1]["suggestion"].is_string());
    assert!(details[1].get("referencing_scripts").is_none());
}

#[test]
fn key_value_storage_is_kept_but_never_created() {
    let mut account = base();
    let namespace = id(&account, "k", "K");
    deploy(
        &mut account,
        "k",
        "K",
        json!({"K": live()}),
        "!storage_type_mismatch:K",
    );
    deploy(&mut account, "k", "K", json!({"K": kv()}), "");
    assert_eq!(id(&account, "k", "K"), namespace, "no data moves");
    for (plan, says) in [
        (Plan::Free, "!free_tier_requires_sqlite:L"),
        (Plan::PaidWithoutKv, "!invalid_export:L"),
    ] {
        account.plan = plan;
        deploy(
            &mut account,
            "k",
            "K L",
            json!({"K": kv(), "L": kv()}),
            says,
        );
    }
}

#[test]
fn there_is_no_way_back_to_migrations() {
    let mut account = base();
    let refused = "100403 This Worker was last deployed using the declarative `exports` flow; reverting to `migrations` \
                   is not supported.";
    deploy_with(&mut account, "w", "A B", json!({"migrations": {}}), refused);
    // Nothing declared is an empty map.
    deploy_with(
        &mut account,
        "w",
        "A B",
        json!({}),
        "!provisioned_class_missing_from_config:A !provisioned_class_missing_from_config:B",
    );
    let both = json!({"migrations": {}, "exports": {"A": live()}});
    let failure = upload(&mut account, "k", "K", both).expect_err("it is one or the other");
    assert_eq!((failure.status, failure.errors[0].code), (400, 10021));
    // Also when every class is gone.
    upload(&mut account, "c", "", json!({})).expect("the client lets go");
    deploy(
        &mut account,
        "w",
        "",
        json!({"A": deleted(), "B": deleted()}),
        "-A -B",
    );
    deploy_with(&mut account, "w", "", json!({}), "no report");
    let create = json!({"migrations": {"new_sqlite_classes": ["A"]}});
    deploy_with(&mut account, "w", "A", create, refused);
}

#[test]
fn entrypoints_and_workflows_go_with_both_ways() {
    let mut account = base();
    let others = json!({"Flow": {"type": "workflow"}, "default": {"type": "worker", "cache": {"enabled": true}}});
    let migrated = json!({"exports": others, "migrations": {"old_tag": "v1", "new_tag": "v2", "new_classes": ["L"]}});
    deploy_with(&mut account, "k", "K L", migrated, "no report");
    assert_eq!(account.scripts["k"].exports.shown(), Some(others));
    // They are not counted as classes of the code, and stand for no namespace.
    let mixed = json!({"A": live(), "B": {"type": "worker"}, "Flow": {"type": "workflow"}});
    deploy(
        &mut account,
        "w",
        "A B Flow",
        mixed,
        "!provisioned_class_missing_from_config:B",
    );
}

#[test]
fn only_live_entries_are_read_back() {
    let mut account = base();
    let exports = json!({"A": renamed("Z"), "Z": live(), "B": live(), "C": deleted()});
    deploy(
        &mut account,
        "w",
        "B Z",
        exports,
        "A>Z stale_tombstone:C rm:C",
    );
    let shown = account.scripts["w"].exports.shown();
    assert_eq!(shown, Some(json!({"Z": live(), "B": live()})));
}

#[test]
fn a_rename_keeps_the_namespace_and_its_tombstone_stays_while_others_use_the_old_name() {
    let mut account = base();
    let namespace = id(&account, "w", "B");
    let exports = json!({"A": live(), "B": renamed("Z"), "Z": live()});
    deploy(&mut account, "w", "A Z", exports.clone(), "B>Z");
    assert_eq!(id(&account, "w", "Z"), namespace);
    deploy(
        &mut account,
        "w",
        "A Z",
        exports.clone(),
        "stale_tombstone:B(c)",
    );
    let client = json!({"bindings": [bound("X", "Z", Some("w"))]});
    upload(&mut account, "c", "", client).expect("the client follows");
    deploy(&mut account, "w", "A Z", exports, "stale_tombstone:B rm:B");
    deploy(
        &mut account,
        "w",
        "A Z",
        json!({"A": live(), "Z": live()}),
        "",
    );
}

#[test]
fn a_rename_keeps_the_storage_and_needs_the_code() {
    check(
        "B Z",
        json!({"A": renamed("Z"), "Z": kv(), "B": live()}),
        "!storage_type_mismatch:Z",
    );
    check(
        "B",
        json!({"A": renamed("Z"), "Z": live(), "B": live()}),
        "!config_references_nonexistent_class:Z",
    );
    check(
        "B Z",
        json!({"A": renamed("Z"), "Z": expecting("k"), "B": live()}),
        "!invalid_export:Z",
    );
}

#[test]
fn a_name_that_another_namespace_holds_refuses_the_deploy() {
    let mut account = base();
    let renames = json!({"A": renamed("Z"), "Z": live(), "B": live()});
    deploy(&mut account, "w", "B Z", renames, "A>Z");
    let again = json!({"A": live(), "Z": live(), "B": live()});
    let held = "10065 Durable Object namespace name 'w_A' already in use. Please use a different name and try again.";
    deploy(&mut account, "w", "A B Z", again.clone(), held);
    let mut account = base();
    account.names = NamespaceNames::Follow;
    let renames = json!({"A": renamed("Z"), "Z": live(), "B": live()});
    deploy(&mut account, "w", "B Z", renames, "A>Z");
    deploy(&mut account, "w", "A B Z", again, "+A");
}

#[test]
fn bindings_obey_the_same_rules_as_with_migrations() {
    let mut account = base();
    let unknown = "10061 Cannot create binding for class 'C' because it is not currently configured to implement Durable \
                   Objects. Configure a migration in your configuration to add this class.";
    let binding = |class| json!([bound("A", class, None)]);
    let undeclared = json!({"exports": {"A": live(), "B": live()}, "bindings": binding("C")});
    deploy_with(&mut account, "w", "A B C", undeclared, unknown);
    let renames =
        json!({"exports": {"A": renamed("C"), "C": live(), "B": live()}, "bindings": binding("C")});
    deploy_with(&mut account, "w", "B C", renames, "A>C");
    // A kept name that reached the class that goes.
    let deletes = json!({"exports": {"C": deleted(), "B": live()}, "bindings": binding("B")});
    let still_bound = "10061 Cannot apply --delete-class migration to class 'C' without also removing the binding that \
                       references it.";
    deploy_with(&mut account, "w", "B", deletes, still_bound);
    deploy(
        &mut account,
        "w",
        "B",
        json!({"C": deleted(), "B": live()}),
        "-C",
    );
}

#[test]
fn settings_change_the_map_and_leave_it_alone_when_they_do_not_mention_it() {
    let mut account = base();
    let patch = |account: &mut Account, metadata: Value| {
        let mut upload = request("w", "", metadata)?;
        upload.code = None;
        upload.unmentioned = Unmentioned::Stay;
        apply_upload(account, upload, "now")
    };
    patch(&mut account, json!({"tags": ["t"]})).expect("nothing is said of classes");
    assert_eq!(
        account.scripts["w"].exports.shown(),
        Some(json!({"A": live(), "B": live()}))
    );
    let result = patch(&mut account, json!({"exports": {"A": live()}}));
    assert_eq!(
        told(&account, "w", result),
        "!provisioned_class_missing_from_config:B"
    );
    let result = patch(
        &mut account,
        json!({"exports": {"A": live(), "B": live(), "C": deleted()}}),
    );
    assert_eq!(told(&account, "w", result), "stale_tombstone:C rm:C");
    let result = patch(&mut account, json!({"migrations": {}}));
    assert!(told(&account, "w", result).starts_with("100403 "));
}

#[test]
fn containers_and_classes_refer_to_each_other() {
    let with = |container: &str| {
        let mut entry = live();
        entry["container"] = json!(container);
        entry
    };
    let case = |exports: Value, containers: Value, says: &str| {
        let metadata = json!({"exports": exports, "containers": containers});
        deploy_with(&mut base(), "w", "A B", metadata, says);
    };
    let one = json!([{"name": "box", "class_name": "A"}]);
    case(json!({"A": with("box"), "B": live()}), one.clone(), "~A");
    case(
        json!({"A": with("box"), "B": live()}),
        json!([]),
        "!container_undeclared_reference:A",
    );
    case(
        json!({"A": live(), "B": with("box")}),
        one.clone(),
        "!container_wiring_inconsistent:A !container_wiring_inconsistent:B",
    );
    case(
        json!({"A": with("box"), "B": with("box")}),
        json!([{"name": "box"}]),
        "!container_multiple_durable_objects:A !container_multiple_durable_objects:B",
    );
    case(
        json!({"A": live(), "B": live()}),
        json!([{"name": "box", "class_name": "Plain"}]),
        "!container_class_not_durable_object:Plain",
    );
    // Both sides of a transfer.
    let mut account = base();
    let mut expects = expecting("w");
    expects["container"] = json!("box");
    let target = json!({"exports": {"A": expects}, "containers": one});
    deploy_with(
        &mut account,
        "t",
        "A",
        target.clone(),
        "!transfer_container_parity_mismatch:A",
    );
    let boxed = json!({"exports": {"A": with("box"), "B": live()}, "containers": one});
    deploy_with(&mut account, "w", "A B", boxed, "~A");
    deploy_with(&mut account, "t", "A", target, "A<=w");
    deploy(
        &mut account,
        "w",
        "A B",
        json!({"A": live(), "B": live()}),
        "~A",
    );
    deploy(
        &mut account,
        "w",
        "B",
        json!({"A": transferred("t"), "B": live()}),
        "!transfer_container_parity_mismatch_on_commit:A",
    );
}

#[test]
fn code_alone_is_reconciled_with_what_was_declared_before() {
    let mut account = base();
    let recode = |account: &mut Account, classes: &str| {
        let mut upload = request("w", classes, json!({})).expect("the metadata is right");
        upload.unmentioned = Unmentioned::Stay;
        let result = apply_upload(account, upload, "now");
        told(account, "w", result)
    };
    assert_eq!(recode(&mut account, "A"), "!config_export_not_in_code:B");
    assert_eq!(recode(&mut account, "A B C"), "no report");
    let shown = account.scripts["w"].exports.shown();
    assert_eq!(shown, Some(json!({"A": live(), "B": live()})));
}
