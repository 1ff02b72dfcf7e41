//! A namespace on its way to another Worker.

use serde_json::{Value, json};

use super::*;

#[test]
fn a_transfer_takes_two_deploys_and_keeps_the_namespace() {
    let mut account = base();
    let namespace = id(&account, "w", "A");
    deploy(&mut account, "t", "A", json!({"A": expecting("w")}), "A<=w");
    assert_eq!(
        account.scripts["t"].exports.shown(),
        Some(json!({"A": expecting("w")}))
    );
    // Not yet the target's.
    let early = json!({"exports": {"A": expecting("w")}, "bindings": [bound("A", "A", None)]});
    let failure = upload(&mut account, "t", "A", early).expect_err("it has no namespace");
    assert_eq!(failure.errors[0].code, 10061);
    deploy(
        &mut account,
        "w",
        "B",
        json!({"A": transferred("t"), "B": live()}),
        "A=>t",
    );
    assert_eq!(id(&account, "t", "A"), namespace);
    assert!(account.namespace("w", "A").is_none());
    deploy(
        &mut account,
        "t",
        "A",
        json!({"A": expecting("w")}),
        "transfer_receive_already_applied:A",
    );
    deploy(
        &mut account,
        "t",
        "A",
        json!({"A": expecting("k")}),
        "!phase_one_transfer_after_commit_mismatch:A",
    );
    let last = json!({"exports": {"A": live()}, "bindings": [bound("A", "A", None)]});
    deploy_with(
        &mut account,
        "t",
        "A",
        last,
        "transfer_receive_cleanup_complete:A",
    );
    deploy(&mut account, "t", "A", json!({"A": live()}), "");
    deploy(
        &mut account,
        "w",
        "B",
        json!({"A": transferred("t"), "B": live()}),
        "stale_tombstone:A rm:A",
    );
}

#[test]
fn other_workers_follow_a_transfer_and_hold_its_tombstone() {
    let mut account = base();
    let namespace = id(&account, "w", "B");
    deploy(&mut account, "t", "B", json!({"B": expecting("w")}), "B<=w");
    let gives = json!({"A": live(), "B": transferred("t")});
    deploy(
        &mut account,
        "w",
        "A B",
        gives.clone(),
        "B=>t tombstone_class_still_in_code:B",
    );
    let shown = account.scripts["c"].bindings[0].shown(&account, "c");
    assert_eq!(shown["namespace_id"], json!(namespace));
    deploy(&mut account, "w", "A", gives, "stale_tombstone:B(c)");
}

#[test]
fn a_transfer_is_expected_only_of_what_is_there_and_not_expected_yet() {
    let mut account = base();
    let refused = |account: &mut Account, classes: &str, exports: Value, says: &str| {
        deploy(account, "t", classes, exports, says);
    };
    refused(
        &mut account,
        "A",
        json!({"A": expecting("nobody")}),
        "!phase_one_transfer_source_missing:A",
    );
    refused(
        &mut account,
        "A",
        json!({"A": expecting("c")}),
        "!phase_one_transfer_source_namespace_missing:A",
    );
    refused(
        &mut account,
        "A",
        json!({"A": expecting("t")}),
        "!invalid_export:A",
    );
    refused(
        &mut account,
        "",
        json!({"A": expecting("w")}),
        "!config_references_nonexistent_class:A",
    );
    refused(
        &mut account,
        "K",
        json!({"K": expecting("k")}),
        "!storage_type_mismatch:K",
    );
    deploy(&mut account, "u", "A", json!({"A": expecting("w")}), "A<=w");
    refused(
        &mut account,
        "A",
        json!({"A": expecting("w")}),
        "!phase_one_transfer_duplicate:A",
    );
    // The other one takes it back.
    deploy(&mut account, "u", "A", json!({}), "no report");
    deploy(&mut account, "t", "A", json!({"A": expecting("w")}), "A<=w");
    deploy(&mut account, "t", "A", json!({"A": live()}), "+A");
    refused(
        &mut account,
        "A",
        json!({"A": expecting("w")}),
        "!phase_one_transfer_target_class_provisioned:A",
    );
}

#[test]
fn a_namespace_is_given_only_to_the_worker_that_expects_it() {
    let mut account = base();
    let gives = |to| json!({"A": transferred(to), "B": live()});
    deploy(
        &mut account,
        "w",
        "B",
        gives("nobody"),
        "!transferred_target_missing:A",
    );
    deploy(
        &mut account,
        "w",
        "B",
        gives("c"),
        "!transferred_pending_not_found:A",
    );
    deploy(&mut account, "t", "A", json!({"A": expecting("w")}), "A<=w");
    deploy(
        &mut account,
        "w",
        "B",
        gives("c"),
        "!transferred_target_mismatch:A",
    );
    // The target takes it back.
    deploy(&mut account, "t", "A", json!({}), "no report");
    deploy(
        &mut account,
        "w",
        "B",
        gives("t"),
        "!transferred_pending_not_found:A",
    );
}

#[test]
fn a_worker_that_declares_its_classes_gives_none_to_a_migration() {
    let mut account = base();
    let takes = json!({"migrations": {"transferred_classes": [{"from": "A", "from_script": "w", "to": "A"}]}});
    let failure = upload(&mut account, "t", "A", takes).expect_err("nobody knows what happens");
    assert_eq!(failure.errors[0].code, 10074);
}

#[test]
fn what_a_restart_reads_back_is_what_was_kept() {
    let mut account = base();
    deploy(&mut account, "t", "A", json!({"A": expecting("w")}), "A<=w");
    let text = serde_json::to_string(&account).expect("an account can be written");
    let mut account: Account = serde_json::from_str(&text).expect("and read");
    deploy(
        &mut account,
        "w",
        "B",
        json!({"A": transferred("t"), "B": live()}),
        "A=>t",
    );
}
