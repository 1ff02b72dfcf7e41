//! Durable Object migrations: the wire shape, the tag lock and what each step demands of the account. Pure.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::account::{Account, Namespace, NamespaceNames, Plan};
use super::dispatch;
use super::failure::{ApiFailure, json_kind};
use super::script::Exports;

/// The `migrations` object of an upload, its steps in one list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Migrations {
    /// The tag the client believes to be stored.
    pub old_tag: Option<String>,
    /// The tag to store.
    pub new_tag: Option<String>,
    /// What to do. Every source is judged by the version deployed before, not by earlier steps.
    pub steps: Vec<Step>,
}

/// One change of one class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A new namespace.
    New {
        /// The class.
        class: String,
        /// Whether its storage is SQLite.
        sqlite: bool,
    },
    /// The same namespace under another class.
    Rename {
        /// The class so far.
        from: String,
        /// The class from now on.
        to: String,
    },
    /// The namespace and its data go.
    Delete {
        /// The class.
        class: String,
    },
    /// Another Worker's namespace comes here.
    Transfer {
        /// The class there.
        from: String,
        /// The Worker that owns it.
        from_script: String,
        /// The class here.
        to: String,
    },
}

#[derive(Deserialize)]
struct Wire {
    old_tag: Option<String>,
    new_tag: Option<String>,
    steps: Option<Vec<Lists>>,
    #[serde(flatten)]
    single: Lists,
}

#[derive(Default, Deserialize)]
struct Lists {
    new_classes: Option<Vec<String>>,
    new_sqlite_classes: Option<Vec<String>>,
    renamed_classes: Option<Vec<Renamed>>,
    deleted_classes: Option<Vec<String>>,
    transferred_classes: Option<Vec<Transferred>>,
}

#[derive(Deserialize)]
struct Renamed {
    from: String,
    to: String,
}

#[derive(Deserialize)]
struct Transferred {
    from: String,
    from_script: String,
    to: String,
}

impl Lists {
    fn steps(self) -> impl Iterator<Item = Step> {
        let deleted = self.deleted_classes.into_iter().flatten();
        let renamed = self.renamed_classes.into_iter().flatten();
        let transferred = self.transferred_classes.into_iter().flatten();
        let kv = self.new_classes.into_iter().flatten();
        let sqlite = self.new_sqlite_classes.into_iter().flatten();
        deleted
            .map(|class| Step::Delete { class })
            .chain(renamed.map(|Renamed { from, to }| Step::Rename { from, to }))
            .chain(transferred.map(|t| Step::Transfer {
                from: t.from,
                from_script: t.from_script,
                to: t.to,
            }))
            .chain(kv.map(|class| Step::New {
                class,
                sqlite: false,
            }))
            .chain(sqlite.map(|class| Step::New {
                class,
                sqlite: true,
            }))
    }
}

impl Migrations {
    /// Reads the object of an upload; `null` is none.
    pub fn parse(value: &Value) -> Result<Option<Self>, ApiFailure> {
        if value.is_null() {
            return Ok(None);
        }
        if !value.is_object() {
            return Err(ApiFailure::invalid(format!(
                "json: cannot unmarshal {} into Go struct field ScriptMetadata.migrations of type ActorMigrations",
                json_kind(value)
            )));
        }
        let wire: Wire = serde_json::from_value(value.clone())
            .map_err(|error| ApiFailure::invalid(format!("migrations: {error}")))?;
        let steps = wire
            .single
            .steps()
            .chain(wire.steps.into_iter().flatten().flat_map(Lists::steps))
            .collect();
        Ok(Some(Self {
            old_tag: wire.old_tag,
            new_tag: wire.new_tag,
            steps,
        }))
    }

    /// The classes that lose their namespace.
    pub fn deleted(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter_map(|step| match step {
            Step::Delete { class } => Some(class.as_str()),
            _ => None,
        })
    }

    /// Compares the client's tag with the stored one: 412 and 10079 when they differ.
    pub fn check_tag(&self, stored: Option<&str>) -> Result<(), ApiFailure> {
        let (got, expected) = (self.old_tag.as_deref().unwrap_or(""), stored.unwrap_or(""));
        if got == expected {
            return Ok(());
        }
        Err(ApiFailure::new(
            412,
            10079,
            format!(
                "Actor migration tag precondition failed, got tag '{got}' when expected tag is '{expected}'. Please make \
             sure the tags match and try again."
            ),
        ))
    }

