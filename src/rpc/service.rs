//! The provider service: one method per call, each of which decodes, calls, and encodes.
//!
//! Every call runs in a task of its own, to its end: neither a core that gives up nor a panic loses what was done.
//! What goes wrong is said in diagnostics; a gRPC error would make cores forget the answer's state.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use tonic::{Request, Response, Status};

use crate::tf::{
    ApplyRequest, ApplyResponse, Checkpoint, Diagnostic, Diagnostics, PlanRequest, PlanResponse,
    Provider, Reached, ReadRequest, ReadResponse, Resource, Type, Value,
};

use super::ISSUES;
use super::convert::{
    diagnostics_to_proto, null, path_to_proto, schema_to_proto, value_from_proto, value_to_proto,
};
use super::json;
use super::lifecycle::{Call, Lifecycle};
use super::pb::tfplugin6 as proto;

/// A provider as a gRPC service.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    provider: Arc<dyn Provider>,
    provider_type: Type,
    resources: BTreeMap<&'static str, Arc<Served>>,
    lifecycle: Arc<Lifecycle>,
}

/// A resource with the type of its values.
struct Served {
    resource: Arc<dyn Resource>,
    ty: Type,
}

impl Service {
    pub fn new(provider: Arc<dyn Provider>, lifecycle: Arc<Lifecycle>) -> Service {
        let resources = provider
            .resources()
            .iter()
            .map(|resource| {
                let served = Served {
                    ty: resource.schema().ty(),
                    resource: resource.clone(),
                };
                (resource.type_name(), Arc::new(served))
            })
            .collect();
        Service(Arc::new(Inner {
            provider_type: provider.schema().ty(),
            provider,
            resources,
            lifecycle,
        }))
    }

    fn resource(&self, type_name: &str) -> Result<Arc<Served>, Diagnostics> {
        self.0.resources.get(type_name).cloned().ok_or_else(|| {
            let detail = format!(
                "This version of the provider has no resource type `{type_name}`. It may need an upgrade."
            );
            Diagnostic::error("Unknown resource type", detail).into()
        })
    }

    /// Runs a call to its end, whatever becomes of the caller. The error is a panic.
    async fn run<R, F>(
        &self,
        rpc: &'static str,
        type_name: &str,
        body: impl FnOnce(Call) -> F,
    ) -> Result<R, Diagnostics>
    where
        R: Send + 'static,
        F: Future<Output = R> + Send + 'static,
    {
        let started = Instant::now();
        let call = self.0.lifecycle.begin(rpc == APPLY);
        let result = tokio::spawn(body(call)).await;
        log::debug!(
            tf_rpc = rpc,
            tf_resource_type = type_name,
            tf_req_duration_ms = started.elapsed().as_millis();
            "call served"
        );
        result.map_err(|_panic| {
            log::error!(tf_rpc = rpc, tf_resource_type = type_name; "a call panicked");
            bug(
                "The provider crashed",
                &format!("A part of the provider failed unexpectedly during {rpc}."),
            )
        })
    }
}

const APPLY: &str = "ApplyResourceChange";

fn bug(summary: &str, what: &str) -> Diagnostics {
    let detail = format!(
        "{what} This is a bug in the provider; please report it at {ISSUES}, with the log of a run with TF_LOG=debug."
    );
    Diagnostic::error(summary, detail).into()
}

impl Served {
    fn value(&self, value: Option<&proto::DynamicValue>) -> Result<Value, Diagnostics> {
        decode(value, &self.ty)
    }

    /// Encodes what a resource answers, without what must not be stored.
    fn answer(&self, mut value: Value) -> Result<proto::DynamicValue, Diagnostics> {
        self.resource.schema().forget_write_only(&mut value);
        value_to_proto(&value, &self.ty).map_err(|error| {
            let what = format!("A value does not fit the schema: {error}.");
            bug("The provider made an invalid value", &what)
        })
    }

    /// The same for state, in which nothing may be unknown.
    fn state(&self, state: Value) -> Result<proto::DynamicValue, Diagnostics> {
        self.answer(known(state))
    }

