//! The history of a Worker: what a version keeps, and which versions can be served again.

use serde_json::json;

use super::*;
use crate::cloudflare::runtime::ModuleFile;
use crate::cloudflare::script::{Entry, Exports, Syntax};
use crate::cloudflare::upload::{Metadata, Unmentioned, Upload, apply_upload, apply_version};

fn request(classes: &[&str], metadata: Value) -> Upload {
    let module = ModuleFile {
        name: "worker.js".into(),
        content_type: "application/javascript+module".into(),
        body: classes.join(" ").into_bytes().into(),
    };
    let exports = Exports {
        classes: classes.iter().map(|class| (*class).to_owned()).collect(),
        ..Exports::default()
    };
    let entry = Entry {
        part: "worker.js".into(),
        syntax: Syntax::Modules,
    };
    Upload {
        script: "w".into(),
        metadata: Metadata::parse(&metadata).expect("the metadata is well formed"),
        code: Some(Code::new(entry, vec![module], exports, 1)),
        unmentioned: Unmentioned::Reset,
        strict: false,
        source: "api".into(),
    }
}

fn upload(account: &mut Account, classes: &[&str], metadata: Value) {
    apply_upload(account, request(classes, metadata), "now").expect("the upload passes");
}

fn stage(account: &mut Account, classes: &[&str], metadata: Value) -> Result<String, (u16, u32)> {
    apply_version(account, request(classes, metadata), "now").map_err(|failure| code(&failure))
}

fn serve(account: &mut Account, id: &str, force: bool) -> Result<(), (u16, u32)> {
    let rollout = Rollout {
        versions: vec![Share::whole(id)],
        force,
    };
    let occasion = Occasion::new("later", "api", "deployment", Map::new());
    roll_out(account, "w", rollout, &occasion)
        .map(|_| ())
        .map_err(|failure| code(&failure))
}

fn code(failure: &ApiFailure) -> (u16, u32) {
    (failure.status, failure.errors[0].code)
}

/// Worker `w` with class A, a variable and a secret; the id of its only version.
fn base() -> (Account, String) {
    let mut account = Account::new("account", "seed");
    let metadata = json!({
        "bindings": [
            {"name": "V", "type": "plain_text", "text": "one"},
            {"name": "S", "type": "secret_text", "text": "s1"},
        ],
        "migrations": {"new_tag": "v1", "new_sqlite_classes": ["A"]},
        "compatibility_date": "2026-01-01",
        "tags": ["team:x"],
        "annotations": {"workers/tag": "first", "workers/message": "m"},
    });
    upload(&mut account, &["A"], metadata);
    let id = account.scripts["w"].versions[0].id.clone();
    (account, id)
}

fn variable(account: &Account) -> Option<&str> {
    let bindings = &account.scripts["w"].bindings;
    bindings
        .iter()
        .find(|binding| binding.name == "V")?
        .text("text")
}

#[test]
fn an_upload_makes_a_version_and_serves_it() {
    let (account, id) = base();
    let script = &account.scripts["w"];
    assert_eq!(script.deployment_id(), id.replace('-', ""));
    assert_eq!(id.len(), 36);
    let version = &script.versions[0];
    assert_eq!(version.number, 1);
    assert_eq!(version.annotations["workers/tag"], "first");
    assert_eq!(version.annotations["workers/triggered_by"], "upload");
    assert_eq!(version.migration_tag.as_deref(), Some("v1"));
    assert!(
        version.settings.tags.is_empty(),
        "tags belong to the Worker"
    );
    assert_eq!(script.settings.tags, ["team:x"]);
    assert_eq!(script.deployments[0].versions, [Share::whole(&id)]);
}

#[test]
fn a_version_waits_until_it_is_deployed_and_an_older_one_can_come_back() {
    let (mut account, first) = base();
    let metadata = json!({
        "bindings": [{"name": "V", "type": "plain_text", "text": "two"}],
        "keep_bindings": ["secret_text"],
        "tags": ["other"],
    });
    let second = stage(&mut account, &["A"], metadata).expect("the version passes");
    assert_eq!(variable(&account), Some("one"));
    assert!(!account.scripts["w"].is_latest_served());
    serve(&mut account, &second, false).expect("it can be deployed");
    assert_eq!(variable(&account), Some("two"));
    let script = &account.scripts["w"];
    assert_eq!(script.settings.tags, ["team:x"], "a version has no tags");
    assert_eq!(script.settings.compatibility_date, None);
    assert_eq!(script.bindings.len(), 2, "the secret came along");
    serve(&mut account, &first, false).expect("the older one can be deployed");
    assert_eq!(variable(&account), Some("one"));
    assert_eq!(account.scripts["w"].deployments.len(), 3);
    assert_eq!(serve(&mut account, "none", false), Err((404, 10071)));
}

