//! The class changes of a plan: what the planner is given, what it says, and how that is shown.

use std::collections::BTreeSet;

use super::code::DESTROY_HINT;
use super::element::{Element, Home};
use super::gate::{self, Cause};
use super::hosting::{self, ELEMENT_MAPS, Entry, Placement};
use super::identity::{self, Deleted, Owned};
use crate::cloudflare::{AccountId, ApiError, Client};
use crate::durable::plan::{Change, Leaving, MigrationPlan, Subject, Upload};
use crate::durable::tag::Claim;
use crate::durable::{Evidence, MigrationTag, NamespaceId, ScriptName, Situation, StableId, plan};
use crate::resources::diagnose;
use crate::resources::session::Session;
use crate::tf::{Attr, AttributePath, Diagnostic, Diagnostics, Value};

/// The key under which `migrations` lists what changed without an upload.
const WITHOUT_UPLOAD: &str = "without upload";

/// What a plan decides about classes from.
pub struct Classes<'a> {
    /// What the process knows.
    pub session: &'a Session,
    /// `None` if the provider's configuration is not known yet.
    pub client: Option<&'a Client>,
    /// The account, if it is known.
    pub account: Option<AccountId>,
    /// The state before; null on create.
    pub prior: &'a Value,
    /// The configuration.
    pub config: &'a Value,
    /// The planned name.
    pub name: &'a Attr<ScriptName>,
    /// Where errors and warnings go.
    pub diagnostics: &'a mut Diagnostics,
}

/// What a plan decides about classes.
#[derive(Default)]
pub struct Decision {
    /// Whether something that decides them is unknown.
    pub undecided: bool,
    /// The uploads that change classes, and what completes them.
    pub uploads: Vec<Upload>,
    /// The namespaces that another Worker takes over.
    pub leaving: Vec<Leaving>,
    /// What our tag shall say in the end.
    pub claims: Vec<Claim>,
    /// What is deleted.
    pub deletes: Vec<Deleted>,
    /// What the Worker owns now.
    pub started_from: Vec<Owned>,
    /// The sentences, under the key at which `migrations` shows them.
    pub history: Option<(String, Vec<String>)>,
    /// The planned `durable_object_namespaces`.
    pub namespaces: Value,
    /// The planned `migrations`.
    pub migrations: Value,
}

