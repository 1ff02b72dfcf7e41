//! The declarative way to Durable Object classes: each upload carries the whole map of what the Worker exports, and the
//! namespaces are made to fit. Pure.
//!
//! `entry` is the map, `reconcile` what becomes of each class, `transfer` a namespace on its way to another Worker,
//! `containers` what the map says of containers, `report` what the answer tells.

mod containers;
mod entry;
mod reconcile;
mod report;
mod transfer;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use containers::Container;
use containers::parse as parse_containers;
pub use entry::{Declared, Entry, Live, Storage};
pub use reconcile::reconcile;
pub use report::{Finding, Reconciliation, Scenario};

use super::account::Account;
use super::bindings::Draft;
use super::failure::ApiFailure;
use super::migrations::Migrations;
use super::script::Exports;

/// What one request declares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declaration {
    /// `exports`; absent if the request has none.
    pub exports: Option<Declared>,
    /// `containers`.
    pub containers: Vec<Container>,
}

impl Declaration {
    /// Reads `exports` and `containers` of a request.
    pub fn parse(exports: Option<&Value>, containers: Option<&Value>) -> Result<Self, ApiFailure> {
        Ok(Self {
            exports: exports.map(Declared::parse).transpose()?,
            containers: containers.map_or(Ok(Vec::new()), parse_containers)?,
        })
    }

    /// Whether it has anything to reconcile.
    pub fn has_classes(&self) -> bool {
        self.exports.as_ref().is_some_and(Declared::has_classes)
    }

    /// The live entries as the API shows them; `None` if there are none.
    pub fn shown(&self) -> Option<Value> {
        self.exports.as_ref().and_then(Declared::shown)
    }

    fn live(&self, class: &str) -> Option<&Live> {
        self.exports.as_ref()?.live(class)
    }
}

/// What the deploys of a Worker have left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// Whether a deploy has declared classes. There is no way back to `migrations` then.
    used: bool,
    /// What the last deploy has declared.
    declaration: Declaration,
    /// The Workers from which namespaces have come, by the ids of the namespaces.
    received: BTreeMap<String, String>,
    /// What the last deploy did, if it declared classes.
    report: Option<Reconciliation>,
}

/// The part of a deploy that concerns this way.
#[derive(Clone, Copy, Debug)]
pub struct Deploy<'a> {
    /// What is declared.
    pub declaration: &'a Declaration,
    /// What the code exports.
    pub code: &'a Exports,
    /// Whether the code may be another one than before.
    pub recoded: bool,
    /// Whether what is not declared is as it was. Otherwise a map that is left out is an empty one.
    pub keeps: bool,
}

impl Lifecycle {
    /// That of a Worker whose declaration is known and nothing else.
    pub fn declaring(declaration: Declaration) -> Self {
        Self {
            used: declaration.has_classes(),
            declaration,
            ..Self::default()
        }
    }

    /// What the last deploy has declared.
    pub fn declaration(&self) -> &Declaration {
        &self.declaration
    }

    /// The live entries as the API shows them; `None` if there are none.
    pub fn shown(&self) -> Option<Value> {
        self.declaration.shown()
    }

    /// `exports_reconciliation`, where the last deploy has one.
    pub fn report(&self) -> Option<&Reconciliation> {
        self.report.as_ref()
    }

    /// The classes whose namespaces the last deploy has deleted.
    pub fn deleted(&self) -> impl Iterator<Item = &str> {
        let deleted = self.report.iter().flat_map(|report| &report.deleted);
        deleted.map(String::as_str)
    }

    /// Whether a deploy has declared classes.
    pub fn is_used(&self) -> bool {
        self.used
    }

    fn live(&self, class: &str) -> Option<&Live> {
        self.declaration.live(class)
    }

    fn received_from(&self, namespace: &str) -> Option<&str> {
        self.received.get(namespace).map(String::as_str)
    }

    fn receive(&mut self, namespace: String, source: &str) {
        self.received.insert(namespace, source.into());
    }

    /// A Worker that has declared its classes does not migrate them any more: 100403.
    pub fn check_migrations(&self, migrations: Option<&Migrations>) -> Result<(), ApiFailure> {
        if self.used && migrations.is_some() {
            return Err(ApiFailure::refused(
                100_403,
                "This Worker was last deployed using the declarative `exports` flow; reverting to `migrations` is not \
                 supported.",
            ));
        }
        Ok(())
    }