#[test]
fn a_version_carries_no_pending_migration() {
    let (mut account, _) = base();
    for (classes, metadata, expected) in [
        (
            vec!["A", "B"],
            json!({"migrations": {"old_tag": "v1", "new_tag": "v2", "new_sqlite_classes": ["B"]}}),
            (400, 10211),
        ),
        (
            vec!["A"],
            json!({"migrations": {"old_tag": "v1", "new_tag": "v2"}}),
            (400, 10211),
        ),
        (
            vec!["A", "B"],
            json!({"bindings": [{"name": "B", "type": "durable_object_namespace", "class_name": "B"}]}),
            (400, 10123),
        ),
        (vec!["B"], json!({}), (400, 10064)),
    ] {
        assert_eq!(stage(&mut account, &classes, metadata), Err(expected));
    }
    let applied = json!({"migrations": {"old_tag": "v1", "new_tag": "v1", "steps": []}});
    stage(&mut account, &["A"], applied).expect("a migration that was applied is no obstacle");
    let unknown = Account::new("account", "seed");
    assert_eq!(
        stage(&mut unknown.clone(), &["A"], json!({})),
        Err((404, 10007))
    );
}

#[test]
fn no_version_is_deployed_across_a_migration() {
    let (mut account, first) = base();
    let steps = json!({"migrations": {"old_tag": "v1", "new_tag": "v2", "new_sqlite_classes": ["B"]}, "keep_bindings": ["secret_text"]});
    upload(&mut account, &["A", "B"], steps);
    let second = account.scripts["w"].versions[1].id.clone();
    assert_eq!(
        serve(&mut account, &first, true),
        Err((400, 10064)),
        "the old code lacks B"
    );
    let steps = json!({"migrations": {"old_tag": "v2", "new_tag": "v3", "deleted_classes": ["B"]}});
    upload(&mut account, &["A"], steps);
    assert_eq!(
        serve(&mut account, &second, true),
        Err((400, 10021)),
        "B is gone although the old code has it"
    );
}

#[test]
fn an_older_secret_comes_back_only_by_force() {
    let (mut account, first) = base();
    let metadata = json!({"bindings": [{"name": "S", "type": "secret_text", "text": "s2"}]});
    upload(&mut account, &["A"], metadata);
    assert_eq!(serve(&mut account, &first, false), Err((400, 10220)));
    serve(&mut account, &first, true).expect("force deploys it");
}

#[test]
fn an_inherit_binding_may_name_its_version() {
    let (mut account, first) = base();
    upload(&mut account, &["A"], json!({}));
    assert_eq!(variable(&account), None);
    let inherit = |version: &str| json!({"bindings": [{"name": "V", "type": "inherit", "version_id": version}]});
    upload(&mut account, &["A"], inherit("latest"));
    assert_eq!(variable(&account), None);
    upload(&mut account, &["A"], inherit(&first));
    assert_eq!(variable(&account), Some("one"));
}

#[test]
fn old_versions_are_forgotten_but_not_the_one_that_is_served() {
    let (mut account, first) = base();
    for _ in 0..KEPT + 5 {
        stage(&mut account, &["A"], json!({})).expect("the version passes");
    }
    let versions = &account.scripts["w"].versions;
    assert_eq!(versions.len(), KEPT);
    assert_eq!(versions[0].id, first);
    assert_eq!(versions[KEPT - 1].number, (KEPT + 6) as u64);
}

#[test]
fn deployments_are_checked_before_they_are_made() {
    let parse = |versions: Value| {
        let body = json!({"strategy": "percentage", "versions": versions});
        Rollout::parse(&body, false).map(|rollout| rollout.versions.len())
    };
    let share = |id: &str, percentage: f64| json!({"version_id": id, "percentage": percentage});
    assert_eq!(parse(json!([share("a", 100.0)])), Ok(1));
    assert_eq!(parse(json!([share("a", 10.5), share("b", 89.5)])), Ok(2));
    for bad in [
        json!([]),
        json!([share("a", 50.0)]),
        json!([share("a", 50.0), share("a", 50.0)]),
        json!([share("a", -1.0), share("b", 101.0)]),
        json!([share("a", 30.0), share("b", 30.0), share("c", 40.0)]),
        json!([{"version_id": "a"}]),
        json!("a"),
    ] {
        assert_eq!(
            parse(bad.clone()).map_err(|failure| code(&failure)),
            Err((400, 10021)),
            "{bad}"
        );
    }
    let body = json!({"versions": [share("a", 100.0)]});
    assert!(Rollout::parse(&body, false).is_err(), "no strategy");
}

#[test]
fn the_version_with_the_largest_share_is_served() {
    let deployment = |shares: &[(&str, u32)]| Deployment {
        id: String::new(),
        created_on: String::new(),
        source: String::new(),
        annotations: Map::new(),
        versions: shares
            .iter()
            .map(|(id, percentage)| Share {
                version_id: (*id).to_owned(),
                percentage: (*percentage).into(),
            })
            .collect(),
    };
    assert_eq!(deployment(&[("a", 10), ("b", 90)]).served(), "b");
    assert_eq!(deployment(&[("a", 50), ("b", 50)]).served(), "a");
}

#[test]
fn messages_are_cut_and_long_tags_refused() {
    let long = "ü".repeat(501);
    let given = json!({"workers/message": format!("x{long}"), "workers/other": 1});
    let found = annotations(Some(&given)).expect("a message has no limit");
    assert_eq!(found["workers/message"].as_str().map(str::len), Some(999));
    assert!(!found.contains_key("workers/other"));
    for bad in [
        json!({"workers/tag": "t".repeat(101)}),
        json!({"workers/tag": 1}),
        json!([]),
    ] {
        assert!(annotations(Some(&bad)).is_err(), "{bad}");
    }
}
