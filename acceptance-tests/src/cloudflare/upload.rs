//! An upload or a change of settings, from its metadata to the new state of the account. It is committed as a whole
//! or changes nothing. Pure: the modules have been run before; what they export comes in as a value.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::account::{Account, Plan, check_script_name};
use super::assets::{self, AssetsDraft};
use super::bindings::{self, Binding, Draft, Inheritance, Target};
use super::clock;
use super::failure::ApiFailure;
use super::migrations::{Migrations, check_exports};
use super::script::{Code, STORED_SETTINGS, Script, ScriptSubdomain, Settings};

/// The `metadata` (or `settings`) of a request after its shape was checked.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    /// The part that is started.
    pub main_module: Option<String>,
    migrations: Option<Migrations>,
    bindings: Option<Vec<Draft>>,
    keep: BTreeSet<String>,
    /// Static assets, and whether those of the version before stay when none are given.
    pub assets: Option<AssetsDraft>,
    keep_assets: bool,
    fields: Map<String, Value>,
}

impl Metadata {
    /// Checks names and JSON types of everything that is acted on; unknown fields are ignored.
    pub fn parse(value: &Value) -> Result<Self, ApiFailure> {
        let fields = value
            .as_object()
            .ok_or_else(|| ApiFailure::invalid("metadata must be a JSON object"))?;
        let get = |name: &str| fields.get(name).filter(|value| !value.is_null());
        for (name, what) in [
            ("body_part", "Service Worker syntax"),
            ("exports", "exports"),
        ] {
            if get(name).is_some() {
                return Err(ApiFailure::invalid(format!(
                    "{what}: not available on local Cloudflare"
                )));
            }
        }
        let wrong = |name: &str, want: &str| {
            ApiFailure::invalid(format!(
                "json: cannot unmarshal into field ScriptMetadata.{name}: {want} is expected"
            ))
        };
        for name in ["main_module", "compatibility_date"] {
            if get(name).is_some_and(|value| !value.is_string()) {
                return Err(wrong(name, "a string"));
            }
        }
        for name in ["tags", "compatibility_flags", "keep_bindings"] {
            let texts = |value: &Value| {
                value
                    .as_array()
                    .is_some_and(|list| list.iter().all(Value::is_string))
            };
            if get(name).is_some_and(|value| !texts(value)) {
                return Err(wrong(name, "an array of strings"));
            }
        }
        for name in ["logpush", "keep_assets"] {
            if get(name).is_some_and(|value| !value.is_boolean()) {
                return Err(wrong(name, "a boolean"));
            }
        }
        if let Some(date) = get("compatibility_date").and_then(Value::as_str)
            && !clock::is_date(date)
        {
            return Err(ApiFailure::invalid(format!(
                "Invalid compatibility date: \"{date}\""
            )));
        }
        Ok(Self {
            main_module: get("main_module")
                .and_then(Value::as_str)
                .map(str::to_owned),
            migrations: Migrations::parse(fields.get("migrations").unwrap_or(&Value::Null))?,
            bindings: get("bindings").map(bindings::parse).transpose()?,
            keep: strings(get("keep_bindings")).into_iter().collect(),
            assets: get("assets").map(AssetsDraft::parse).transpose()?,
            keep_assets: get("keep_assets").and_then(Value::as_bool) == Some(true),
            fields: fields.clone(),
        })
    }

    /// Whether the upload may be one of static assets alone, without code.
    pub fn brings_assets(&self) -> bool {
        self.assets.is_some() || self.keep_assets
    }

    /// The settings after this request: those given replace those of `base`.
    pub fn settings(&self, base: Settings) -> Settings {
        let mut settings = base;
        for (name, value) in &self.fields {
            match name.as_str() {
                "compatibility_date" => {
                    settings.compatibility_date = value.as_str().map(str::to_owned)
                }
                "compatibility_flags" => settings.compatibility_flags = strings(Some(value)),
                "tags" => settings.tags = strings(Some(value)),
                "logpush" => settings.logpush = value.as_bool().unwrap_or(false),
                other if STORED_SETTINGS.contains(&other) => {
                    settings.others.insert(name.clone(), value.clone());
                }
                _ => {}
            }
        }
        settings
    }

