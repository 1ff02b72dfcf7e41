//! The history of a Worker: its versions, and the deployments that say which of them are served. Pure.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use super::account::Account;
use super::bindings::{Binding, Target};
use super::exports::{self, Declaration, Deploy, Lifecycle};
use super::failure::ApiFailure;
use super::migrations::check_exports;
use super::script::{Code, Script, Settings};

/// How many versions and how many deployments of a Worker are kept.
pub const KEPT: usize = 100;

/// Everything that an upload fixes. A version never changes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Version {
    /// A UUID with hyphens.
    pub id: String,
    /// Counts the versions of the Worker from 1.
    pub number: u64,
    /// When it was made.
    pub created_on: String,
    /// Through what it was made: `api`, `wrangler` or `dash`.
    pub source: String,
    /// `workers/message`, `workers/tag` and `workers/triggered_by`.
    pub annotations: Map<String, Value>,
    /// What runs.
    pub code: Code,
    /// The settings, without those that belong to the Worker.
    pub settings: Settings,
    /// The bindings, secrets included.
    pub bindings: Vec<Binding>,
    /// What it declares of its classes; reconciled whenever the version is deployed.
    #[serde(default)]
    pub declaration: Declaration,
    /// The Worker's migration tag when the version was made.
    pub migration_tag: Option<String>,
    /// The Worker's count of migrations when the version was made.
    pub migrations: u64,
}

/// Which versions are served. The runtime has no split: of several versions the one with the largest share gets all
/// requests, the first of equals.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Deployment {
    /// A UUID with hyphens.
    pub id: String,
    /// When it was made.
    pub created_on: String,
    /// Through what it was made.
    pub source: String,
    /// `workers/message` and `workers/triggered_by`.
    pub annotations: Map<String, Value>,
    /// The versions and their shares, as they were asked for.
    pub versions: Vec<Share>,
}

/// A version's part of the traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// The version.
    pub version_id: String,
    /// Its part in percent, as it was sent.
    pub percentage: Number,
}

impl Share {
    /// All of the traffic.
    pub fn whole(version_id: &str) -> Self {
        Self {
            version_id: version_id.into(),
            percentage: 100.into(),
        }
    }

    fn percent(&self) -> f64 {
        self.percentage.as_f64().unwrap_or_default()
    }
}

impl Deployment {
    /// The version that gets the requests.
    pub fn served(&self) -> &str {
        let largest = self.versions.iter().reduce(|best, share| {
            if share.percent() > best.percent() {
                share
            } else {
                best
            }
        });
        largest.map_or("", |share| share.version_id.as_str())
    }
}

/// Who makes a version or deployment, when and why.
#[derive(Clone, Debug)]
pub struct Occasion<'a> {
    /// The time.
    pub now: &'a str,
    /// Through what: `api`, `wrangler` or `dash`.
    pub source: &'a str,
    /// `workers/triggered_by` and what the client says about it.
    pub annotations: Map<String, Value>,
}

impl<'a> Occasion<'a> {
    /// With the client's own annotations, checked before.
    pub fn new(
        now: &'a str,
        source: &'a str,
        triggered_by: &str,
        mut annotations: Map<String, Value>,
    ) -> Self {
        annotations.insert("workers/triggered_by".into(), triggered_by.into());
        Self {
            now,
            source,
            annotations,
        }
    }
}

/// Checks the annotations of a request: a message is cut after 1000 bytes, a longer tag than 100 bytes is refused.
pub fn annotations(value: Option<&Value>) -> Result<Map<String, Value>, ApiFailure> {
    let mut found = Map::new();
    let given = match value {
        None | Some(Value::Null) => return Ok(found),
        Some(Value::Object(given)) => given,
        Some(_) => {
            return Err(ApiFailure::invalid(
                "json: cannot unmarshal into field annotations: an object is expected",
            ));
        }
    };
    for name in ["workers/message", "workers/tag"] {
        let text = match given.get(name) {
            None | Some(Value::Null) => continue,
            Some(Value::String(text)) => text,
            Some(_) => {
                return Err(ApiFailure::invalid(format!(
                    "json: cannot unmarshal into field annotations.{name}: a string is expected"
                )));
            }
        };
        if name == "workers/tag" && text.len() > 100 {
            return Err(ApiFailure::invalid(
                "The annotation workers/tag is longer than 100 bytes.",
            ));
        }
        let end = text.floor_char_boundary(1000);
        found.insert(name.into(), text[..end].into());
    }
    Ok(found)
}

