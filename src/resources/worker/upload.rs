//! One upload of a Worker: everything that it says, and what to believe when its answer is lost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::element;
use super::identity::{self, Owned, Whose};
use super::live;
use crate::cloudflare::upload::Binding;
use crate::cloudflare::{
    AccountId, ApiError, Client, Metadata, Migrations, Module, Service, Settings, Upload, Uploaded,
};
use crate::durable::plan::{Leaving, Migration};
use crate::durable::tag::OurTag;
use crate::durable::{MigrationTag, ScriptName};
use crate::tf::Value;

/// How often an upload that is known not to have landed is made at most.
const ATTEMPTS: usize = 3;
/// How long a target of a binding that was just created may take to be found.
const TARGET_PAUSE: Duration = Duration::from_secs(2);
const TARGET_LOOKS: usize = 5;
/// How long the server name of a namespace that was just deleted may stay taken.
const NAME_LOOKS: usize = 4;
/// How long other Workers may take to let go of a class that is deleted: the same run may be about to change them.
const RELEASE_LOOKS: usize = 60;

/// How often, and how far apart, a listing that differs from what was planned for is asked again.
const SETTLING_LOOKS: usize = 4;
const SETTLING_PAUSE: Duration = Duration::from_millis(500);

/// The secrets of a Worker, which no read ever shows.
const SECRET_TYPES: [&str; 2] = ["secret_text", "secret_key"];

/// Everything that an upload is made from.
pub struct Parts<'a> {
    /// The planned state.
    pub planned: &'a Value,
    /// The state before.
    pub prior: &'a Value,
    /// The Worker's name.
    pub name: &'a ScriptName,
    /// The live settings, if it exists.
    pub settings: Option<&'a Settings>,
    /// Whether it has static assets.
    pub has_assets: bool,
    /// The main module and the code; `None` where somebody else uploads it.
    pub code: Option<(&'a str, Arc<[Module]>)>,
    /// Names of bindings that cannot be made yet.
    pub left_out: &'a BTreeSet<String>,
    /// All script tags.
    pub tags: &'a [String],
}

impl Parts<'_> {
    /// The metadata of the upload.
    pub fn metadata(&self, migration: Option<&Migration>) -> Metadata {
        let text = |attribute: &str| self.planned.get(attribute).as_str().map(str::to_owned);
        let flags = self
            .planned
            .get("compatibility_flags")
            .as_list()
            .unwrap_or_default();
        let (bindings, keep_secrets) = self.bindings();
        Metadata {
            main_module: self.code.as_ref().map(|(main, _)| (*main).to_owned()),
            compatibility_date: text("compatibility_date"),
            compatibility_flags: flags
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            bindings,
            migrations: migration.map(Migrations::from),
            tags: self.tags.to_vec(),
            keep_bindings: match keep_secrets {
                true => SECRET_TYPES.map(str::to_owned).to_vec(),
                false => Vec::new(),
            },
            keep_assets: self.has_assets,
            carried: self.settings.map(Settings::carried).unwrap_or_default(),
        }
    }

    /// All bindings: what is planned, and what is there that no argument can say. Also whether all secrets may stay.
    fn bindings(&self) -> (Vec<Binding>, bool) {
        let mut bindings = Vec::new();
        let mut names = BTreeSet::new();
        for (name, value) in self.planned.get("bindings").as_map().into_iter().flatten() {
            names.insert(name.as_str());
            if !self.left_out.contains(name) {
                bindings.extend(element::wire(name, value, self.name));
            }
        }
        for (name, value) in self.planned.get("vars").as_map().into_iter().flatten() {
            names.insert(name.as_str());
            let text = value.as_str().unwrap_or_default().to_owned();
            bindings.push(Binding::PlainText {
                name: name.clone(),
                text,
            });
        }
        let mut keep_secrets = true;
        for binding in self
            .settings
            .map(|settings| settings.bindings.as_slice())
            .unwrap_or_default()
        {
            let (Some(name), Some(ty)) = (live::text(binding, "name"), live::text(binding, "type"))
            else {
                continue;
            };
            if names.contains(name) {
                continue;
            }
            if SECRET_TYPES.contains(&ty) {
                let was_ours = !self.prior.get("bindings").get(name).is_null();
                keep_secrets &= !was_ours;
                if was_ours {
                    continue;
                }
            } else if element::is_known_type(ty) {
                continue; // Read has shown it, and the configuration does not want it.
            }
            bindings.push(Binding::Inherit {
                name: name.to_owned(),
                old_name: None,
            });
        }
        (bindings, keep_secrets)
    }
}