    fn check(&self, config: &Value, client: Option<&proto::ClientCapabilities>) -> Diagnostics {
        let write_only_allowed = client.is_some_and(|client| client.write_only_attributes_allowed);
        self.resource.schema().check(config, write_only_allowed)
    }
}

fn decode(value: Option<&proto::DynamicValue>, ty: &Type) -> Result<Value, Diagnostics> {
    value_from_proto(value, ty).map_err(|error| {
        let what = format!("The core sent a value that does not fit the schema: {error}.");
        bug("Failed to read a value", &what)
    })
}

/// The value with null for all that is unknown.
fn known(value: Value) -> Value {
    match value {
        Value::Unknown => Value::Null,
        Value::List(list) => Value::List(list.into_iter().map(known).collect()),
        Value::Map(map) => Value::Map(map.into_iter().map(|(k, v)| (k, known(v))).collect()),
        value => value,
    }
}

/// The answer of a call that may end early with diagnostics alone.
fn flatten<R>(result: Result<Result<R, Diagnostics>, Diagnostics>) -> Result<R, Diagnostics> {
    result.and_then(|result| result)
}

fn capabilities() -> proto::ServerCapabilities {
    proto::ServerCapabilities {
        plan_destroy: true,
        get_provider_schema_optional: true,
        ..proto::ServerCapabilities::default()
    }
}

#[tonic::async_trait]
impl proto::provider_server::Provider for Service {
    async fn get_metadata(
        &self,
        _: Request<proto::get_metadata::Request>,
    ) -> Result<Response<proto::get_metadata::Response>, Status> {
        let resources = self.0.resources.keys();
        Ok(Response::new(proto::get_metadata::Response {
            server_capabilities: Some(capabilities()),
            resources: resources
                .map(|name| proto::get_metadata::ResourceMetadata {
                    type_name: (*name).to_owned(),
                })
                .collect(),
            ..proto::get_metadata::Response::default()
        }))
    }

    async fn get_provider_schema(
        &self,
        _: Request<proto::get_provider_schema::Request>,
    ) -> Result<Response<proto::get_provider_schema::Response>, Status> {
        let resources = self.0.resources.iter();
        Ok(Response::new(proto::get_provider_schema::Response {
            provider: Some(schema_to_proto(self.0.provider.schema())),
            server_capabilities: Some(capabilities()),
            resource_schemas: resources
                .map(|(name, served)| {
                    let schema = schema_to_proto(served.resource.schema());
                    ((*name).to_owned(), schema)
                })
                .collect(),
            ..proto::get_provider_schema::Response::default()
        }))
    }

    async fn validate_provider_config(
        &self,
        request: Request<proto::validate_provider_config::Request>,
    ) -> Result<Response<proto::validate_provider_config::Response>, Status> {
        let request = request.into_inner();
        let inner = self.0.clone();
        let diagnostics = self
            .run("ValidateProviderConfig", "", |call| async move {
                let _call = call;
                provider_config(&inner, request.config.as_ref(), |config| {
                    inner.provider.validate(config)
                })
            })
            .await;
        Ok(Response::new(proto::validate_provider_config::Response {
            diagnostics: diagnostics_to_proto(diagnostics.unwrap_or_else(|panic| panic)),
        }))
    }

    async fn configure_provider(
        &self,
        request: Request<proto::configure_provider::Request>,
    ) -> Result<Response<proto::configure_provider::Response>, Status> {
        let request = request.into_inner();
        let inner = self.0.clone();
        let diagnostics = self
            .run("ConfigureProvider", "", |call| async move {
                let _call = call;
                provider_config(&inner, request.config.as_ref(), |config| {
                    inner.provider.configure(config)
                })
            })
            .await;
        Ok(Response::new(proto::configure_provider::Response {
            diagnostics: diagnostics_to_proto(diagnostics.unwrap_or_else(|panic| panic)),
        }))
    }

