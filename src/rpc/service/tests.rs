//! The service with a resource that does what its `script` says.

use std::sync::Mutex;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::proto::provider_server::Provider as _;
use super::*;
use crate::tf::{Attribute, AttributePath, Imported, Mode, Schema};

struct Toy {
    schema: Schema,
    resources: Vec<Arc<dyn Resource>>,
}

impl Provider for Toy {
    fn schema(&self) -> &Schema {
        &self.schema
    }
    fn validate(&self, _: &Value) -> Diagnostics {
        Diagnostics::default()
    }
    fn configure(&self, _: &Value) -> Diagnostics {
        panic!("configure");
    }
    fn resources(&self) -> &[Arc<dyn Resource>] {
        &self.resources
    }
}

/// Obeys `script`: `panic`, `reach` (then panic), `wait` (for a stop), anything else succeeds.
struct Obedient {
    schema: Schema,
    seen: Mutex<Vec<Value>>,
    started: Notify,
}

#[async_trait]
impl Resource for Obedient {
    fn type_name(&self) -> &'static str {
        "toy"
    }
    fn schema(&self) -> &Schema {
        &self.schema
    }
    fn validate(&self, _: &Value) -> Diagnostics {
        Diagnostics::default()
    }
    fn seen(&self, state: &Value) {
        self.seen
            .lock()
            .expect("no panic while locked")
            .push(state.clone());
    }
    async fn plan(&self, request: PlanRequest) -> PlanResponse {
        assert_ne!(request.config.get("script").as_str(), Some("panic"));
        assert!(
            request.proposed.get("secret").is_null(),
            "secrets are not proposed"
        );
        let mut planned = request.proposed;
        planned.set("id", Value::Unknown);
        planned.set("secret", request.config.get("secret").clone());
        PlanResponse {
            planned,
            requires_replace: vec![AttributePath::default(), AttributePath::root("script")],
            private: b"steps".to_vec(),
            diagnostics: Diagnostics::default(),
        }
    }
    async fn apply(&self, request: ApplyRequest) -> ApplyResponse {
        let wanted = if request.planned.is_null() {
            &request.prior
        } else {
            &request.planned
        };
        let mut state = request.planned.clone();
        state.set("id", "made");
        match wanted.get("script").as_str() {
            Some("panic") => panic!("as told"),
            Some("reach") => {
                request.checkpoint.reach(state, b"reached".to_vec());
                panic!("as told");
            }
            Some("wait") => {
                self.started.notify_one();
                request.stop.cancelled().await;
                state.set("id", "stopped");
            }
            _ => {}
        }
        ApplyResponse {
            state,
            private: request.planned_private,
            diagnostics: Diagnostics::default(),
        }
    }
    async fn read(&self, request: ReadRequest) -> ReadResponse {
        assert_ne!(request.state.get("script").as_str(), Some("panic"));
        ReadResponse {
            state: request.state,
            private: request.private,
            diagnostics: Diagnostics::default(),
        }
    }
    async fn import(&self, id: &str, _: CancellationToken) -> Result<Imported, Diagnostics> {
        match id {
            "none" => Err(Diagnostic::error("Not found", "").into()),
            _ => Ok(Imported {
                state: Value::object([("id", Value::from(id))]),
                private: b"imported".to_vec(),
            }),
        }
    }
}

struct Fixture {
    service: Service,
    resource: Arc<Obedient>,
    ty: Type,
}

fn fixture() -> Fixture {
    let schema = |attributes| Schema {
        version: 0,
        description: "".into(),
        attributes,
    };
    let resource = Arc::new(Obedient {
        schema: schema(vec![
            Attribute::new("id", Mode::Computed, Type::String, ""),
            Attribute::new("script", Mode::Required, Type::String, ""),
            Attribute::new("secret", Mode::Optional, Type::String, "").write_only(),
        ]),
        seen: Mutex::default(),
        started: Notify::new(),
    });
    let provider = Toy {
        schema: schema(Vec::new()),
        resources: vec![resource.clone()],
    };
    Fixture {
        service: Service::new(Arc::new(provider), Arc::default()),
        ty: resource.schema.ty(),
        resource,
    }
}

fn object(id: impl Into<Value>, script: &str) -> Value {
    Value::object([
        ("id", id.into()),
        ("script", script.into()),
        ("secret", Value::Null),
    ])
}

impl Fixture {
    #[expect(clippy::unnecessary_wraps, reason = "fields of requests are optional")]
    fn dynamic(&self, value: &Value) -> Option<proto::DynamicValue> {
        Some(value_to_proto(value, &self.ty).expect("fits the schema"))
    }

    fn value(&self, value: Option<proto::DynamicValue>) -> Value {
        let value = value.expect("every answer has a value");
        assert!(!value.msgpack.is_empty());
        value_from_proto(Some(&value), &self.ty).expect("fits the schema")
    }