impl Script {
    /// The newest version, whether it is served or not.
    pub fn latest(&self) -> Option<&Arc<Version>> {
        self.versions.last()
    }

    /// A version by its id.
    pub fn version(&self, id: &str) -> Option<&Arc<Version>> {
        self.versions.iter().find(|version| version.id == id)
    }

    /// The version that gets the requests.
    pub fn served_version(&self) -> Option<&Arc<Version>> {
        self.version(self.deployments.first()?.served())
    }

    /// Whether the newest version, and no other, is served.
    pub fn is_latest_served(&self) -> bool {
        match (self.deployments.first(), self.latest()) {
            (Some(now), Some(latest)) => {
                now.versions.len() == 1 && now.versions[0].version_id == latest.id
            }
            _ => false,
        }
    }

    /// The id of the version that is served, as uploads and `services` show it: without hyphens.
    pub fn deployment_id(&self) -> String {
        self.served_version()
            .map(|version| version.id.replace('-', ""))
            .unwrap_or_default()
    }

    /// Adds a version. The oldest ones are forgotten, never one that is served.
    fn record(&mut self, version: Version) {
        self.versions.push(Arc::new(version));
        let served = self.deployments.first().cloned();
        let is_served = |id: &str| {
            served
                .iter()
                .flat_map(|deployment| &deployment.versions)
                .any(|share| share.version_id == id)
        };
        let mut surplus = self.versions.len().saturating_sub(KEPT);
        self.versions.retain(|version| {
            let forgotten = surplus > 0 && !is_served(&version.id);
            surplus -= usize::from(forgotten);
            !forgotten
        });
    }

    /// Serves what a deployment says. The settings of the Worker stay.
    fn deploy(&mut self, deployment: Deployment) {
        if let Some(version) = self.version(deployment.served()).cloned() {
            self.code = version.code.clone();
            self.settings = version.settings.with_those_of_worker(&self.settings);
            self.bindings.clone_from(&version.bindings);
        }
        self.modified_on.clone_from(&deployment.created_on);
        self.deployments.insert(0, Arc::new(deployment));
        self.deployments.truncate(KEPT);
    }
}

/// What a new version is made of.
#[derive(Clone, Debug)]
pub struct Content {
    /// What runs.
    pub code: Code,
    /// The settings; those of the Worker in it are left out.
    pub settings: Settings,
    /// The resolved bindings.
    pub bindings: Vec<Binding>,
}

/// Adds a version to a Worker that is there and returns its id. What is served does not change.
pub fn add_version(
    account: &mut Account,
    script: &str,
    content: Content,
    occasion: &Occasion<'_>,
) -> Result<String, ApiFailure> {
    let id = account.issue_uuid();
    let script = account
        .scripts
        .get_mut(script)
        .ok_or_else(ApiFailure::no_worker)?;
    let Content {
        code,
        settings,
        bindings,
    } = content;
    script.record(Version {
        id: id.clone(),
        number: script.latest().map_or(1, |version| version.number + 1),
        created_on: occasion.now.into(),
        source: occasion.source.into(),
        annotations: occasion.annotations.clone(),
        code,
        settings: settings.of_version(),
        bindings,
        declaration: script.exports.declaration().clone(),
        migration_tag: script.migration_tag.clone(),
        migrations: script.migrations,
    });
    Ok(id)
}

/// Gives the newest version of a Worker another declaration of its classes than the deployed one.
pub(super) fn declare(account: &mut Account, script: &str, declaration: Declaration) {
    let script = account.scripts.get_mut(script);
    if let Some(version) = script.and_then(|script| script.versions.last_mut()) {
        Arc::make_mut(version).declaration = declaration;
    }
}

