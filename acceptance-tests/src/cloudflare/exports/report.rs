//! What a reconciliation tells: the block in the answer of an upload that passed, and the refusal with everything that
//! is wrong (100402). Pure.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cloudflare::failure::ApiFailure;

/// The named situations of a class, by the names that clients know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are Cloudflare's and say it")]
pub enum Scenario {
    CodeClassNotInExports,
    ProvisionedClassMissingFromConfig,
    ConfigExportNotInCode,
    ConfigReferencesNonexistentClass,
    OrphanedProvisionedNamespace,
    StorageTypeMismatch,
    FreeTierRequiresSqlite,
    InvalidExport,
    TombstoneDeleteClassStillInCode,
    TombstoneDeleteBlockedByExternalBindings,
    TombstoneRenamedToOccupied,
    TombstoneClassStillInCode,
    StaleTombstone,
    TransferredPendingNotFound,
    TransferredTargetMissing,
    TransferredTargetMismatch,
    PhaseOneTransferSourceMissing,
    PhaseOneTransferSourceNamespaceMissing,
    PhaseOneTransferTargetClassProvisioned,
    PhaseOneTransferAfterCommitMismatch,
    PhaseOneTransferDuplicate,
    PhaseOneTransferTargetInDispatchNamespace,
    PhaseOneTransferSourceInDispatchNamespace,
    TransferredSourceInDispatchNamespace,
    TransferredTargetInDispatchNamespace,
    TransferReceiveAlreadyApplied,
    TransferReceiveCleanupComplete,
    ContainerUndeclaredReference,
    ContainerClassNotDurableObject,
    ContainerWiringInconsistent,
    ContainerMultipleDurableObjects,
    TransferContainerParityMismatch,
    TransferContainerParityMismatchOnCommit,
}

/// What was found of one class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The class.
    pub class: String,
    /// What it is a case of.
    pub scenario: Scenario,
    /// A sentence for people.
    pub message: String,
    /// The namespace in question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_id: Option<Box<str>>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<Box<str>>,
    /// The other Workers in question.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub referencing_scripts: Vec<String>,
}

impl Finding {
    /// A finding that begins with the class.
    pub fn new(scenario: Scenario, class: &str, message: impl AsRef<str>) -> Self {
        Self {
            class: class.into(),
            scenario,
            message: format!("class '{class}' {}", message.as_ref()),
            namespace_id: None,
            suggestion: None,
            referencing_scripts: Vec::new(),
        }
    }

    /// Names the namespace.
    #[must_use]
    pub fn of_namespace(mut self, id: &str) -> Self {
        self.namespace_id = Some(id.into());
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn advise(mut self, suggestion: impl Into<Box<str>>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }

    /// Names other Workers.
    #[must_use]
    pub fn referenced_by(mut self, scripts: Vec<String>) -> Self {
        self.referencing_scripts = scripts;
        self
    }

    fn line(&self) -> String {
        let scenario = json!(self.scenario);
        let (scenario, class) = (scenario.as_str().unwrap_or_default(), &self.class);
        let advice = match &self.suggestion {
            Some(suggestion) => format!(" ({suggestion})"),
            None => String::new(),
        };
        format!(" - [{scenario}] class '{class}': {}{advice}", self.message)
    }
}

/// The block `exports_reconciliation` of an answer. All lists are always there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconciliation {
    /// Classes with a new namespace.
    pub created: Vec<String>,
    /// Classes whose namespace has changed in something else than its class.
    pub updated: Vec<String>,
    /// Classes whose namespace is gone.
    pub deleted: Vec<String>,
    /// Namespaces with another class.
    pub renamed: Vec<Renamed>,
    /// Namespaces with another Worker.
    pub transferred: Vec<Transferred>,
    /// Namespaces that are expected from another Worker.
    pub transfer_pending: Vec<Pending>,
    /// Reserved.
    pub warnings: Vec<Finding>,
    /// What is worth knowing and in nobody's way.
    pub info: Vec<Finding>,
    /// Tombstones that have done their work and that nobody needs.
    pub removable_entries: Vec<String>,
}

/// A namespace that has another class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renamed {
    /// The class until now.
    pub from: String,
    /// The class from now on.
    pub to: String,
}

/// A namespace that has another Worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transferred {
    /// The class here and there.
    pub class: String,
    /// The Worker from now on.
    pub to: String,
    /// How far the transfer has come.
    pub phase: Phase,
}

/// How far a transfer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It is done.
    Committed,
}

/// A namespace that is expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The class here and there.
    pub class: String,
    /// The Worker that has it.
    pub from: String,
}

/// The refusal of an upload for everything that is wrong with its classes.
pub(super) fn refuse(details: &[Finding]) -> ApiFailure {
    let lines: Vec<String> = details.iter().map(Finding::line).collect();
    let mut failure = ApiFailure::refused(
        100_402,
        format!(
            "Durable Object exports reconciliation failed:\n{}",
            lines.join("\n")
        ),
    );
    failure.errors[0].meta = Some(json!({ "details": details }));
    failure
}