impl Classes<'_> {
    /// Decides. `None` if there were errors.
    pub async fn decide(&mut self) -> Option<Decision> {
        let entries = hosting::entries(self.prior);
        let former = self.prior.get("name").as_str().map(ScriptName::from_api);
        let own = self.name.known().cloned();
        let placements = hosting::placements(self.config, self.name);
        let (Some(own), Some(placements)) = (own, placements) else {
            self.refuse_unknown(&entries, former.as_ref());
            let undecided = Decision {
                undecided: true,
                namespaces: Value::Unknown,
                migrations: Value::Unknown,
                ..Decision::default()
            };
            return (!self.diagnostics.has_errors()).then_some(undecided);
        };
        let former = former.unwrap_or_else(|| own.clone());
        self.refuse_former_name(&placements, &own, &former);
        self.refuse_unhosted_classes(&placements, &entries);
        let wanted = hosting::wanted(&placements);
        let ids: BTreeSet<&StableId> = wanted
            .after
            .iter()
            .map(|desired| &desired.stable_id)
            .collect();
        let before: Vec<&Entry> = entries
            .iter()
            .filter(|entry| {
                entry.lives_in(&former)
                    || entry.stable_id.as_ref().is_some_and(|id| ids.contains(id))
            })
            .collect();
        let mut situation = Situation {
            script: own.clone(),
            former_script: (former != own).then(|| former.clone()),
            old_tag: self
                .prior
                .get("migration_tag")
                .as_str()
                .map(MigrationTag::new),
            before: before.iter().map(|entry| entry.hosted()).collect(),
            after: wanted.after.clone(),
            elsewhere: wanted.elsewhere.clone(),
            bound_before: hosting::bound(self.prior),
            bound_after: ["bindings", "vars"]
                .into_iter()
                .filter_map(|attribute| self.config.get(attribute).as_map())
                .flat_map(|map| map.keys().cloned())
                .collect(),
            evidence: Evidence::default(),
        };
        situation.evidence.planned_elsewhere = self.session.plan_hosts(
            self.account.as_ref(),
            &own,
            &wanted
                .after
                .iter()
                .map(|desired| desired.stable_id.clone())
                .collect::<Vec<_>>(),
        );
        let mut migration = plan(&situation);
        let moved = before.iter().any(|entry| !entry.lives_in(&former));
        if (moved || needs_evidence(&migration, &situation))
            && let (Some(client), Some(account)) = (self.client, self.account.clone())
        {
            match evidence(client, &account, &situation).await {
                Ok((mut namespaces, gone, tags)) => {
                    if self.prior.is_null() {
                        // What a Worker of this name owns goes with it before this one is created.
                        namespaces.retain(|namespace| namespace.script.as_ref() != Some(&own));
                    }
                    situation.evidence.namespaces = Some(namespaces);
                    situation.evidence.gone = gone;
                    situation.evidence.tags = tags;
                    migration = plan(&situation);
                }
                Err(error) => {
                    self.diagnostics.push(diagnose::error(
                        "Cannot see what other Workers host",
                        &error,
                    ));
                    return None;
                }
            }
        }
        self.report(&migration, &placements);
        let deletes = self.judge_deletions(&migration, &former).await;
        if self.diagnostics.has_errors() {
            return None;
        }
        let history = history(&migration);
        Some(Decision {
            undecided: false,
            claims: migration.claims(),
            deletes,
            started_from: entries
                .iter()
                .filter(|entry| entry.lives_in(&former))
                .filter_map(|entry| {
                    Some(identity::owned(&entry.class, entry.namespace_id.as_ref()?))
                })
                .collect(),
            namespaces: hosting::planned(
                &migration.hosts,
                &migration.leaving,
                &entries,
                &wanted,
                &own,
                &former,
            ),
            migrations: with_history(self.prior.get("migrations"), history.as_ref()),
            history,
            uploads: migration.uploads,
            leaving: migration.leaving,
        })
    }

    /// For a Worker that hosts namespaces, some unknowns decide what is deleted: these are errors.
    fn refuse_unknown(&mut self, entries: &[Entry], former: Option<&ScriptName>) {
        let hosts = entries
            .iter()
            .any(|entry| former.is_none_or(|former| entry.lives_in(former)));
        if self.prior.is_null() || !hosts {
            return;
        }
        let mut refuse = |path: AttributePath, what: &str| {
            self.diagnostics.push(
                Diagnostic::error(
                    "Not known which namespaces stay",
                    format!(
                        "{what} is not known before apply, but this Worker hosts Durable Object namespaces, and it decides which of them \
                         are deleted. Write it so that it is known at plan, or apply what it depends on first, for example with \
                         `-target`.\n\n{DESTROY_HINT}"
                    ),
                )
                .at(path),
            );
        };
        for attribute in ELEMENT_MAPS {
            let elements = self.config.get(attribute);
            if elements.is_unknown() {
                refuse(
                    AttributePath::root(attribute),
                    &format!("The whole of `{attribute}`"),
                );
            }
            for (name, value) in elements.as_map().into_iter().flatten() {
                let path = AttributePath::root(attribute).key(name);
                let hosted_before = !self
                    .prior
                    .get(attribute)
                    .get(name)
                    .get("stable_id")
                    .is_null();
                match Element::of(value) {
                    Some(Element::Unknown) if hosted_before => {
                        refuse(path.clone(), &format!("`{path}`"))
                    }
                    Some(Element::DurableObject(object)) if object.stable_id.is_unknown() => {
                        let path = path.attribute("stable_id");
                        refuse(path.clone(), &format!("`{path}`"));
                    }
                    _ => {}
                }
            }
        }
    }

    /// `script_name` still says the name that the Worker had.
    fn refuse_former_name(
        &mut self,
        placements: &[Placement],
        own: &ScriptName,
        former: &ScriptName,
    ) {
        if own == former {
            return;
        }
        for Placement { path, home, .. } in placements {
            if *home == Home::There(former.clone()) {
                let path = path.clone().attribute("script_name");
                self.diagnostics.push(
                    Diagnostic::error(
                        "`script_name` is the Worker's former name",
                        format!(
                            "This apply renames Worker `{former}` to `{own}`, but `{path}` is still `{former}`. Change it to `{own}` in the \
                             same step, or better let it refer to the Worker's `name`."
                        ),
                    )
                    .at(path),
                );
            }
        }
    }

    /// A binding of an own class without a stable ID only works if the class is there.
    fn refuse_unhosted_classes(&mut self, placements: &[Placement], entries: &[Entry]) {
        for Placement {
            path, object, home, ..
        } in placements
        {
            let Some(class) = object
                .class_name
                .known()
                .filter(|_| *home == Home::HereByClass)
            else {
                continue;
            };
            let here = entries.iter().any(|entry| entry.class == *class)
                || placements.iter().any(|other| {
                    matches!(other.home, Home::Here(_))
                        && other.object.class_name.known() == Some(class)
                });
            if !here {
                self.diagnostics.push(
                    Diagnostic::error(
                        format!("Class {class} has no stable ID"),
                        format!(
                            "`{path}` binds class `{class}` of this Worker, which hosts no such namespace. Declare it as a \
                             `cloudflare_do_namespace` and pass that, or name another Worker in `script_name`."
                        ),
                    )
                    .at(path.clone()),
                );
            }
        }
    }

    fn report(&mut self, migration: &MigrationPlan, placements: &[Placement]) {
        for problem in &migration.problems {
            let detail = format!("{}\n\n{DESTROY_HINT}", problem.detail());
            let path = place(problem.subject(), placements, problem.attribute());
            self.diagnostics
                .push(Diagnostic::error(problem.summary(), detail).at(path));
        }
        for warning in &migration.warnings {
            let path = place(warning.subject(), placements, warning.attribute());
            self.diagnostics
                .push(Diagnostic::warning(warning.summary(), warning.detail()).at(path));
        }
    }

    async fn judge_deletions(
        &mut self,
        migration: &MigrationPlan,
        former: &ScriptName,
    ) -> Vec<Deleted> {
        let deletes: Vec<Deleted> = migration
            .deletions()
            .map(|deletion| Deleted {
                stable_id: deletion.stable_id.to_string(),
                class: deletion.class.to_string(),
                namespace_id: deletion.namespace_id.as_ref().map(ToString::to_string),
                consent: deletion.consent,
            })
            .collect();
        if let (Some(client), Some(account), false) =
            (self.client, &self.account, deletes.is_empty())
        {
            let verdict =
                gate::judge(client, account, former.as_str(), &deletes, Cause::Dropped).await;
            let refused = verdict.has_errors();
            self.diagnostics.extend(verdict);
            if !refused {
                self.diagnostics.extend(
                    gate::warn_of_references(client, account, former, Some(&deletes)).await,
                );
            }
        }
        deletes
    }
}