    async fn apply(&self, prior: Value, planned: Value) -> (Value, Vec<u8>, Vec<i32>) {
        let request = proto::apply_resource_change::Request {
            type_name: "toy".into(),
            prior_state: self.dynamic(&prior),
            config: self.dynamic(&planned),
            planned_state: self.dynamic(&planned),
            planned_private: b"steps".to_vec(),
            ..Default::default()
        };
        let answer = self
            .service
            .apply_resource_change(Request::new(request))
            .await;
        let answer = answer.expect("never a gRPC error").into_inner();
        let severities = answer.diagnostics.iter().map(|d| d.severity).collect();
        (self.value(answer.new_state), answer.private, severities)
    }

    async fn plan(&self, prior: Value, config: Value) -> proto::plan_resource_change::Response {
        let request = proto::plan_resource_change::Request {
            type_name: "toy".into(),
            prior_state: self.dynamic(&prior),
            proposed_new_state: self.dynamic(&config),
            config: self.dynamic(&config),
            prior_private: b"before".to_vec(),
            client_capabilities: Some(proto::ClientCapabilities {
                write_only_attributes_allowed: true,
                ..Default::default()
            }),
            ..Default::default()
        };
        let answer = self
            .service
            .plan_resource_change(Request::new(request))
            .await;
        answer.expect("never a gRPC error").into_inner()
    }

    async fn upgrade(&self, version: i64, json: &str) -> proto::upgrade_resource_state::Response {
        let request = proto::upgrade_resource_state::Request {
            type_name: "toy".into(),
            version,
            raw_state: Some(proto::RawState {
                json: json.into(),
                ..Default::default()
            }),
        };
        let answer = self
            .service
            .upgrade_resource_state(Request::new(request))
            .await;
        answer.expect("never a gRPC error").into_inner()
    }
}

const ERROR: i32 = proto::diagnostic::Severity::Error as i32;
const WARNING: i32 = proto::diagnostic::Severity::Warning as i32;

#[tokio::test]
async fn a_panic_in_an_apply_keeps_what_was_reached() {
    let f = fixture();
    let (nothing, old) = (Value::Null, object("old", "x"));
    let check = async |prior: &Value, planned: &Value, state: &Value, severity| {
        let (found, private, severities) = f.apply(prior.clone(), planned.clone()).await;
        assert_eq!(&found, state, "{prior:?} to {planned:?}");
        assert_eq!(severities, [severity], "{prior:?} to {planned:?}");
        private
    };
    // An error beside a created object would taint it: the next apply would delete it with its data.
    check(&nothing, &object(Value::Unknown, "panic"), &nothing, ERROR).await;
    let private = check(
        &nothing,
        &object(Value::Unknown, "reach"),
        &object("made", "reach"),
        WARNING,
    )
    .await;
    assert_eq!(private, b"reached");
    check(&old, &object("old", "panic"), &old, ERROR).await;
    check(
        &old,
        &object("old", "reach"),
        &object("made", "reach"),
        ERROR,
    )
    .await;
    let prior = object("old", "panic");
    check(&prior, &nothing, &prior, ERROR).await;
    let prior = object("old", "reach");
    check(&prior, &nothing, &nothing, WARNING).await;
}

#[tokio::test]
async fn a_panic_elsewhere_is_an_error_that_changes_nothing() {
    let f = fixture();
    let state = object("old", "panic");
    let answer = f.plan(state.clone(), object(Value::Null, "panic")).await;
    assert_eq!(answer.diagnostics[0].severity, ERROR);
    assert!(answer.diagnostics[0].detail.contains(ISSUES));
    assert_eq!(f.value(answer.planned_state), state);

    let request = proto::read_resource::Request {
        type_name: "toy".into(),
        current_state: f.dynamic(&state),
        private: b"kept".to_vec(),
        ..Default::default()
    };
    let answer = f.service.read_resource(Request::new(request)).await;
    let answer = answer.expect("never a gRPC error").into_inner();
    assert_eq!(answer.diagnostics[0].severity, ERROR);
    assert_eq!(answer.private, b"kept");
    assert_eq!(f.value(answer.new_state), state);

    let request = Request::new(proto::configure_provider::Request::default());
    let answer = f.service.configure_provider(request).await;
    assert_eq!(
        answer.expect("never a gRPC error").into_inner().diagnostics[0].severity,
        ERROR
    );
}

#[tokio::test]
async fn a_plan_never_holds_write_only_values_or_the_empty_path() {
    let f = fixture();
    let mut config = object(Value::Null, "x");
    config.set("secret", "hidden");
    let answer = f.plan(Value::Null, config.clone()).await;
    assert_eq!(answer.diagnostics, []);
    assert_eq!(f.value(answer.planned_state), object(Value::Unknown, "x"));
    assert_eq!(answer.requires_replace.len(), 1);
    assert_eq!(answer.planned_private, b"steps");

    let request = proto::validate_resource_config::Request {
        type_name: "toy".into(),
        config: f.dynamic(&config),
        client_capabilities: None,
    };
    let answer = f
        .service
        .validate_resource_config(Request::new(request))
        .await;
    let diagnostics = answer.expect("never a gRPC error").into_inner().diagnostics;
    assert_eq!(diagnostics.len(), 1, "the core would store the secret");
}

