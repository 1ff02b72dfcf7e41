//! Versions that wait, are deployed, and share the traffic.

use serde_json::{Value, json};

use super::*;
use crate::cloudflare::upload::apply_version;
use crate::cloudflare::versions::{Occasion, Rollout, roll_out};

/// Adds a version to `w` without deploying it.
fn stage(account: &mut Account, classes: &str, metadata: Value) -> Result<String, ApiFailure> {
    apply_version(account, request("w", classes, metadata)?, "now")
}

/// Deploys versions of `w` with equal shares.
fn deploy_versions(account: &mut Account, ids: &[&str]) -> String {
    let share = 100 / ids.len();
    let shares: Vec<Value> = ids
        .iter()
        .map(|id| json!({"version_id": id, "percentage": share}))
        .collect();
    let body = json!({"strategy": "percentage", "versions": shares});
    let rollout = Rollout::parse(&body, false).expect("the request is right");
    let occasion = Occasion::new("now", "api", "deployment", Default::default());
    let before = format!("{account:?}");
    let result = roll_out(account, "w", rollout, &occasion).map(|_| ());
    assert!(
        result.is_ok() || format!("{account:?}") == before,
        "a refused deployment changes nothing"
    );
    told(account, "w", result)
}

#[test]
fn a_version_is_reconciled_when_it_is_deployed() {
    let mut account = base();
    let with_c = json!({"exports": {"A": live(), "B": live(), "C": live()}});
    let created = stage(&mut account, "A B C", with_c.clone()).expect("it can wait");
    assert!(account.namespace("w", "C").is_none());
    assert_eq!(
        account.scripts["w"].exports.shown(),
        Some(json!({"A": live(), "B": live()}))
    );
    assert_eq!(deploy_versions(&mut account, &[&created]), "+C");
    assert!(account.namespace("w", "C").is_some());
    assert_eq!(deploy_versions(&mut account, &[&created]), "");
    let without = json!({"exports": {"B": live(), "C": live(), "A": deleted()}});
    let deletes = stage(&mut account, "B C", without).expect("it can wait");
    assert_eq!(deploy_versions(&mut account, &[&deletes]), "-A");
    // There is no way back to a class whose data is gone, but to a new one.
    assert_eq!(deploy_versions(&mut account, &[&created]), "+A");
    let bare = stage(&mut account, "A B C", json!({})).expect("it can wait");
    assert_eq!(
        deploy_versions(&mut account, &[&bare]),
        "!provisioned_class_missing_from_config:A !provisioned_class_missing_from_config:B \
         !provisioned_class_missing_from_config:C"
    );
}

#[test]
fn a_version_that_waits_binds_only_classes_that_have_a_namespace() {
    let mut account = base();
    let exports = json!({"A": live(), "B": live(), "C": live()});
    let with = |bindings: Value| json!({"exports": exports, "bindings": bindings});
    stage(&mut account, "A B C", with(json!([bound("A", "A", None)]))).expect("A has a namespace");
    let failure =
        stage(&mut account, "A B C", with(json!([bound("D", "C", None)]))).expect_err("C has none");
    assert_eq!((failure.status, failure.errors[0].code), (403, 100_406));
    assert!(
        failure.errors[0].message.starts_with(
            "Durable Object binding 'D' references class 'C', which is declared in `exports` but not yet provisioned."
        ),
        "{failure}"
    );
    let code = |result: Result<String, ApiFailure>| result.map_err(|it| it.errors[0].code);
    let faulty = json!({"exports": {"A": {"type": "durable-object"}}});
    assert_eq!(code(stage(&mut account, "A", faulty)), Err(100_402));
    let migrated = json!({"migrations": {"new_sqlite_classes": ["C"]}});
    assert_eq!(code(stage(&mut account, "A B C", migrated)), Err(100_403));
}

#[test]
fn versions_that_share_the_traffic_declare_the_same() {
    let mut account = base();
    let exports = json!({"exports": {"A": live(), "B": live()}});
    let mut stage =
        |metadata: &Value| stage(&mut account, "A B", metadata.clone()).expect("it can wait");
    let (one, other) = (stage(&exports), stage(&exports));
    let different = stage(&json!({"exports": {"A": live(), "B": live(), "C": deleted()}}));
    let refused = "100405 All versions in a multi-version deployment must declare identical `exports`. Deploy the version \
                   that changes `exports` at 100% first, then split traffic.";
    assert_eq!(deploy_versions(&mut account, &[&one, &different]), refused);
    assert_eq!(deploy_versions(&mut account, &[&one, &other]), "");
    assert_eq!(
        deploy_versions(&mut account, &[&different]),
        "stale_tombstone:C rm:C"
    );
    assert_eq!(deploy_versions(&mut account, &[&one, &other]), refused);
    assert_eq!(deploy_versions(&mut account, &[&one]), "");
    assert_eq!(deploy_versions(&mut account, &[&one, &other]), "");
}