/// Serves versions of a Worker; the caller has checked that they can be.
fn add_deployment(
    account: &mut Account,
    script: &str,
    versions: Vec<Share>,
    occasion: &Occasion<'_>,
) -> Result<Arc<Deployment>, ApiFailure> {
    let id = account.issue_uuid();
    account.serving += 1;
    let script = account
        .scripts
        .get_mut(script)
        .ok_or_else(ApiFailure::no_worker)?;
    script.deploy(Deployment {
        id,
        created_on: occasion.now.into(),
        source: occasion.source.into(),
        annotations: occasion.annotations.clone(),
        versions,
    });
    Ok(script.deployments[0].clone())
}

/// Adds a version and serves it alone, as an upload does.
pub fn release(
    account: &mut Account,
    script: &str,
    content: Content,
    occasion: &Occasion<'_>,
) -> Result<(), ApiFailure> {
    let id = add_version(account, script, content, occasion)?;
    let mut occasion = occasion.clone();
    occasion.annotations.remove("workers/tag");
    add_deployment(account, script, vec![Share::whole(&id)], &occasion)?;
    Ok(())
}

/// Makes a version of every Worker that is not served as its history says: the dashboard has edited it.
pub fn record_edits(account: &mut Account, now: &str) {
    let edited: Vec<(String, Content)> = account
        .scripts
        .iter()
        .filter(|(_, script)| {
            script.served_version().is_none_or(|version| {
                version.code.etag != script.code.etag
                    || version.bindings != script.bindings
                    || version.settings != script.settings.of_version()
            })
        })
        .map(|(name, script)| {
            let content = Content {
                code: script.code.clone(),
                settings: script.settings.clone(),
                bindings: script.bindings.clone(),
            };
            (name.clone(), content)
        })
        .collect();
    for (name, content) in edited {
        let occasion = Occasion::new(now, "dash", "upload", Map::new());
        release(account, &name, content, &occasion).expect("the Worker was found above");
    }
}

/// A request to serve versions that are there already.
#[derive(Clone, Debug)]
pub struct Rollout {
    /// The versions and their shares.
    pub versions: Vec<Share>,
    /// Whether an older version is served although secrets have changed since.
    pub force: bool,
}

impl Rollout {
    /// Checks the shape: one or two different versions, together 100 percent.
    pub fn parse(body: &Value, force: bool) -> Result<Self, ApiFailure> {
        if body.get("strategy").and_then(Value::as_str) != Some("percentage") {
            return Err(ApiFailure::invalid(
                "`strategy` of a deployment must be \"percentage\"",
            ));
        }
        let versions: Vec<Share> =
            serde_json::from_value(body.get("versions").cloned().unwrap_or_default())
                .map_err(|error| ApiFailure::invalid(format!("versions: {error}")))?;
        let different = match &versions[..] {
            [_] => true,
            [one, other] => one.version_id != other.version_id,
            _ => false,
        };
        if !different {
            return Err(ApiFailure::invalid(
                "A deployment has one version or two different versions.",
            ));
        }
        let total: f64 = versions.iter().map(Share::percent).sum();
        let in_range = |share: &Share| (0.0..=100.0).contains(&share.percent());
        if !versions.iter().all(in_range) || (total - 100.0).abs() > 0.001 {
            return Err(ApiFailure::invalid(
                "The percentages of a deployment's versions must add up to 100.",
            ));
        }
        Ok(Self { versions, force })
    }
}

/// Serves versions that are there already.
pub fn roll_out(
    account: &mut Account,
    name: &str,
    rollout: Rollout,
    occasion: &Occasion<'_>,
) -> Result<Arc<Deployment>, ApiFailure> {
    let script = account
        .scripts
        .get(name)
        .ok_or_else(ApiFailure::no_worker)?;
    let found = |share: &Share| {
        let version = script.version(&share.version_id).cloned();
        version.ok_or_else(|| ApiFailure::new(404, 10071, "The version could not be found."))
    };
    let versions: Vec<Arc<Version>> = rollout
        .versions
        .iter()
        .map(found)
        .collect::<Result<_, _>>()?;
    exports::check_same(
        script.exports.declaration(),
        versions.iter().map(|version| &version.declaration),
    )?;
    let mut next = account.clone();
    for version in &versions {
        let lifecycle = reconciled(&mut next, name, script, version)?;
        if !rollout.force {
            check_secrets(script, version)?;
        }
        let script = next.scripts.get_mut(name).expect("it was found above");
        script.exports = lifecycle;
    }
    let deployment = add_deployment(&mut next, name, rollout.versions, occasion)?;
    *account = next;
    Ok(deployment)
}

