//! What is planned from what a configuration and a state say, attribute by attribute.

use super::*;

/// An object with these members; the others are null.
fn object(members: &[(&str, Value)]) -> Value {
    let mut value = Value::object(
        schema()
            .attributes
            .iter()
            .map(|a| (a.name.clone(), Value::Null)),
    );
    for (name, member) in members {
        value.set(name, member.clone());
    }
    value
}

/// `ROOM` with these members instead.
fn config(members: &[(&str, Value)]) -> Value {
    let mut value = object(&[("stable_id", "rooms".into()), ("class_name", "Room".into())]);
    for (name, member) in members {
        value.set(name, member.clone());
    }
    value
}

fn planned(prior: &Value, config: &Value, private: &[u8]) -> PlanResponse {
    let request = || PlanRequest {
        prior: prior.clone(),
        proposed: config.clone(),
        config: config.clone(),
        prior_private: private.to_vec(),
        stop: CancellationToken::new(),
    };
    let (first, second) = (plan(&request()), plan(&request()));
    assert_eq!(first.planned, second.planned, "a plan is made twice");
    assert_eq!(first.requires_replace, second.requires_replace);
    first
}

/// A state with these members written in the configuration that made it.
fn state(members: &[(&str, Value)]) -> Value {
    planned(&Value::Null, &config(members), &[]).planned
}

/// The summary and the place of every diagnostic.
fn said(response: &PlanResponse) -> Vec<(String, String)> {
    response
        .diagnostics
        .iter()
        .map(|it| {
            let path = it.path.as_ref().map(ToString::to_string);
            (it.summary.clone(), path.unwrap_or_default())
        })
        .collect()
}

#[track_caller]
fn plans(prior: &Value, config: &Value, expect: &[(&str, Value)]) {
    let response = planned(prior, config, &[]);
    assert_eq!(said(&response), []);
    for (name, value) in expect {
        assert_eq!(response.planned.get(name), value, "{name}");
    }
}

#[test]
fn everything_computed_is_known_on_create() {
    plans(
        &Value::Null,
        &config(&[]),
        &[
            ("id", "rooms".into()),
            ("type", BINDING_TYPE.into()),
            ("sqlite", true.into()),
            ("force_destroy", false.into()),
            ("transferred_from", Value::Null),
            ("script_name", Value::Null),
        ],
    );
}

#[test]
fn what_is_unknown_stays_unknown_and_nothing_else_does() {
    for name in [
        "class_name",
        "sqlite",
        "script_name",
        "environment",
        "namespace_id",
        "force_destroy",
        "transferred_from",
        "previous_class_name",
    ] {
        for prior in [Value::Null, state(&[])] {
            let response = planned(&prior, &config(&[(name, Value::Unknown)]), &[]);
            assert_eq!(said(&response), [], "{name}");
            for attribute in schema().attributes {
                let unknown = response.planned.get(&attribute.name).is_unknown();
                assert_eq!(unknown, attribute.name == name, "{}", attribute.name);
            }
            assert_eq!(response.requires_replace, []);
        }
    }
    let created = planned(&Value::Null, &config(&[("stable_id", Value::Unknown)]), &[]);
    assert_eq!(said(&created), []);
    assert!(created.planned.get("id").is_unknown());
}

#[test]
fn a_removed_argument_keeps_the_storage_and_withdraws_consent() {
    let prior = state(&[("sqlite", false.into()), ("force_destroy", true.into())]);
    plans(
        &prior,
        &config(&[]),
        &[("sqlite", false.into()), ("force_destroy", false.into())],
    );
}