#[tokio::test]
async fn what_the_schema_forbids_does_not_reach_the_plan() {
    let f = fixture();
    let mut config = object(Value::Null, "x");
    config.set("script", Value::Null);
    let answer = f.plan(Value::Null, config).await;
    assert_eq!(answer.diagnostics[0].severity, ERROR);
    assert_eq!(answer.planned_private, b"before");
}

#[tokio::test]
async fn stored_state_passes_and_is_seen() {
    let f = fixture();
    let answer = f.upgrade(0, r#"{"id":"a","script":"x","gone":1}"#).await;
    assert_eq!(answer.diagnostics, []);
    assert_eq!(f.value(answer.upgraded_state), object("a", "x"));
    assert_eq!(
        *f.resource.seen.lock().expect("not poisoned"),
        [object("a", "x")]
    );
}

#[tokio::test]
async fn state_that_cannot_be_read_is_an_error_and_not_a_lost_object() {
    let f = fixture();
    for (version, json) in [(1, r#"{"id":"a"}"#), (0, "{"), (0, ""), (0, r#"{"id":[]}"#)] {
        let answer = f.upgrade(version, json).await;
        assert_eq!(answer.diagnostics.len(), 1, "{version} {json}");
        assert_eq!(answer.diagnostics[0].severity, ERROR);
    }
}

#[tokio::test]
async fn imports_answer_one_object_or_an_error() {
    let f = fixture();
    let import = async |type_name: &str, id: &str| {
        let request = Request::new(proto::import_resource_state::Request {
            type_name: type_name.into(),
            id: id.into(),
            ..Default::default()
        });
        let answer = f.service.import_resource_state(request).await;
        answer.expect("never a gRPC error").into_inner()
    };
    let mut answer = import("toy", "a").await;
    let imported = answer.imported_resources.remove(0);
    assert_eq!(
        (imported.type_name.as_str(), &imported.private[..]),
        ("toy", &b"imported"[..])
    );
    assert_eq!(f.value(imported.state).get("id").as_str(), Some("a"));
    for (type_name, id) in [("toy", "none"), ("other", "a")] {
        let answer = import(type_name, id).await;
        assert_eq!(answer.imported_resources, []);
        assert_eq!(answer.diagnostics[0].severity, ERROR);
    }
}

#[tokio::test]
async fn a_stop_ends_running_applies_and_leaves_the_next_run_alone() {
    let f = Arc::new(fixture());
    for _run in 0..2 {
        let apply = {
            let f = f.clone();
            tokio::spawn(async move { f.apply(Value::Null, object(Value::Unknown, "wait")).await })
        };
        f.resource.started.notified().await;
        let request = Request::new(proto::stop_provider::Request {});
        let answer = f.service.stop_provider(request).await.expect("answers");
        assert_eq!(answer.into_inner().error, "");
        let (state, _, severities) = apply.await.expect("does not panic");
        assert_eq!(state, object("stopped", "wait"));
        assert_eq!(severities, [0_i32; 0]);
    }
}

#[tokio::test]
async fn an_apply_runs_to_its_end_when_the_core_gives_up() {
    let f = Arc::new(fixture());
    let apply = {
        let f = f.clone();
        tokio::spawn(async move { f.apply(Value::Null, object(Value::Unknown, "wait")).await })
    };
    f.resource.started.notified().await;
    apply.abort();
    assert!(apply.await.expect_err("was aborted").is_cancelled());
    assert_eq!(f.service.0.lifecycle.applies(), 1);
    f.service.0.lifecycle.stop();
    f.service.0.lifecycle.applies_ended().await;
    assert_eq!(f.service.0.lifecycle.applies(), 0);
}

#[tokio::test]
async fn schemas_name_either_a_type_or_members() {
    let request = Request::new(proto::get_provider_schema::Request {});
    let answer = fixture().service.get_provider_schema(request).await;
    let answer = answer.expect("answers").into_inner();
    assert!(answer.provider.is_some_and(|schema| schema.block.is_some()));
    let capabilities = answer.server_capabilities.expect("are given");
    assert!(capabilities.plan_destroy && capabilities.get_provider_schema_optional);
    let toy = answer.resource_schemas["toy"]
        .block
        .as_ref()
        .expect("always set");
    let script = &toy.attributes[1];
    assert_eq!(
        (&script.name[..], &script.r#type[..]),
        ("script", &b"\"string\""[..])
    );
    assert!(script.required && !script.computed && script.nested_type.is_none());
    assert!(toy.attributes[2].write_only);
}