/// Whether a version can be served with the classes and targets that there are now.
pub fn check_deployable(
    account: &Account,
    name: &str,
    script: &Script,
    version: &Version,
) -> Result<(), ApiFailure> {
    reconciled(&mut account.clone(), name, script, version).map(|_| ())
}

/// Makes the classes what a version declares, and checks that it can be served then.
fn reconciled(
    account: &mut Account,
    name: &str,
    script: &Script,
    version: &Version,
) -> Result<Lifecycle, ApiFailure> {
    let lifecycle = script.exports.deploy(
        account,
        name,
        Deploy {
            declaration: &version.declaration,
            code: &version.code.exports,
            recoded: true,
            keeps: false,
        },
    )?;
    check_targets(account, name, script, version)?;
    Ok(lifecycle)
}

fn check_targets(
    account: &Account,
    name: &str,
    script: &Script,
    version: &Version,
) -> Result<(), ApiFailure> {
    check_exports(account, name, &version.code.exports)?;
    account
        .stores
        .check_handlers(&script.tag, &version.code.exports)?;
    if version.migrations != script.migrations {
        // The rule is documented; code and text of the refusal are not.
        return Err(ApiFailure::refused(
            10021,
            format!(
                "Version {} cannot be deployed because a Durable Object migration has been applied since it was \
                 uploaded.",
                version.id
            ),
        ));
    }
    for binding in &version.bindings {
        match &binding.target {
            Target::Namespace(id) if account.namespace_by_id(id).is_none() => {
                return Err(ApiFailure::refused(
                    10061,
                    format!(
                        "Cannot create binding '{}' because its Durable Object namespace does not exist any more.",
                        binding.name
                    ),
                ));
            }
            Target::Worker(tag) if account.name_of(tag).is_none() => {
                return Err(ApiFailure::refused(
                    10143,
                    format!(
                        "Service binding '{}' references Worker '{}' which was not found.",
                        binding.name,
                        binding.text("service").unwrap_or_default()
                    ),
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// An older version brings its old secrets back: 10220, and the client has to insist.
fn check_secrets(script: &Script, version: &Version) -> Result<(), ApiFailure> {
    let Some(now) = script.served_version() else {
        return Ok(());
    };
    if version.number >= now.number {
        return Ok(());
    }
    let same = |binding: &Binding, others: &[Binding]| {
        others
            .iter()
            .any(|other| other.name == binding.name && other.members == binding.members)
    };
    let mut changed: Vec<&str> = now
        .bindings
        .iter()
        .filter(|binding| binding.is_secret() && !same(binding, &version.bindings))
        .chain(
            version
                .bindings
                .iter()
                .filter(|binding| binding.is_secret() && !same(binding, &now.bindings)),
        )
        .map(|binding| binding.name.as_str())
        .collect();
    changed.sort_unstable();
    changed.dedup();
    if changed.is_empty() {
        return Ok(());
    }
    // Clients read the names after the colon.
    Err(ApiFailure::refused(
        10220,
        format!(
            "Cannot roll back to version {} because secrets have changed since it was deployed. The following secrets \
             have changed: {}",
            version.id,
            changed.join(", ")
        ),
    ))
}

/// Forgets a deployment that is not the newest one.
pub fn forget_deployment(account: &mut Account, name: &str, id: &str) -> Result<(), ApiFailure> {
    let script = account
        .scripts
        .get_mut(name)
        .ok_or_else(ApiFailure::no_worker)?;
    match script.deployments.iter().position(|it| it.id == id) {
        None => Err(no_deployment()),
        Some(0) => Err(ApiFailure::invalid(
            "The latest deployment, which is actively serving traffic, cannot be deleted.",
        )),
        Some(place) => {
            script.deployments.remove(place);
            Ok(())
        }
    }
}

/// No deployment has the id: 10336.
pub fn no_deployment() -> ApiFailure {
    ApiFailure::new(404, 10336, "The deployment could not be found.")
}

#[cfg(test)]
#[path = "versions_tests.rs"]
mod tests;