    /// What a request declares, or else what is declared by now.
    pub fn or_kept<'a>(&'a self, declaration: &'a Declaration) -> &'a Declaration {
        match declaration.exports {
            Some(_) => declaration,
            None => &self.declaration,
        }
    }

    /// Whether a deploy of a declaration has classes to reconcile.
    pub fn reconciles(&self, declaration: &Declaration) -> bool {
        self.used || declaration.has_classes()
    }

    /// What is left behind by one more deploy, which changes the namespaces of the account. On an error the account is
    /// not usable any more; callers work on a copy.
    pub fn deploy(
        &self,
        account: &mut Account,
        script: &str,
        deploy: Deploy<'_>,
    ) -> Result<Self, ApiFailure> {
        let declaration = if deploy.keeps {
            self.or_kept(deploy.declaration)
        } else {
            deploy.declaration
        };
        let mut after = Self {
            declaration: declaration.clone(),
            report: None,
            ..self.clone()
        };
        let says = deploy.declaration.exports.is_some();
        if self.reconciles(declaration) && (says || deploy.recoded) {
            let empty = Declared::default();
            let report = reconcile(
                account,
                script,
                self,
                declaration.exports.as_ref().unwrap_or(&empty),
                &declaration.containers,
                deploy.code,
            )?;
            after.used = true;
            after.report = deploy.declaration.has_classes().then_some(report);
        }
        let here = |id: &String| {
            let namespace = account.namespace_by_id(id);
            namespace.is_some_and(|namespace| namespace.script == script)
        };
        after.received.retain(|id, _| here(id));
        Ok(after)
    }
}

/// One request uses one of the two ways. Entrypoints and workflows are no classes and go with both.
pub fn check_exclusive(
    declaration: &Declaration,
    migrations: Option<&Migrations>,
) -> Result<(), ApiFailure> {
    if declaration.has_classes() && migrations.is_some() {
        // Code and text of this refusal are not published.
        return Err(ApiFailure::invalid(
            "`exports` and `migrations` cannot be used in the same upload.",
        ));
    }
    Ok(())
}

/// What a version that is not deployed may declare. Its map is reconciled when it is deployed, so it binds only
/// classes that have a namespace by now: 100406.
pub fn check_staged(
    account: &Account,
    script: &str,
    declaration: &Declaration,
    drafts: &[Draft],
) -> Result<(), ApiFailure> {
    let Some(declared) = &declaration.exports else {
        return Ok(());
    };
    let faults: Vec<Finding> = declared
        .entries()
        .filter_map(|(class, entry)| match entry {
            Entry::Faulty(fault) => Some(Finding::new(
                Scenario::InvalidExport,
                class,
                format!("has an invalid entry in `exports`: {fault}"),
            )),
            _ => None,
        })
        .collect();
    if !faults.is_empty() {
        return Err(report::refuse(&faults));
    }
    let unprovisioned = drafts.iter().find_map(|draft| {
        let class = draft.own_class(script)?;
        let staged = declared.live(class).is_some() && account.namespace(script, class).is_none();
        staged.then(|| (draft.name(), class))
    });
    match unprovisioned {
        None => Ok(()),
        Some((binding, class)) => Err(ApiFailure::new(
            403,
            100_406,
            format!(
                "Durable Object binding '{binding}' references class '{class}', which is declared in `exports` but not \
                 yet provisioned. Declarative `exports` are reconciled when the version is deployed, so the namespace \
                 must exist before a binding can reference it. Deploy this version to provision the class, or remove \
                 the binding and access the Durable Object via `ctx.exports.{class}` until then."
            ),
        )),
    }
}

/// Versions that share the traffic declare the same, and what is deployed by now: 100405.
pub fn check_same<'a>(
    deployed: &Declaration,
    versions: impl ExactSizeIterator<Item = &'a Declaration>,
) -> Result<(), ApiFailure> {
    let map = |declaration: &Declaration| declaration.exports.clone().unwrap_or_default();
    let shared = versions.len() > 1;
    let (deployed, mut versions) = (map(deployed), versions.map(map));
    if !shared || versions.all(|declared| declared == deployed) {
        return Ok(());
    }
    Err(ApiFailure::refused(
        100_405,
        "All versions in a multi-version deployment must declare identical `exports`. Deploy the version that changes \
         `exports` at 100% first, then split traffic.",
    ))
}

#[cfg(test)]
mod tests;
