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

pub use containers::{Container, parse as parse_containers};
pub use entry::{Declared, Entry, Live, Storage};
pub use reconcile::reconcile;
pub use report::{Finding, Reconciliation, Scenario};

use super::account::Account;
use super::bindings::Draft;
use super::failure::ApiFailure;
use super::migrations::Migrations;
use super::script::Exports;

/// What the deploys of a Worker have left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// Whether a deploy has declared classes. There is no way back to `migrations` then.
    used: bool,
    /// What the last deploy has declared, without tombstones.
    declared: Declared,
    /// The Workers from which namespaces have come, by the ids of the namespaces.
    received: BTreeMap<String, String>,
    /// What the last deploy did, if it declared classes.
    report: Option<Reconciliation>,
}

/// The part of a deploy that concerns this way.
#[derive(Clone, Copy, Debug)]
pub struct Deploy<'a> {
    /// The map; absent if the request has none.
    pub declared: Option<&'a Declared>,
    /// `containers` of the request.
    pub containers: &'a [Container],
    /// What the code exports.
    pub code: &'a Exports,
    /// Whether what the request leaves out is as it was. Otherwise a map that is left out is an empty one.
    pub keeps: bool,
}

impl Lifecycle {
    /// That of a Worker whose map is known and nothing else.
    pub fn declaring(declared: &Declared) -> Self {
        Self {
            used: declared.has_classes(),
            declared: declared.without_tombstones(),
            ..Self::default()
        }
    }

    /// What the last deploy has declared, without tombstones. A request that replaces nothing but code is reconciled
    /// with this again.
    pub fn declared(&self) -> &Declared {
        &self.declared
    }

    /// The live entries as the API shows them; `None` if there are none.
    pub fn shown(&self) -> Option<Value> {
        self.declared.shown()
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
        self.declared.live(class)
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

    /// What is left behind by one more deploy, which changes the namespaces of the account. On an error the account is
    /// not usable any more; callers work on a copy.
    pub fn deploy(
        &self,
        account: &mut Account,
        script: &str,
        deploy: Deploy<'_>,
    ) -> Result<Self, ApiFailure> {
        let empty = Declared::default();
        let mut after = self.clone();
        after.report = None;
        let declared = match deploy.declared {
            Some(declared) => declared,
            None if deploy.keeps => return Ok(after),
            None => &empty,
        };
        after.declared = declared.without_tombstones();
        if self.used || declared.has_classes() {
            let report = reconcile(
                account,
                script,
                self,
                declared,
                deploy.containers,
                deploy.code,
            )?;
            after.used = true;
            after.report = declared.has_classes().then_some(report);
        }
        after.received.retain(|id, _| {
            account
                .namespace_by_id(id)
                .is_some_and(|ns| ns.script == script)
        });
        Ok(after)
    }
}

/// One request uses one of the two ways. Entrypoints and workflows are no classes and go with both.
pub fn check_exclusive(
    declared: Option<&Declared>,
    migrations: Option<&Migrations>,
) -> Result<(), ApiFailure> {
    if declared.is_some_and(Declared::has_classes) && migrations.is_some() {
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
    declared: Option<&Declared>,
    drafts: &[Draft],
) -> Result<(), ApiFailure> {
    let Some(declared) = declared else {
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
        let class = draft.local_class(script)?;
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

/// Versions that share the traffic declare the same: 100405.
pub fn check_same<'a>(
    versions: impl IntoIterator<Item = Option<&'a Declared>>,
) -> Result<(), ApiFailure> {
    let mut versions = versions
        .into_iter()
        .map(|declared| declared.cloned().unwrap_or_default());
    let Some(first) = versions.next() else {
        return Ok(());
    };
    if versions.all(|other| other == first) {
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