    async fn validate_resource_config(
        &self,
        request: Request<proto::validate_resource_config::Request>,
    ) -> Result<Response<proto::validate_resource_config::Response>, Status> {
        let request = request.into_inner();
        let type_name = request.type_name.clone();
        let service = self.clone();
        let result = self
            .run("ValidateResourceConfig", &type_name, |call| async move {
                let _call = call;
                let served = service.resource(&request.type_name)?;
                let config = served.value(request.config.as_ref())?;
                let mut diagnostics = served.check(&config, request.client_capabilities.as_ref());
                diagnostics.extend(served.resource.validate(&config));
                Ok(diagnostics)
            })
            .await;
        let diagnostics = flatten(result).unwrap_or_else(|early| early);
        Ok(Response::new(proto::validate_resource_config::Response {
            diagnostics: diagnostics_to_proto(diagnostics),
        }))
    }

    async fn upgrade_resource_state(
        &self,
        request: Request<proto::upgrade_resource_state::Request>,
    ) -> Result<Response<proto::upgrade_resource_state::Response>, Status> {
        let request = request.into_inner();
        let type_name = request.type_name.clone();
        let service = self.clone();
        let result = self
            .run("UpgradeResourceState", &type_name, |call| async move {
                let _call = call;
                let served = service.resource(&request.type_name)?;
                let state = stored_state(&served, &request)?;
                served.resource.seen(&state);
                served.state(state)
            })
            .await;
        // Without a state in the answer cores would take the object for gone.
        let (upgraded_state, diagnostics) = match flatten(result) {
            Ok(state) => (state, Diagnostics::default()),
            Err(diagnostics) => (null(), diagnostics),
        };
        Ok(Response::new(proto::upgrade_resource_state::Response {
            upgraded_state: Some(upgraded_state),
            diagnostics: diagnostics_to_proto(diagnostics),
        }))
    }

    async fn read_resource(
        &self,
        request: Request<proto::read_resource::Request>,
    ) -> Result<Response<proto::read_resource::Response>, Status> {
        let request = request.into_inner();
        let (type_name, current, private) = (
            request.type_name.clone(),
            request.current_state.clone(),
            request.private.clone(),
        );
        let service = self.clone();
        let result = self
            .run("ReadResource", &type_name, |call| async move {
                let served = service.resource(&request.type_name)?;
                let state = served.value(request.current_state.as_ref())?;
                served.resource.seen(&state);
                let request = ReadRequest {
                    state,
                    private: request.private,
                    stop: call.stop(),
                };
                let ReadResponse {
                    state,
                    private,
                    diagnostics,
                } = served.resource.read(request).await;
                Ok((served.state(state)?, private, diagnostics))
            })
            .await;
        let (new_state, private, diagnostics) = match flatten(result) {
            Ok(answer) => answer,
            Err(diagnostics) => (current.unwrap_or_else(null), private, diagnostics),
        };
        Ok(Response::new(proto::read_resource::Response {
            new_state: Some(new_state),
            private,
            diagnostics: diagnostics_to_proto(diagnostics),
            deferred: None,
            new_identity: None,
        }))
    }

    async fn plan_resource_change(
        &self,
        request: Request<proto::plan_resource_change::Request>,
    ) -> Result<Response<proto::plan_resource_change::Response>, Status> {
        let request = request.into_inner();
        let (type_name, prior, private) = (
            request.type_name.clone(),
            request.prior_state.clone(),
            request.prior_private.clone(),
        );
        let service = self.clone();
        let result = self
            .run("PlanResourceChange", &type_name, |call| async move {
                let served = service.resource(&request.type_name)?;
                plan(&served, request, &call).await
            })
            .await;
        let (planned_state, response) = match flatten(result) {
            Ok(planned) => planned,
            Err(diagnostics) => {
                let unchanged = PlanResponse {
                    private,
                    diagnostics,
                    ..PlanResponse::default()
                };
                (prior.unwrap_or_else(null), unchanged)
            }
        };
        // A path without steps would replace the object, whatever has changed.
        let replace = response.requires_replace.into_iter();
        Ok(Response::new(proto::plan_resource_change::Response {
            planned_state: Some(planned_state),
            requires_replace: replace
                .filter(|path| !path.steps.is_empty())
                .map(path_to_proto)
                .collect(),
            planned_private: response.private,
            diagnostics: diagnostics_to_proto(response.diagnostics),
            legacy_type_system: false,
            deferred: None,
            planned_identity: None,
        }))
    }