#[test]
fn only_another_stable_id_forces_replacement() {
    let prior = state(&[]);
    for (name, value) in [
        ("class_name", Value::from("Hall")),
        ("script_name", "other".into()),
        ("environment", "production".into()),
        ("force_destroy", true.into()),
        ("transferred_from", "other".into()),
        ("previous_class_name", "Hall".into()),
    ] {
        let response = planned(&prior, &config(&[(name, value.clone())]), &[]);
        assert_eq!(response.requires_replace, [], "{name}");
        assert_eq!(said(&response), [], "{name}");
        assert_eq!(response.planned.get(name), &value);
    }
    let other = config(&[("stable_id", "halls".into()), ("sqlite", false.into())]);
    let response = planned(&prior, &other, &[]);
    assert_eq!(
        response.requires_replace,
        [AttributePath::root("stable_id")]
    );
    assert_eq!(said(&response), [], "another namespace has its own storage");
}

#[test]
fn an_id_that_an_import_made_up_is_replaced_in_place_by_the_same_namespace() {
    let prior = state(&[("stable_id", "Room".into())]);
    let response = planned(&prior, &config(&[]), PROVISIONAL);
    assert_eq!(response.requires_replace, []);
    assert_eq!(said(&response), []);
    assert_eq!(response.planned.get("id"), &"rooms".into());
    let other_storage = planned(&prior, &config(&[("sqlite", false.into())]), PROVISIONAL);
    assert_eq!(said(&other_storage)[0].1, "sqlite");
}

#[test]
fn a_stable_id_in_state_must_be_known() {
    let response = planned(&state(&[]), &config(&[("stable_id", Value::Unknown)]), &[]);
    assert_eq!(
        said(&response),
        [(
            "Stable ID is not known yet".to_owned(),
            "stable_id".to_owned()
        )]
    );
}

#[test]
fn a_move_notes_where_it_came_from() {
    let here = state(&[]);
    let there = state(&[("script_name", "old".into())]);
    let moved = config(&[("script_name", "new".into())]);
    plans(&here, &moved, &[("transferred_from", Value::Null)]);
    plans(&there, &moved, &[("transferred_from", "old".into())]);
    plans(&there, &config(&[]), &[("transferred_from", "old".into())]);
    plans(
        &there,
        &config(&[("script_name", Value::Unknown)]),
        &[("transferred_from", Value::Unknown)],
    );
    let after = planned(&there, &moved, &[]).planned;
    plans(&after, &moved, &[("transferred_from", "old".into())]);
    let cleared = config(&[
        ("script_name", "new".into()),
        ("transferred_from", "".into()),
    ]);
    plans(&after, &cleared, &[("transferred_from", "".into())]);
}

#[test]
fn what_may_be_destroyed_does_not_move() {
    let prior = state(&[("force_destroy", true.into())]);
    let response = planned(&prior, &config(&[("script_name", "other".into())]), &[]);
    assert_eq!(said(&response)[0].1, "script_name");
}

#[test]
fn a_destroy_says_nothing() {
    let response = plan(&PlanRequest {
        prior: state(&[]),
        proposed: Value::Null,
        config: Value::Null,
        prior_private: Vec::new(),
        stop: CancellationToken::new(),
    });
    assert!(response.planned.is_null());
    assert_eq!(said(&response), []);
}

#[test]
fn import_ids_take_every_form() {
    let hex = "0123456789abcdef0123456789abcdef";
    for (id, expect) in [
        ("chat/Room", Some("class chat Room")),
        (hex, Some("namespace")),
        (&*format!("{hex}/{hex}"), Some("account namespace")),
        (
            &*format!("{hex}/chat/Room"),
            Some("account class chat Room"),
        ),
        (
            &*format!("{hex}/Room"),
            Some("class 0123456789abcdef0123456789abcdef Room"),
        ),
        ("chat", None),
        ("chat/", None),
        ("", None),
        ("x/chat/Room", None),
        ("a/b/c/d", None),
    ] {
        let parsed = parse_import(id).map(|(account, wanted)| {
            let account = if account.is_some() { "account " } else { "" };
            match wanted {
                ImportId::Class(script, class) => format!("{account}class {script} {class}"),
                ImportId::Namespace(_) => format!("{account}namespace"),
            }
        });
        assert_eq!(parsed.as_deref(), expect, "{id}");
    }
}