    /// The tags that the request sets, checked.
    fn check_tags(&self) -> Result<(), ApiFailure> {
        let tags = strings(self.fields.get("tags"));
        // The numeric codes of the tag limits are not published.
        if tags.len() > 10 {
            return Err(ApiFailure::new(
                403,
                10021,
                "You have exceeded the limit of 10 tags per Worker. Remove a tag to add another.",
            ));
        }
        for tag in tags {
            if tag.len() > 1024 {
                return Err(ApiFailure::invalid("Tag is too large"));
            }
            if tag.contains([',', '&']) {
                return Err(ApiFailure::invalid("Tag contains an invalid character"));
            }
        }
        Ok(())
    }
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// What is done to a Worker.
#[derive(Clone, Debug)]
pub struct Upload {
    /// The Worker's name.
    pub script: String,
    /// The request.
    pub metadata: Metadata,
    /// New code; absent when only settings change.
    pub code: Option<Code>,
    /// `bindings_inherit=strict`.
    pub strict: bool,
}

/// What can be refused before the code was run.
pub fn check_request(
    account: &Account,
    script: &str,
    metadata: &Metadata,
) -> Result<(), ApiFailure> {
    check_script_name(script)?;
    metadata.check_tags()?;
    if account.subdomain.is_none() {
        return Err(no_subdomain());
    }
    let limit = if account.plan == Plan::Free { 100 } else { 500 };
    if !account.scripts.contains_key(script) && account.scripts.len() >= limit {
        return Err(ApiFailure::new(
            403,
            10037,
            format!("You have exceeded the limit of {limit} Workers on your account."),
        ));
    }
    Ok(())
}

/// There is nothing to start.
pub fn no_main_module() -> ApiFailure {
    ApiFailure::invalid("metadata must have a valid `main_module` specified")
}

/// The account has no workers.dev subdomain: 10063.
pub fn no_subdomain() -> ApiFailure {
    ApiFailure::refused(
        10063,
        "You need a workers.dev subdomain in order to proceed. Please go to the dashboard and open the Workers menu. \
         Opening the Workers landing page for the first time will create a workers.dev subdomain automatically.",
    )
}

/// Applies an upload (with code) or a change of settings (without) at time `now`.
pub fn apply_upload(account: &mut Account, upload: Upload, now: &str) -> Result<(), ApiFailure> {
    check_request(account, &upload.script, &upload.metadata)?;
    let mut next = account.clone();
    let name = upload.script.as_str();
    let before = account.scripts.get(name);
    let code = match (&upload.code, before) {
        (Some(code), _) => {
            let mut code = code.clone();
            code.assets = assets::after(
                code.assets,
                upload.metadata.assets.as_ref(),
                upload.metadata.keep_assets,
                before.and_then(|script| script.code.assets.as_ref()),
            )?;
            if code.assets.is_none() && code.modules.is_empty() {
                return Err(no_main_module());
            }
            code
        }
        (None, Some(script)) => script.code.clone(),
        (None, None) => return Err(ApiFailure::no_worker()),
    };

    let mut migration_tag = before.and_then(|script| script.migration_tag.clone());
    let empty = Migrations::default();
    let migrations = upload.metadata.migrations.as_ref().unwrap_or(&empty);
    if upload.metadata.migrations.is_some() {
        migrations.check_tag(migration_tag.as_deref())?;
        if let Some(tag) = &migrations.new_tag {
            migration_tag = Some(tag.clone()).filter(|tag| !tag.is_empty());
        }
    }
    migrations.apply(&mut next, name, &code.exports)?;
    check_exports(&next, name, &code.exports)?;

    // A Worker may bind itself as a service in its first upload, so it is there before its bindings are resolved.
    let tag = before.map_or_else(|| next.issue_id(), |script| script.tag.clone());
    let base = if upload.code.is_some() {
        Settings::default()
    } else {
        before
            .map(|script| script.settings.clone())
            .unwrap_or_default()
    };
    let old_bindings = before.map_or(&[][..], |script| &script.bindings);
    let deployment_id = next.issue_id();
    next.scripts.insert(
        name.into(),
        Script {
            tag,
            deployment_id,
            created_on: before.map_or_else(|| now.to_owned(), |script| script.created_on.clone()),
            modified_on: now.into(),
            code,
            settings: upload.metadata.settings(base),
            bindings: old_bindings.to_vec(),
            migration_tag,
            subdomain: before.map_or(ScriptSubdomain::default(), |script| script.subdomain),
            schedules: before.map_or(Vec::new(), |script| script.schedules.clone()),
        },
    );

    let drafts = match &upload.metadata.bindings {
        Some(drafts) => Some(drafts.clone()),
        None => upload.code.is_some().then(Vec::new),
    };
    check_deleted(account, name, migrations, drafts.as_deref(), old_bindings)?;
    if let Some(drafts) = drafts {
        let inheritance = Inheritance {
            keep: upload.metadata.keep.clone(),
            strict: upload.strict,
        };
        let resolved = bindings::resolve(&next, name, old_bindings, drafts, &inheritance)?;
        next.scripts.get_mut(name).expect("inserted above").bindings = resolved;
    }
    let script = &next.scripts[name];
    if script.code.assets.is_none() && script.bindings.iter().any(|b| b.kind == "assets") {
        return Err(assets::no_assets());
    }
    next.serving += 1;
    *account = next;
    Ok(())
}

/// A class is deleted only when nothing binds it: not this upload, nor this Worker's binding of the same name with
/// another class, nor another Worker. 10061.
fn check_deleted(
    account: &Account,
    script: &str,
    migrations: &Migrations,
    drafts: Option<&[Draft]>,
    before: &[Binding],
) -> Result<(), ApiFailure> {
    for class in migrations.deleted() {
        let Some(namespace) = account.namespace(script, class) else {
            continue;
        };
        let reached = |binding: &Binding| binding.target == Target::Namespace(namespace.id.clone());
        let kept = |name: &str| {
            before
                .iter()
                .any(|binding| binding.name == name && reached(binding))
        };
        let here = match drafts {
            Some(drafts) => drafts.iter().any(|draft| {
                draft.class() == Some(class)
                    || draft.namespace_id() == Some(namespace.id.as_str())
                    || draft.inherits().is_some_and(kept)
                    || draft.is_durable_object() && kept(draft.name())
            }),
            None => before.iter().any(reached),
        };
        let elsewhere = account
            .bindings_to_namespaces(|ns| ns.id == namespace.id)
            .any(|(name, _, _)| name != script);
        if here || elsewhere {
            return Err(ApiFailure::refused(
                10061,
                format!(
                    "Cannot apply --delete-class migration to class '{class}' without also removing the binding that \
                 references it."
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "upload_tests.rs"]
mod tests;