    async fn apply_resource_change(
        &self,
        request: Request<proto::apply_resource_change::Request>,
    ) -> Result<Response<proto::apply_resource_change::Response>, Status> {
        let request = request.into_inner();
        let type_name = request.type_name.clone();
        let checkpoint = Checkpoint::default();
        let fallback = Fallback::new(&request, checkpoint.clone());
        let service = self.clone();
        let result = self
            .run(APPLY, &type_name, |call| async move {
                let served = service.resource(&request.type_name)?;
                let request = ApplyRequest {
                    prior: served.value(request.prior_state.as_ref())?,
                    planned: served.value(request.planned_state.as_ref())?,
                    config: served.value(request.config.as_ref())?,
                    planned_private: request.planned_private,
                    checkpoint,
                    stop: call.stop(),
                };
                let ApplyResponse {
                    state,
                    private,
                    diagnostics,
                } = served.resource.apply(request).await;
                let new_state = served.state(state).map_err(|mut bug| {
                    let mut diagnostics = diagnostics.clone();
                    std::mem::swap(&mut diagnostics, &mut bug);
                    bug.extend(diagnostics);
                    bug
                })?;
                Ok((new_state, private, diagnostics))
            })
            .await;
        let (new_state, private, diagnostics) = match flatten(result) {
            Ok(answer) => answer,
            Err(diagnostics) => fallback.answer(self.resource(&type_name).ok(), diagnostics),
        };
        Ok(Response::new(proto::apply_resource_change::Response {
            new_state: Some(new_state),
            private,
            diagnostics: diagnostics_to_proto(diagnostics),
            legacy_type_system: false,
            new_identity: None,
        }))
    }

    async fn import_resource_state(
        &self,
        request: Request<proto::import_resource_state::Request>,
    ) -> Result<Response<proto::import_resource_state::Response>, Status> {
        let request = request.into_inner();
        let type_name = request.type_name.clone();
        let service = self.clone();
        let result = self
            .run("ImportResourceState", &type_name, |call| async move {
                let served = service.resource(&request.type_name)?;
                let imported = served.resource.import(&request.id, call.stop()).await?;
                Ok(proto::import_resource_state::ImportedResource {
                    type_name: request.type_name,
                    state: Some(served.state(imported.state)?),
                    private: imported.private,
                    identity: None,
                })
            })
            .await;
        let (imported_resources, diagnostics) = match flatten(result) {
            Ok(imported) => (vec![imported], Diagnostics::default()),
            Err(diagnostics) => (Vec::new(), diagnostics),
        };
        Ok(Response::new(proto::import_resource_state::Response {
            imported_resources,
            diagnostics: diagnostics_to_proto(diagnostics),
            deferred: None,
        }))
    }

    async fn stop_provider(
        &self,
        _: Request<proto::stop_provider::Request>,
    ) -> Result<Response<proto::stop_provider::Response>, Status> {
        self.0.lifecycle.stop();
        Ok(Response::new(proto::stop_provider::Response {
            error: String::new(),
        }))
    }
}

fn provider_config(
    inner: &Inner,
    config: Option<&proto::DynamicValue>,
    then: impl FnOnce(&Value) -> Diagnostics,
) -> Diagnostics {
    let config = match decode(config, &inner.provider_type) {
        Ok(config) => config,
        Err(diagnostics) => return diagnostics,
    };
    let mut diagnostics = inner.provider.schema().check(&config, true);
    if !diagnostics.has_errors() {
        diagnostics.extend(then(&config));
    }
    diagnostics
}