/// Who uploads, and to where.
pub struct Uploader<'a> {
    /// A client whose writes are not interrupted: half an upload is worse than a slow stop.
    pub client: &'a Client,
    /// A client whose waits are.
    pub stoppable: &'a Client,
    /// The account.
    pub account: &'a AccountId,
    /// The Worker.
    pub name: &'a ScriptName,
    /// What our tag says after the upload.
    pub ours: &'a OurTag,
    /// Whether the target of a binding may be there already and not be found yet.
    pub targets_lag: bool,
    /// What the plan was made for, to be asked again if only the migration tag moved. `None` after the first upload of a run: the
    /// tag is ours then.
    pub expectation: Option<Expectation<'a>>,
}

/// The namespaces that a Worker owned when its plan was made.
pub struct Expectation<'a> {
    /// Reads the listing.
    pub client: &'a Client,
    /// The account.
    pub account: &'a AccountId,
    /// The Worker.
    pub name: &'a ScriptName,
    /// The name that it had, under which a lagging listing may still have its namespaces.
    pub former: Option<&'a str>,
    /// What it owned.
    pub namespaces: &'a [Owned],
    /// What another Worker takes over, and may have taken already.
    pub leaving: &'a [Leaving],
}

impl Expectation<'_> {
    /// Whether the live namespaces are still these. Listings lag, so a difference is looked at again.
    pub async fn holds(&self) -> Result<bool, ApiError> {
        let may_be_gone = |owned: &Owned| {
            let id = |leaving: &Leaving| leaving.namespace_id.as_ref().map(ToString::to_string);
            self.leaving
                .iter()
                .any(|it| id(it).as_deref() == Some(owned.id.as_str()))
        };
        let mut expected: Vec<&Owned> = self.namespaces.iter().collect();
        expected.sort();
        for look in 0..SETTLING_LOOKS {
            if look > 0 {
                self.client
                    .wait("wait for the listing of namespaces", SETTLING_PAUSE)
                    .await?;
            }
            let live = self.client.namespaces(self.account).await?;
            let mut owned: Vec<Owned> = live
                .iter()
                .filter(|namespace| {
                    let script = namespace.script.as_ref().map(ScriptName::as_str);
                    let known = expected
                        .iter()
                        .any(|owned| owned.id == namespace.id.as_str());
                    script == Some(self.name.as_str())
                        || (known && script.is_some() && script == self.former)
                })
                .filter_map(|namespace| {
                    Some(identity::owned(namespace.class.as_ref()?, &namespace.id))
                })
                .collect();
            owned.sort();
            let expected_now = expected
                .iter()
                .copied()
                .filter(|one| owned.contains(one) || !may_be_gone(one));
            if owned.iter().eq(expected_now) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Why an upload failed.
pub enum Failed {
    /// Cloudflare refused it, or it is known not to have landed.
    Refused(ApiError),
    /// Nobody knows, or somebody else was at work.
    Unclear(String),
}

impl Uploader<'_> {
    /// Uploads until it is certain that it has landed, or that it has not. Where the answer was lost, it is empty.
    pub async fn upload(
        &self,
        parts: &Parts<'_>,
        mut migration: Option<Migration>,
    ) -> Result<Uploaded, Failed> {
        let (mut lost, mut missing, mut bound, mut taken, mut tag_moved) = (0, 0, 0, 0, false);
        loop {
            let metadata = parts.metadata(migration.as_ref());
            let outcome = match &parts.code {
                Some((_, modules)) => {
                    let upload = Upload {
                        metadata,
                        modules: modules.clone(),
                    };
                    self.client.upload(self.account, self.name, &upload).await
                }
                None => self
                    .client
                    .patch_settings(self.account, self.name, &metadata)
                    .await
                    .map(|()| Uploaded::default()),
            };
            let error = match outcome {
                Ok(uploaded) => return Ok(uploaded),
                Err(error) => error,
            };
            match (&error, &mut migration) {
                (ApiError::MigrationTagMismatch { expected, .. }, Some(migration)) => {
                    if expected.as_ref() == Some(&migration.new_tag) && self.has_landed().await? {
                        return Ok(Uploaded::default()); // An earlier attempt, whose answer was lost.
                    }
                    let again = match &self.expectation {
                        Some(expectation) if !tag_moved => {
                            expectation.holds().await.map_err(Failed::Refused)?
                        }
                        _ => false,
                    };
                    if !again || expected.is_none() {
                        return Err(Failed::Refused(error));
                    }
                    tag_moved = true;
                    migration.old_tag.clone_from(expected);
                }
                (error, planned) if error.may_have_committed() => {
                    let new_tag = planned.as_ref().map(|migration| migration.new_tag.clone());
                    let old_tag = planned
                        .as_ref()
                        .and_then(|migration| migration.old_tag.clone());
                    match self.what_happened(new_tag, old_tag).await? {
                        Happened::Landed => return Ok(Uploaded::default()),
                        Happened::Nothing if lost + 1 < ATTEMPTS => lost += 1,
                        Happened::Nothing => return Err(Failed::Refused(error.clone())),
                        Happened::SomethingElse(text) => return Err(Failed::Unclear(text)),
                    }
                }
                (ApiError::ClassStillBound(_), _) if bound + 1 < RELEASE_LOOKS => {
                    bound += 1;
                    let wait = self
                        .stoppable
                        .wait("wait for other Workers to let go", TARGET_PAUSE);
                    if wait.await.is_err() {
                        return Err(Failed::Refused(error)); // Why it was waited says more than that the wait was ended.
                    }
                }
                (ApiError::NamespaceNameTaken(_), _) if taken + 1 < NAME_LOOKS => {
                    taken += 1;
                    self.stoppable
                        .wait("wait for the name of a deleted namespace", TARGET_PAUSE)
                        .await
                        .map_err(Failed::Refused)?;
                }
                (ApiError::BindingTarget(_), _)
                    if self.targets_lag && missing + 1 < TARGET_LOOKS =>
                {
                    missing += 1;
                    self.stoppable
                        .wait("wait for the target of a binding", TARGET_PAUSE)
                        .await
                        .map_err(Failed::Refused)?;
                }
                _ => return Err(Failed::Refused(error)),
            }
        }
    }

    async fn service(&self) -> Result<Option<Service>, Failed> {
        self.client
            .service(self.account, self.name)
            .await
            .map_err(Failed::Refused)
    }

    /// Whether the live Worker carries the tag of this very upload.
    async fn has_landed(&self) -> Result<bool, Failed> {
        Ok(self
            .service()
            .await?
            .is_some_and(|service| self.carries_ours(&service)))
    }

    fn carries_ours(&self, service: &Service) -> bool {
        let ours = identity::decode(&service.tags).ours;
        ours.is_some_and(|ours| {
            ours.mark == self.ours.mark && ours.content_hash == self.ours.content_hash
        })
    }

    async fn what_happened(
        &self,
        new_tag: Option<MigrationTag>,
        old_tag: Option<MigrationTag>,
    ) -> Result<Happened, Failed> {
        let Some(service) = self.service().await? else {
            return Ok(Happened::Nothing);
        };
        let Some(new_tag) = new_tag else {
            return Ok(Happened::Nothing); // Without class changes the same upload can be made again at any time.
        };
        if service.migration_tag.as_ref() == Some(&new_tag) && self.carries_ours(&service) {
            return Ok(Happened::Landed);
        }
        if service.migration_tag == old_tag {
            return Ok(Happened::Nothing);
        }
        Ok(Happened::SomethingElse(format!(
            "The answer to the upload was lost, and the Worker has the migration tag {:?}, which is neither the one before nor the new one. \
             Another tool is changing this Worker. Run plan again and look at what it shows.",
            service
                .migration_tag
                .as_ref()
                .map(MigrationTag::as_str)
                .unwrap_or_default()
        )))
    }
}

enum Happened {
    Landed,
    Nothing,
    SomethingElse(String),
}

/// Renames a Worker. A lost answer is resolved by looking at both names.
pub async fn rename(
    client: &Client,
    account: &AccountId,
    from: &ScriptName,
    to: &ScriptName,
    mark: Option<&str>,
    worker_id: Option<&str>,
) -> Result<(), ApiError> {
    let is_ours = |service: &Service| identity::whose(service, mark, worker_id) == Whose::Ours;
    let mut attempts = 0;
    loop {
        let Err(error) = client.rename_service(account, from, to).await else {
            return Ok(());
        };
        attempts += 1;
        if !error.may_have_committed() && !matches!(error, ApiError::NotFound(_)) {
            return Err(error);
        }
        if client
            .service(account, to)
            .await?
            .is_some_and(|service| is_ours(&service))
        {
            return Ok(());
        }
        let still_there = client
            .service(account, from)
            .await?
            .is_some_and(|service| is_ours(&service));
        if !still_there || attempts >= ATTEMPTS {
            return Err(error);
        }
    }
}