    /// Refuses a class with two roles in one upload.
    fn check_roles(&self) -> Result<(), ApiFailure> {
        let mut targets = BTreeSet::new();
        let mut renamed = BTreeSet::new();
        let mut transferred = BTreeSet::new();
        let twice = |class: &str| {
            ApiFailure::refused(
                10074,
                format!("class '{class}' cannot be the target of more than one migration"),
            )
        };
        for step in &self.steps {
            let (Step::New { class: target, .. }
            | Step::Rename { to: target, .. }
            | Step::Delete { class: target }
            | Step::Transfer { to: target, .. }) = step;
            if !targets.insert(target.as_str()) {
                return Err(twice(target));
            }
            if let Step::Rename { from, .. } = step
                && !renamed.insert(from.as_str())
            {
                return Err(twice(from));
            }
            if let Step::Transfer {
                from, from_script, ..
            } = step
                && !transferred.insert((from_script.as_str(), from.as_str()))
            {
                return Err(twice(from));
            }
        }
        // Chains, swaps and deleting what is renamed are not accepted. Renaming a class and creating a new one of
        // its name is left to the check of namespace names.
        let created: BTreeSet<&str> = self
            .steps
            .iter()
            .filter_map(|step| match step {
                Step::New { class, .. } => Some(class.as_str()),
                _ => None,
            })
            .collect();
        match renamed
            .intersection(&targets)
            .find(|class| !created.contains(*class))
        {
            Some(class) => Err(twice(class)),
            None => Ok(()),
        }
    }

    /// Carries out the steps on the account's namespaces. On an error the account is not usable any more; callers
    /// work on a copy. `code` is what the uploaded code exports.
    pub fn apply(
        &self,
        account: &mut Account,
        script: &str,
        code: &Exports,
    ) -> Result<(), ApiFailure> {
        self.check_roles()?;
        let transfers = self
            .steps
            .iter()
            .filter(|s| matches!(s, Step::Transfer { .. }))
            .count();
        if transfers > 0 && transfers < self.steps.len() {
            // Nobody has published that the combination works.
            return Err(ApiFailure::refused(
                10074,
                "Cannot apply transfer-class migration together with other migrations",
            ));
        }
        let before = account.namespaces.clone();
        let renamed_away = |class: &str| {
            self.steps
                .iter()
                .any(|step| matches!(step, Step::Rename { from, .. } if from == class))
        };
        for step in &self.steps {
            if !matches!(step, Step::New { class, .. } if renamed_away(class)) {
                step.check_source(account, script, &before)?;
            }
        }
        for step in &self.steps {
            step.check_target(code)?;
        }
        for step in &self.steps {
            step.release(account, script, &before)?;
        }
        check_exports(account, script, code)?;
        for step in &self.steps {
            step.create(account, script, &before)?;
        }
        Ok(())
    }
}

fn provisioned<'a>(
    namespaces: &'a [Namespace],
    script: &str,
    class: &str,
) -> Option<&'a Namespace> {
    namespaces
        .iter()
        .find(|ns| ns.script == script && ns.class == class)
}

/// Every class with a namespace must be exported: 10064.
pub fn check_exports(account: &Account, script: &str, code: &Exports) -> Result<(), ApiFailure> {
    match account
        .namespaces_of(script)
        .find(|ns| !code.classes.contains(&ns.class))
    {
        None => Ok(()),
        Some(namespace) => Err(ApiFailure::refused(
            10064,
            format!(
                "New version of script does not export class '{}' which is depended on by existing Durable Objects. Did \
             you forget to include it? If you renamed it, try a rename-class migration. If you want to delete all the \
             Durable Objects implemented by the class, you can use a delete-class migration",
                namespace.class
            ),
        )),
    }
}