/// The state in a request for its upgrade. There is one version of every schema so far, so nothing to convert.
fn stored_state(
    served: &Served,
    request: &proto::upgrade_resource_state::Request,
) -> Result<Value, Diagnostics> {
    let refuse = |detail: String| Err(Diagnostic::error("Unsupported state", detail).into());
    let current = served.resource.schema().version;
    if request.version != current {
        return refuse(format!(
            "The state of this `{}` has schema version {}; this version of the provider reads version {current} only. \
             Use the version of the provider that wrote it.",
            request.type_name, request.version
        ));
    }
    match &request.raw_state {
        Some(raw) if !raw.json.is_empty() => json::decode(&raw.json, &served.ty).or_else(|error| {
            let name = &request.type_name;
            refuse(format!("The state of this `{name}` does not fit its schema: {error}."))
        }),
        Some(raw) if !raw.flatmap.is_empty() => refuse(
            "The state was written by Terraform 0.11 or older, which this provider never supported.".to_owned(),
        ),
        _ => refuse("The core sent no state to read.".to_owned()),
    }
}

async fn plan(
    served: &Served,
    request: proto::plan_resource_change::Request,
    call: &Call,
) -> Result<(proto::DynamicValue, PlanResponse), Diagnostics> {
    let config = served.value(request.config.as_ref())?;
    let checked = served.check(&config, request.client_capabilities.as_ref());
    if checked.has_errors() {
        return Err(checked);
    }
    let mut proposed = served.value(request.proposed_new_state.as_ref())?;
    served.resource.schema().forget_write_only(&mut proposed);
    let request = PlanRequest {
        prior: served.value(request.prior_state.as_ref())?,
        proposed,
        config,
        prior_private: request.prior_private,
        stop: call.stop(),
    };
    let mut response = served.resource.plan(request).await;
    let planned = served.answer(std::mem::take(&mut response.planned))?;
    Ok((planned, response))
}

/// What is answered when an apply ends without an answer.
struct Fallback {
    is_create: bool,
    is_delete: bool,
    prior: proto::DynamicValue,
    planned_private: Vec<u8>,
    checkpoint: Checkpoint,
}

impl Fallback {
    fn new(request: &proto::apply_resource_change::Request, checkpoint: Checkpoint) -> Fallback {
        let is_null = |value: Option<&proto::DynamicValue>| {
            value.is_none_or(|value| match value.msgpack.as_ref() {
                [] => value.json.is_empty() || value.json.as_ref() == b"null",
                msgpack => msgpack == null().msgpack,
            })
        };
        Fallback {
            is_create: is_null(request.prior_state.as_ref()),
            is_delete: is_null(request.planned_state.as_ref()),
            prior: request.prior_state.clone().unwrap_or_else(null),
            planned_private: request.planned_private.clone(),
            checkpoint,
        }
    }

    /// The best state that is known for certain.
    ///
    /// A create with an error *and* an object would be tainted, and the next apply would delete the object with its
    /// data. So an object that is there is reported with a warning, and the next plan shows what is missing.
    fn answer(
        self,
        served: Option<Arc<Served>>,
        diagnostics: Diagnostics,
    ) -> (proto::DynamicValue, Vec<u8>, Diagnostics) {
        let reached = self.checkpoint.reached().and_then(|reached| {
            let Reached { state, private } = reached;
            let is_null = state.is_null();
            let state = served?.state(state).ok()?;
            Some((state, private, is_null))
        });
        match reached {
            Some((state, private, false)) if self.is_create => {
                (state, private, as_warnings(diagnostics))
            }
            Some((state, _, true)) if self.is_delete => {
                (state, Vec::new(), as_warnings(diagnostics))
            }
            Some((state, private, false)) if !self.is_delete => (state, private, diagnostics),
            _ if self.is_create => (null(), Vec::new(), diagnostics),
            _ => (self.prior, self.planned_private, diagnostics),
        }
    }
}

fn as_warnings(diagnostics: Diagnostics) -> Diagnostics {
    let mut warnings = Diagnostics::default();
    for diagnostic in diagnostics {
        warnings.push(Diagnostic {
            severity: crate::tf::Severity::Warning,
            ..diagnostic
        });
    }
    warnings
}

#[cfg(test)]
mod tests;
