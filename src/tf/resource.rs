//! What a provider and its resources are to the protocol server.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::{AttributePath, Diagnostics, Schema, Value};

/// A provider: its configuration and its resources.
pub trait Provider: Send + Sync {
    /// The schema of the provider block.
    fn schema(&self) -> &Schema;

    /// Judges a provider block. Parts of it may be unknown.
    fn validate(&self, config: &Value) -> Diagnostics;

    /// Takes a provider block for all later calls. Makes no API call; parts of it may be unknown in a plan.
    fn configure(&self, config: &Value) -> Diagnostics;

    /// Every resource.
    fn resources(&self) -> &[Arc<dyn Resource>];
}

/// A managed resource. Values are complete objects of its schema.
///
/// The server has applied [`Schema::check`] before `validate`, turns panics into diagnostics, and runs every call to
/// its end even if the core gives up on it.
#[async_trait]
pub trait Resource: Send + Sync {
    /// The type in HCL, such as `cloudflare_worker`.
    fn type_name(&self) -> &'static str;

    /// The schema.
    fn schema(&self) -> &Schema;

    /// Judges a configuration, parts of which may be unknown. Neither configured nor allowed to do I/O.
    fn validate(&self, config: &Value) -> Diagnostics;

    /// Is shown every stored state that passes by in UpgradeResourceState and ReadResource.
    fn seen(&self, _state: &Value) {}

    /// Plans a create (`prior` null), an update, or a destroy (`proposed` null).
    async fn plan(&self, request: PlanRequest) -> PlanResponse;

    /// Carries out a plan. `planned` is null for a destroy.
    async fn apply(&self, request: ApplyRequest) -> ApplyResponse;

    /// Reads the object of a state. A null state in the answer means that it is proven to be gone.
    async fn read(&self, request: ReadRequest) -> ReadResponse;

    /// Finds an object by an import id. A read of the result follows.
    async fn import(&self, id: &str, stop: CancellationToken) -> Result<Imported, Diagnostics>;
}

/// The input of [`Resource::plan`].
pub struct PlanRequest {
    /// The state before; null on create.
    pub prior: Value,
    /// Terraform's merge of config and prior; null on destroy.
    pub proposed: Value,
    /// What the user wrote; null on destroy.
    pub config: Value,
    /// The private data kept beside the prior state, or of the first plan call of a replacement.
    pub prior_private: Vec<u8>,
    /// Cancelled when the user interrupts the run.
    pub stop: CancellationToken,
}

/// The answer of [`Resource::plan`].
#[derive(Default)]
pub struct PlanResponse {
    /// The planned state; null for a destroy.
    pub planned: Value,
    /// Attributes whose change forces replacement. Never the empty path.
    pub requires_replace: Vec<AttributePath>,
    /// Handed to the apply of this plan.
    pub private: Vec<u8>,
    /// What there is to say.
    pub diagnostics: Diagnostics,
}

/// The input of [`Resource::apply`].
pub struct ApplyRequest {
    /// The state before; null on create.
    pub prior: Value,
    /// The planned state; null on destroy.
    pub planned: Value,
    /// What the user wrote; null on destroy. The only place of write-only values.
    pub config: Value,
    /// The private data of the plan.
    pub planned_private: Vec<u8>,
    /// Where the apply notes what it has reached.
    pub checkpoint: Checkpoint,
    /// Cancelled when the user interrupts the run. What is half done must be finished or reported.
    pub stop: CancellationToken,
}

/// The answer of [`Resource::apply`].
pub struct ApplyResponse {
    /// The state after. With errors on create: null, or the object and it is tainted.
    pub state: Value,
    /// Kept beside the state.
    pub private: Vec<u8>,
    /// What there is to say.
    pub diagnostics: Diagnostics,
}

/// The input of [`Resource::read`].
pub struct ReadRequest {
    /// The stored state.
    pub state: Value,
    /// The private data beside it.
    pub private: Vec<u8>,
    /// Cancelled when the user interrupts the run.
    pub stop: CancellationToken,
}

/// The answer of [`Resource::read`].
pub struct ReadResponse {
    /// The state as it is now; null if the object is proven to be gone.
    pub state: Value,
    /// Kept beside the state.
    pub private: Vec<u8>,
    /// What there is to say. With errors the core keeps the old state.
    pub diagnostics: Diagnostics,
}

/// The answer of [`Resource::import`].
#[derive(Debug)]
pub struct Imported {
    /// As much of the state as the id tells.
    pub state: Value,
    /// Kept beside the state.
    pub private: Vec<u8>,
}

/// What an apply had reached for certain.
#[derive(Clone, Debug, PartialEq)]
pub struct Reached {
    /// The state.
    pub state: Value,
    /// The private data beside it.
    pub private: Vec<u8>,
}

/// Where a running apply notes what it has reached, so that a panic loses nothing that was done.
#[derive(Clone, Default)]
pub struct Checkpoint(Arc<Mutex<Option<Reached>>>);

impl Checkpoint {
    /// Notes a state that is certain now.
    pub fn reach(&self, state: Value, private: Vec<u8>) {
        let reached = Some(Reached { state, private });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reached;
    }

    /// The last state noted, if any.
    pub fn reached(&self) -> Option<Reached> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