impl Step {
    /// The operation's name in refusals.
    fn verb(&self) -> &'static str {
        match self {
            Step::New { sqlite: true, .. } => "new-sqlite-class",
            Step::New { sqlite: false, .. } => "new-class",
            Step::Rename { .. } => "rename-class",
            Step::Delete { .. } => "delete-class",
            Step::Transfer { .. } => "transfer-class",
        }
    }

    fn check_source(
        &self,
        account: &Account,
        script: &str,
        before: &[Namespace],
    ) -> Result<(), ApiFailure> {
        let verb = self.verb();
        match self {
            Step::New { class, .. } if provisioned(before, script, class).is_some() => {
                Err(occupied(verb, class))
            }
            Step::Rename { to, .. } | Step::Transfer { to, .. }
                if provisioned(before, script, to).is_some() =>
            {
                Err(occupied(verb, to))
            }
            Step::Rename { from: class, .. } | Step::Delete { class }
                if provisioned(before, script, class).is_none() =>
            {
                Err(ApiFailure::refused(
                    10074,
                    format!(
                        "Cannot apply {verb} migration to class '{class}' which was not exported in the previous version \
                     of the script"
                    ),
                ))
            }
            Step::Transfer {
                from, from_script, ..
            } => {
                let key = dispatch::beside(script, from_script);
                let Some(source) = account.scripts.get(&key) else {
                    if account.is_across(script, from_script) {
                        // Code and text of this refusal are not published.
                        return Err(ApiFailure::refused(
                            10074,
                            format!(
                                "Cannot apply {verb} migration to class '{from}' from script '{from_script}' across \
                                 the boundary of a dispatch namespace"
                            ),
                        ));
                    }
                    return Err(ApiFailure::refused(
                        10074,
                        format!(
                            "Cannot apply {verb} migration to class '{from}' from script '{from_script}' that does not \
                         exist"
                        ),
                    ));
                };
                if source.exports.is_used() {
                    // Nobody has published what the other way makes of it.
                    return Err(ApiFailure::refused(
                        10074,
                        format!(
                            "Cannot apply {verb} migration to class '{from}' from script '{from_script}' that declares \
                         its classes with `exports`"
                        ),
                    ));
                }
                if key == script || provisioned(before, &key, from).is_none() {
                    return Err(ApiFailure::refused(
                        10074,
                        format!(
                            "Cannot apply {verb} migration to class '{from}' which is not exported by script \
                         '{from_script}'"
                        ),
                    ));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn check_target(&self, code: &Exports) -> Result<(), ApiFailure> {
        let (class, verb) = match self {
            // The live service says `new-class` for both kinds of storage.
            Step::New { class, .. } => (class, "new-class"),
            Step::Rename { to, .. } | Step::Transfer { to, .. } => (to, self.verb()),
            Step::Delete { .. } => return Ok(()),
        };
        if code.classes.contains(class) {
            return Ok(());
        }
        Err(ApiFailure::refused(
            10070,
            format!(
                "Cannot apply {verb} migration to class '{class}' that is not exported by script"
            ),
        ))
    }

    /// Everything but creating: what is left afterwards must be exported, what is gone has freed its name.
    fn release(
        &self,
        account: &mut Account,
        script: &str,
        before: &[Namespace],
    ) -> Result<(), ApiFailure> {
        let (owner, from, to) = match self {
            Step::New { .. } => return Ok(()),
            Step::Delete { class } => {
                account
                    .namespaces
                    .retain(|ns| ns.script != script || ns.class != *class);
                return Ok(());
            }
            Step::Rename { from, to } => (script.to_owned(), from, to),
            Step::Transfer {
                from,
                from_script,
                to,
            } => (dispatch::beside(script, from_script), from, to),
        };
        match provisioned(before, &owner, from) {
            Some(namespace) => hand_over(account, &namespace.id, script, to),
            None => Ok(()),
        }
    }

    fn create(
        &self,
        account: &mut Account,
        script: &str,
        before: &[Namespace],
    ) -> Result<(), ApiFailure> {
        let Step::New { class, sqlite } = self else {
            return Ok(());
        };
        match account.plan {
            _ if *sqlite => {}
            Plan::Paid => {}
            Plan::Free => {
                return Err(ApiFailure::refused(
                    10097,
                    "In order to use Durable Objects with a free plan, you must create a namespace using a \
                     `new_sqlite_classes` migration.",
                ));
            }
            Plan::PaidWithoutKv => {
                return Err(ApiFailure::refused(
                    10099,
                    "Creating new key-value backed Durable Object namespaces is no longer supported on this account. \
                     Please create a namespace using a `new_sqlite_classes` migration instead.",
                ));
            }
        }
        provision(account, before, script, class, *sqlite)
    }
}

/// Gives a namespace to a class of a Worker. Where names follow, the new one must be free: 10065.
pub(super) fn hand_over(
    account: &mut Account,
    id: &str,
    script: &str,
    class: &str,
) -> Result<(), ApiFailure> {
    let follow = account.names == NamespaceNames::Follow;
    let name = format!("{script}_{class}");
    if follow {
        check_name(
            account.namespaces.iter().filter(|other| other.id != id),
            &name,
        )?;
    }
    if let Some(namespace) = account.namespaces.iter_mut().find(|ns| ns.id == id) {
        namespace.script = script.into();
        namespace.class = class.into();
        if follow {
            namespace.name = name;
        }
    }
    Ok(())
}

/// Creates a namespace. Its name must be free: 10065. A name that the same upload frees by deleting is not free yet.
pub(super) fn provision(
    account: &mut Account,
    before: &[Namespace],
    script: &str,
    class: &str,
    sqlite: bool,
) -> Result<(), ApiFailure> {
    let name = format!("{script}_{class}");
    let gone = before
        .iter()
        .filter(|ns| account.namespace_by_id(&ns.id).is_none());
    check_name(account.namespaces.iter().chain(gone), &name)?;
    let id = account.issue_id();
    account.namespaces.push(Namespace {
        id,
        name,
        script: script.into(),
        class: class.into(),
        sqlite,
    });
    Ok(())
}

fn check_name<'a>(
    mut taken: impl Iterator<Item = &'a Namespace>,
    name: &str,
) -> Result<(), ApiFailure> {
    if taken.any(|ns| ns.name == name) {
        return Err(ApiFailure::refused(
            10065,
            format!(
                "Durable Object namespace name '{name}' already in use. Please use a different name and try again."
            ),
        ));
    }
    Ok(())
}

fn occupied(verb: &str, class: &str) -> ApiFailure {
    ApiFailure::refused(
        10074,
        format!(
            "Cannot apply {verb} migration to class '{class}' that is already depended on by existing Durable Objects"
        ),
    )
}
