//! An upload or a change of settings, from its metadata to the new state of the account. It is committed as a whole
//! or changes nothing. Pure: the modules have been run before; what they export comes in as a value.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::account::{Account, Plan, Secrets, check_script_name};
use super::assets::{self, AssetsDraft};
use super::bindings::{self, BLOBS, Binding, Draft, Inheritance, SECRETS, Target};
use super::clock;
use super::dispatch;
use super::exports::{self, Declaration, Deploy, Lifecycle};
use super::failure::ApiFailure;
use super::migrations::{Migrations, check_exports};
use super::runtime::ModuleFile;
use super::script::{Code, Entry, STORED_SETTINGS, Script, Settings, Syntax};
use super::versions::{self, Content, Occasion};

/// All modules of a Worker together: 64 MiB.
const LARGEST_CODE: usize = 64 << 20;

const MOST_TAGS: usize = 10;

/// The `metadata` (or `settings`) of a request after its shape was checked.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    /// The part that is started.
    pub entry: Option<Entry>,
    /// What the client says about the new version.
    pub annotations: Map<String, Value>,
    migrations: Option<Migrations>,
    declaration: Declaration,
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
        let wrong = |name: &str, want: &str| {
            ApiFailure::invalid(format!(
                "json: cannot unmarshal into field ScriptMetadata.{name}: {want} is expected"
            ))
        };
        for name in [
            "main_module",
            "body_part",
            "compatibility_date",
            "usage_model",
        ] {
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
        if let Some(model) = get("usage_model").and_then(Value::as_str)
            && !["standard", "bundled", "unbound"].contains(&model)
        {
            return Err(ApiFailure::invalid(format!(
                "Invalid usage model: \"{model}\""
            )));
        }
        let part = |name: &str| get(name).and_then(Value::as_str).map(str::to_owned);
        let entry = match (part("main_module"), part("body_part")) {
            (Some(_), Some(_)) => {
                return Err(ApiFailure::invalid(
                    "metadata must have one of `main_module` and `body_part`, not both",
                ));
            }
            (Some(part), None) => Some(Entry {
                part,
                syntax: Syntax::Modules,
            }),
            (None, Some(part)) => Some(Entry {
                part,
                syntax: Syntax::ServiceWorker,
            }),
            (None, None) => None,
        };
        let migrations = Migrations::parse(fields.get("migrations").unwrap_or(&Value::Null))?;
        let declaration = Declaration::parse(get("exports"), get("containers"))?;
        exports::check_exclusive(&declaration, migrations.as_ref())?;
        Ok(Self {
            entry,
            annotations: versions::annotations(fields.get("annotations"))?,
            migrations,
            declaration,
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

    /// The bindings after this request with nothing looked up: those given, and what stays of those of before.
    pub fn expected_bindings(&self, before: &[Binding], secrets: Secrets) -> Vec<Binding> {
        let drafts = || self.bindings.iter().flatten();
        let mut expected: Vec<Binding> = drafts()
            .filter_map(|draft| match draft.inherits() {
                None => Some(draft.alone()),
                Some(source) => {
                    let source = before.iter().find(|binding| binding.name == source)?;
                    let name = draft.name().to_owned();
                    Some(Binding {
                        name,
                        ..source.clone()
                    })
                }
            })
            .collect();
        let kept = before.iter().filter(|binding| {
            let kept = self.keep.contains(&binding.kind)
                || secrets == Secrets::Kept && binding.is_secret();
            kept && !drafts().any(|draft| draft.name() == binding.name)
        });
        expected.extend(kept.cloned());
        expected
    }

    /// Whether the request says what is bound.
    pub fn gives_bindings(&self) -> bool {
        self.bindings.is_some()
    }

    /// Whether a usage model is asked for that needs a paid account.
    fn wants_paid_usage(&self) -> bool {
        let model = self.fields.get("usage_model").and_then(Value::as_str);
        matches!(model, Some("unbound"))
    }

    /// The tags that the request sets, checked.
    fn check_tags(&self, most: usize) -> Result<(), ApiFailure> {
        let tags = strings(self.fields.get("tags"));
        // The numeric codes of the tag limits are not published.
        if tags.len() > most {
            return Err(ApiFailure::new(
                403,
                10021,
                format!(
                    "You have exceeded the limit of {most} tags per Worker. Remove a tag to add another."
                ),
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
    /// What becomes of settings and bindings that the request does not mention.
    pub unmentioned: Unmentioned,
    /// `bindings_inherit=strict`.
    pub strict: bool,
    /// Through what it was sent: `api` or `wrangler`.
    pub source: String,
}

/// What becomes of settings and bindings that a request does not mention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmentioned {
    /// They are reset.
    Reset,
    /// They stay.
    Stay,
}

/// What can be refused before the code was run.
pub fn check_request(
    account: &Account,
    script: &str,
    metadata: &Metadata,
) -> Result<(), ApiFailure> {
    check_script_name(dispatch::name(script))?;
    let namespace = dispatch::namespace(script);
    if let Some(namespace) = namespace {
        account.dispatch_namespace(namespace)?;
    }
    metadata.check_tags(if namespace.is_some() {
        dispatch::MOST_TAGS
    } else {
        MOST_TAGS
    })?;
    if account.plan == Plan::Free && metadata.wants_paid_usage() {
        return Err(ApiFailure::new(
            403,
            10075,
            "The usage model is not available to your account.",
        ));
    }
    if namespace.is_some() {
        return Ok(());
    }
    if account.subdomain.is_none() {
        return Err(no_subdomain());
    }
    let limit = if account.plan == Plan::Free { 100 } else { 500 };
    if !account.scripts.contains_key(script) && account.workers().count() >= limit {
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

/// Refuses parts that are too large together: 10027.
pub fn check_size(modules: &[ModuleFile]) -> Result<(), ApiFailure> {
    let size: usize = modules
        .iter()
        .filter(|module| module.content_type != "application/source-map")
        .map(|module| module.body.len())
        .sum();
    if size > LARGEST_CODE {
        return Err(ApiFailure::refused(
            10027,
            "workers.api.error.script_too_large",
        ));
    }
    Ok(())
}

/// Refuses bindings to parts that are not there, and those that only classic scripts can have.
pub fn check_blobs(
    bindings: &[Binding],
    syntax: Syntax,
    modules: &[ModuleFile],
) -> Result<(), ApiFailure> {
    for binding in bindings {
        let kind = binding.kind.as_str();
        if !BLOBS.contains(&kind) {
            continue;
        }
        if syntax == Syntax::Modules {
            return Err(ApiFailure::invalid(format!(
                "binding {} of type {kind} is invalid: modules import such parts instead",
                binding.name
            )));
        }
        let part = binding.text("part").unwrap_or_default();
        if !modules.iter().any(|module| module.name == part) {
            return Err(ApiFailure::invalid(format!("No such module \"{part}\".")));
        }
    }
    Ok(())
}

/// The account has no workers.dev subdomain: 10063.
pub fn no_subdomain() -> ApiFailure {
    ApiFailure::refused(
        10063,
        "You need a workers.dev subdomain in order to proceed. Please go to the dashboard and open the Workers menu. \
         Opening the Workers landing page for the first time will create a workers.dev subdomain automatically.",
    )
}

/// Applies an upload (with code) or a change of settings (without) at time `now`: a new version, which is served.
pub fn apply_upload(account: &mut Account, upload: Upload, now: &str) -> Result<(), ApiFailure> {
    check_request(account, &upload.script, &upload.metadata)?;
    let name = upload.script.as_str();
    let before = account.scripts.get(name);
    let code = new_code(&upload, before)?;
    if upload.code.is_none() {
        check_latest_served(before)?;
    }
    let mut next = account.clone();
    let (migration_tag, lifecycle) = change_classes(&mut next, &upload, before, &code)?;
    if let Some(before) = before {
        next.stores.check_handlers(&before.tag, &code.exports)?;
    }

    // A Worker may bind itself as a service in its first upload, so it is there before its bindings are resolved.
    let settings = new_settings(&upload, before);
    place(&mut next, name, before, &code, &settings, now);
    let script = next.scripts.get_mut(name).expect("placed above");
    script.migrations += u64::from(upload.metadata.changes_classes());
    script.migration_tag = migration_tag;
    script.exports = lifecycle.clone();

    let drafts = upload.drafts();
    let migrated = upload.metadata.migrations.iter();
    let deleted = migrated
        .flat_map(Migrations::deleted)
        .chain(lifecycle.deleted());
    check_deleted(account, name, deleted, drafts, before)?;
    let bindings = match drafts {
        Some(drafts) => new_bindings(&next, &upload, drafts, before)?,
        None => before.map(|it| it.bindings.clone()).unwrap_or_default(),
    };
    check_blobs(&bindings, code.syntax, &code.modules)?;
    assets::check_bindings(&bindings, code.assets.as_ref())?;
    next.bind_stores(&bindings, now)?;

    let content = Content {
        code,
        settings,
        bindings,
    };
    let annotations = upload.metadata.annotations.clone();
    let occasion = Occasion::new(now, &upload.source, "upload", annotations);
    versions::release(&mut next, name, content, &occasion)?;
    *account = next;
    Ok(())
}

/// Adds a version that is not served yet and returns its id.
pub fn apply_version(
    account: &mut Account,
    upload: Upload,
    now: &str,
) -> Result<String, ApiFailure> {
    let name = upload.script.as_str();
    let before = account.scripts.get(name);
    if before.is_none() {
        return Err(ApiFailure::no_worker());
    }
    check_request(account, name, &upload.metadata)?;
    let code = new_code(&upload, before)?;
    let lifecycle = before.map_or_else(Lifecycle::default, |script| script.exports.clone());
    lifecycle.check_migrations(upload.metadata.migrations.as_ref())?;
    upload.metadata.check_nothing_pending(before)?;
    let drafts = upload.drafts().unwrap_or_default();
    let declaration = match upload.unmentioned {
        Unmentioned::Stay => lifecycle.or_kept(&upload.metadata.declaration),
        Unmentioned::Reset => &upload.metadata.declaration,
    };
    if lifecycle.reconciles(declaration) {
        exports::check_staged(account, name, declaration, drafts)?;
    } else {
        check_exports(account, name, &code.exports)?;
    }
    check_provisioned(account, name, drafts)?;
    let content = Content {
        bindings: new_bindings(account, &upload, drafts, before)?,
        settings: new_settings(&upload, before),
        code,
    };
    let annotations = upload.metadata.annotations.clone();
    let occasion = Occasion::new(now, &upload.source, "version_upload", annotations);
    check_blobs(
        &content.bindings,
        content.code.syntax,
        &content.code.modules,
    )?;
    assets::check_bindings(&content.bindings, content.code.assets.as_ref())?;
    let mut next = account.clone();
    next.bind_stores(&content.bindings, now)?;
    let id = versions::add_version(&mut next, name, content, &occasion)?;
    versions::declare(&mut next, name, declaration.clone());
    *account = next;
    Ok(id)
}

impl Upload {
    /// The bindings that the request gives; absent when those of before stay.
    fn drafts(&self) -> Option<&[Draft]> {
        match (&self.metadata.bindings, self.unmentioned) {
            (Some(drafts), _) => Some(drafts),
            (None, Unmentioned::Reset) => Some(&[]),
            (None, Unmentioned::Stay) => None,
        }
    }
}

impl Metadata {
    /// Whether it creates, renames, deletes or transfers a class.
    fn changes_classes(&self) -> bool {
        self.migrations
            .as_ref()
            .is_some_and(|migrations| !migrations.steps.is_empty())
    }

    /// Refuses migrations that have yet to be applied: 10211.
    fn check_nothing_pending(&self, script: Option<&Script>) -> Result<(), ApiFailure> {
        let stored = script.and_then(|script| script.migration_tag.as_deref());
        let new_tag = self
            .migrations
            .as_ref()
            .and_then(|migrations| migrations.new_tag.as_deref());
        if self.changes_classes() || new_tag.is_some_and(|tag| Some(tag) != stored) {
            return Err(ApiFailure::refused(
                10211,
                "Version upload failed. You attempted to upload a version of a Worker that includes a Durable Object \
                 migration, but migrations must be fully applied via a non-versioned deployment.",
            ));
        }
        Ok(())
    }
}

fn new_code(upload: &Upload, before: Option<&Script>) -> Result<Code, ApiFailure> {
    match (&upload.code, before) {
        (Some(code), _) => {
            let latest = before.and_then(Script::latest);
            let assets = assets::after(
                code.assets.clone(),
                upload.metadata.assets.as_ref(),
                upload.metadata.keep_assets || upload.unmentioned == Unmentioned::Stay,
                latest.and_then(|version| version.code.assets.as_ref()),
            )?;
            let code = Code {
                assets,
                ..code.clone()
            };
            if code.is_empty() {
                return Err(no_main_module());
            }
            Ok(code)
        }
        (None, Some(script)) => Ok(script.code.clone()),
        (None, None) => Err(ApiFailure::no_worker()),
    }
}

/// Settings alone are changed on what is served, which has to be the newest version: 10214.
fn check_latest_served(script: Option<&Script>) -> Result<(), ApiFailure> {
    match script {
        Some(script) if !script.is_latest_served() => Err(ApiFailure::refused(
            10214,
            "The settings cannot be changed because the latest version of the Worker is not deployed.",
        )),
        _ => Ok(()),
    }
}

/// Changes the namespaces in one of the two ways, and returns the migration tag and what declared classes leave behind.
fn change_classes(
    next: &mut Account,
    upload: &Upload,
    before: Option<&Script>,
    code: &Code,
) -> Result<(Option<String>, Lifecycle), ApiFailure> {
    let lifecycle = before.map_or_else(Lifecycle::default, |script| script.exports.clone());
    lifecycle.check_migrations(upload.metadata.migrations.as_ref())?;
    let mut tag = before.and_then(|script| script.migration_tag.clone());
    if let Some(migrations) = &upload.metadata.migrations {
        migrations.check_tag(tag.as_deref()).map_err(|failure| {
            match dispatch::namespace(&upload.script) {
                Some(_) => dispatch::tag_mismatch(tag.as_deref()),
                None => failure,
            }
        })?;
        if let Some(new) = &migrations.new_tag {
            tag = Some(new.clone()).filter(|tag| !tag.is_empty());
        }
        migrations.apply(next, &upload.script, &code.exports)?;
    }
    let deploy = Deploy {
        declaration: &upload.metadata.declaration,
        code: &code.exports,
        recoded: upload.code.is_some(),
        keeps: upload.unmentioned == Unmentioned::Stay,
    };
    let lifecycle = lifecycle.deploy(next, &upload.script, deploy)?;
    check_exports(next, &upload.script, &code.exports)?;
    Ok((tag, lifecycle))
}

fn new_settings(upload: &Upload, before: Option<&Script>) -> Settings {
    let base = match (upload.unmentioned, before) {
        (Unmentioned::Stay, Some(script)) => script.settings.clone(),
        _ => Settings::default(),
    };
    upload.metadata.settings(base)
}

/// Puts the Worker into the account, as yet with the bindings of before.
fn place(
    next: &mut Account,
    name: &str,
    before: Option<&Script>,
    code: &Code,
    settings: &Settings,
    now: &str,
) {
    let script = match before {
        Some(script) => Script {
            settings: settings.clone(),
            ..script.clone()
        },
        None => Script {
            code: code.clone(),
            settings: settings.clone(),
            ..Script::without_code(next.issue_id(), now)
        },
    };
    next.scripts.insert(name.into(), script);
}

/// Resolves the bindings of an upload; those it inherits come from the newest version. `account` already has the
/// namespaces as they are after the upload.
fn new_bindings(
    account: &Account,
    upload: &Upload,
    drafts: &[Draft],
    before: Option<&Script>,
) -> Result<Vec<Binding>, ApiFailure> {
    let mut keep = upload.metadata.keep.clone();
    if account.secrets == Secrets::Kept {
        keep.extend(SECRETS.map(str::to_owned));
    }
    let inheritance = Inheritance {
        keep,
        strict: upload.strict,
        versions: before.map_or(&[], |script| &script.versions),
    };
    let latest = before.and_then(Script::latest);
    let old = latest.map_or(&[][..], |version| &version.bindings);
    bindings::resolve(account, &upload.script, old, drafts.to_vec(), &inheritance)
}

/// A version cannot bind a class of its own Worker that no upload has created yet: 10123.
fn check_provisioned(account: &Account, name: &str, drafts: &[Draft]) -> Result<(), ApiFailure> {
    let own_class = |draft: &Draft| draft.own_class(name).map(str::to_owned);
    match drafts
        .iter()
        .filter_map(own_class)
        .find(|class| account.namespace(name, class).is_none())
    {
        None => Ok(()),
        // The text is not published.
        Some(class) => Err(ApiFailure::refused(
            10123,
            format!(
                "Cannot create binding for class '{class}' because its migration has not been applied. Apply it with a \
                 non-versioned deployment first."
            ),
        )),
    }
}

/// A class is deleted only when nothing binds it: not this upload, nor this Worker's binding of the same name with
/// another class, nor another Worker. 10061.
fn check_deleted<'a>(
    account: &Account,
    script: &str,
    deleted: impl Iterator<Item = &'a str>,
    drafts: Option<&[Draft]>,
    before: Option<&Script>,
) -> Result<(), ApiFailure> {
    let before = before.map_or(&[][..], |script| &script.bindings);
    for class in deleted {
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