/// Whether the planner has to know what other Workers host.
fn needs_evidence(migration: &MigrationPlan, situation: &Situation) -> bool {
    let creates = migration
        .changes
        .iter()
        .any(|change| matches!(change, Change::Create { .. }));
    let moves = situation
        .after
        .iter()
        .any(|desired| desired.transferred_from.is_some());
    let leaves = situation.elsewhere.iter().any(|bound| {
        situation
            .before
            .iter()
            .any(|hosted| hosted.stable_id.is_some() && hosted.stable_id == bound.stable_id)
    });
    creates || moves || leaves || !migration.problems.is_empty()
}

type Seen = (
    Vec<crate::durable::LiveNamespace>,
    Vec<NamespaceId>,
    Vec<(ScriptName, Vec<crate::durable::tag::Claim>)>,
);

async fn evidence(
    client: &Client,
    account: &AccountId,
    situation: &Situation,
) -> Result<Seen, ApiError> {
    let namespaces = client.listings().namespaces(account).await?;
    let scripts = client.listings().scripts(account).await?;
    let mut gone = Vec::new();
    for id in situation
        .before
        .iter()
        .filter_map(|hosted| hosted.namespace_id.as_ref())
    {
        let listed = namespaces.iter().any(|namespace| namespace.id == *id);
        if !listed
            && matches!(
                client.objects(account, id).await,
                Err(ApiError::UnknownNamespace(_))
            )
        {
            gone.push(id.clone());
        }
    }
    let tags = scripts
        .iter()
        .filter(|listed| {
            listed.name != situation.script
                && Some(&listed.name) != situation.former_script.as_ref()
        })
        .filter_map(|listed| {
            Some((
                listed.name.clone(),
                identity::decode(&listed.tags).ours?.claims,
            ))
        })
        .collect();
    Ok((namespaces.to_vec(), gone, tags))
}

/// Where in the configuration a problem stands.
fn place(subject: Subject<'_>, placements: &[Placement], attribute: &str) -> AttributePath {
    let found = placements.iter().find(|placement| match subject {
        Subject::StableId(id) => placement.object.stable_id.known() == Some(id),
        Subject::Class(class) => placement.object.class_name.known() == Some(class),
    });
    found.map_or_else(
        || AttributePath::root("bindings"),
        |placement| placement.path.clone().attribute(attribute),
    )
}

/// The sentences of a plan, under the tag that its last upload sets.
fn history(migration: &MigrationPlan) -> Option<(String, Vec<String>)> {
    let mut sentences: Vec<String> = migration.changes.iter().map(ToString::to_string).collect();
    if sentences.is_empty() {
        return None;
    }
    if migration.uploads.len() > 1 {
        sentences.push(format!("in {} uploads", migration.uploads.len()));
    }
    let tag = last_tag(&migration.uploads);
    Some((
        tag.map_or(WITHOUT_UPLOAD.to_owned(), ToString::to_string),
        sentences,
    ))
}

/// The migration tag that uploads leave.
pub fn last_tag(uploads: &[Upload]) -> Option<&MigrationTag> {
    let mut migrations = uploads.iter().rev().filter_map(|it| it.migration.as_ref());
    migrations.next().map(|migration| &migration.new_tag)
}

/// The history with one more entry.
pub fn with_history(prior: &Value, entry: Option<&(String, Vec<String>)>) -> Value {
    let mut map = prior.as_map().cloned().unwrap_or_default();
    if let Some((tag, sentences)) = entry {
        let said = map
            .entry(tag.clone())
            .or_insert_with(|| Value::List(Vec::new()));
        if let Value::List(said) = said {
            said.extend(
                sentences
                    .iter()
                    .map(|sentence| Value::from(sentence.as_str())),
            );
        }
    }
    Value::Map(map)
}
