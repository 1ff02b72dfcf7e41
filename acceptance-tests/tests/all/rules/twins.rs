//! The account as local Cloudflare keeps it and as the model keeps it.

use std::collections::{BTreeMap, BTreeSet};

use acceptance_tests::cloudflare::account::{Account, NamespaceNames};
use acceptance_tests::cloudflare::bindings::Target;
use acceptance_tests::cloudflare::failure::ApiFailure;
use acceptance_tests::cloudflare::upload::apply_upload;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::cloud::{Cloud, ServerNames, Shown};
use super::events::CLASSES;
use super::request::Request;
use crate::durable::{ClassName, MigrationTag, ScriptName, Storage};

/// Both readings of the account.
pub(super) struct Twins {
    pub(super) local: Account,
    pub(super) model: Cloud,
    /// The namespace of the model is the namespace here.
    pub(super) same: BTreeMap<String, String>,
}

/// What is refused on one side only, on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stricter {
    /// The model lets no class leave a name and come to it in one upload. By the facts the class checks could pass,
    /// and then the server's name decides, which local Cloudflare knows both ways.
    RenamedAwayAndCreated,
}

impl Twins {
    pub(super) fn new(follow: bool) -> Self {
        let mut local = Account::new("0123456789abcdef0123456789abcdef", "rules");
        let (here, there) = match follow {
            true => (NamespaceNames::Follow, ServerNames::Rewritten),
            false => (NamespaceNames::Kept, ServerNames::Kept),
        };
        local.names = here;
        Self {
            local,
            model: Cloud::new(there, Shown::AsItIsNow),
            same: BTreeMap::new(),
        }
    }

    pub(super) fn classes_of(&self, worker: &str) -> Vec<&'static str> {
        let owned = |class: &&&str| self.local.namespace(worker, class).is_some();
        CLASSES.iter().filter(owned).copied().collect()
    }

    /// Whether the model refuses a request for a reason of its own, which local Cloudflare does not share.
    pub(super) fn differs(&self, request: &Request) -> Option<Stricter> {
        let migration = request.version.migration.as_ref()?;
        let created = |class: &ClassName| {
            migration.new_classes.contains(class) || migration.new_sqlite_classes.contains(class)
        };
        if !migration.renamed.iter().any(|(from, _)| created(from)) {
            return None;
        }
        let name = ScriptName::from_api(request.worker);
        let refusal = self.model.clone().upload(&name, &request.version).err()?;
        let by_role = refusal.contains("the target of more than one migration");
        let accepted = request
            .for_local()
            .and_then(|upload| apply_upload(&mut self.local.clone(), upload, "now"))
            .is_ok();
        (by_role && accepted).then_some(Stricter::RenamedAwayAndCreated)
    }

    pub(super) fn upload(
        &mut self,
        request: &Request,
    ) -> (Result<(), ApiFailure>, Result<(), String>) {
        let here = request
            .for_local()
            .and_then(|upload| apply_upload(&mut self.local, upload, "now"));
        let name = ScriptName::from_api(request.worker);
        (here, self.model.upload(&name, &request.version))
    }

    /// The model has no name for it: everything of the Worker stays as it is but the name.
    pub(super) fn rename(
        &mut self,
        from: &str,
        to: &str,
    ) -> (Result<(), ApiFailure>, Result<(), String>) {
        let here = self.local.rename_worker(from, to);
        let (from, to) = (ScriptName::from_api(from), ScriptName::from_api(to));
        let scripts = &mut self.model.scripts;
        if !scripts.contains_key(&from) || from != to && scripts.contains_key(&to) {
            return (here, Err("there is none, or the name is taken".into()));
        }
        let script = scripts.remove(&from).expect("it is there");
        scripts.insert(to.clone(), script);
        for namespace in self.model.namespaces.values_mut() {
            if namespace.script == from {
                namespace.script = to.clone();
                if self.model.server_names == ServerNames::Rewritten {
                    namespace.server_name = format!("{to}_{}", namespace.class);
                }
            }
        }
        (here, Ok(()))
    }

    pub(super) fn delete(&mut self, worker: &str) -> (Result<(), ApiFailure>, Result<(), String>) {
        let here = self.local.delete_worker(worker, false);
        (here, self.model.delete(&ScriptName::from_api(worker)))
    }

    /// Both have the same Workers, tags, namespaces and bindings.
    pub(super) fn compare(&mut self) -> Result<(), TestCaseError> {
        let tags = |worker: &str, tag: Option<&str>| (worker.to_owned(), tag.map(str::to_owned));
        let here: BTreeMap<_, _> = self
            .local
            .scripts
            .iter()
            .map(|(name, script)| tags(name, script.migration_tag.as_deref()))
            .collect();
        let there: BTreeMap<_, _> = self
            .model
            .scripts
            .iter()
            .map(|(name, script)| {
                let tag = script.migration_tag.as_ref();
                tags(name.as_str(), tag.map(MigrationTag::as_str))
            })
            .collect();
        prop_assert_eq!(here, there);

        let here: BTreeMap<_, _> = self
            .local
            .namespaces
            .iter()
            .map(|ns| {
                let facts = (ns.id.as_str(), ns.name.as_str(), ns.sqlite);
                ((ns.script.as_str(), ns.class.as_str()), facts)
            })
            .collect();
        prop_assert_eq!(
            here.len(),
            self.local.namespaces.len(),
            "one class has two namespaces"
        );
        let there: BTreeMap<_, _> = self
            .model
            .namespaces
            .iter()
            .map(|(id, ns)| {
                let sqlite = ns.storage == Storage::Sqlite;
                let facts = (id.as_str(), ns.server_name.as_str(), sqlite);
                ((ns.script.as_str(), ns.class.as_str()), facts)
            })
            .collect();
        prop_assert!(here.keys().eq(there.keys()), "{:?} {:?}", here, there);
        for (place, (there, name, sqlite)) in &there {
            let here = here[place];
            prop_assert_eq!((here.1, here.2), (*name, *sqlite));
            let known = self.same.entry((*there).into()).or_insert(here.0.into());
            prop_assert_eq!(known.as_str(), here.0, "{:?} is another namespace", place);
        }
        let different: BTreeSet<&String> = self.same.values().collect();
        prop_assert_eq!(
            different.len(),
            self.same.len(),
            "one namespace came back as two"
        );

        let here: BTreeSet<_> = self
            .local
            .scripts
            .iter()
            .flat_map(|(name, script)| {
                script
                    .bindings
                    .iter()
                    .map(move |binding| match &binding.target {
                        Target::Namespace(id) => {
                            (name.as_str(), binding.name.as_str(), id.as_str())
                        }
                        _ => (name.as_str(), binding.name.as_str(), "elsewhere"),
                    })
            })
            .collect();
        let there: BTreeSet<_> = self
            .model
            .scripts
            .iter()
            .flat_map(|(name, script)| {
                let same = &self.same;
                script.bindings.iter().map(move |(binding, bound)| {
                    let id = same[bound.namespace.as_str()].as_str();
                    (name.as_str(), binding.as_str(), id)
                })
            })
            .collect();
        prop_assert_eq!(here, there);
        Ok(())
    }
}
