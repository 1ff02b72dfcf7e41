//! What the resources of one provider process share: access to Cloudflare, and what the process has seen and done.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::diagnose;
use super::waiting::Applies;
use crate::bundle::{Bundler, Exports};
use crate::cloudflare::{AccountId, Client, Configuration, Credentials, is_loopback};
use crate::durable::{ScriptName, StableId};
use crate::tf::{Attr, Diagnostic};

/// Of how many Workers a process remembers what their code exports.
const KEPT_EXPORTS: usize = 256;

/// Who calls Cloudflare, if that is known.
#[derive(Clone, Debug)]
pub enum Login {
    /// Known.
    Known(Credentials),
    /// This attribute of the provider block is not known before apply.
    Unknown(&'static str),
    /// Neither the block nor the environment names any.
    Missing,
}

/// How Cloudflare is reached, as configured.
#[derive(Clone, Debug)]
pub struct Access {
    /// Who calls.
    pub login: Login,
    /// The account of resources that name none.
    pub account: Attr<AccountId>,
    /// The API's base URL.
    pub base_url: Attr<String>,
    /// How often a call is repeated at most.
    pub max_retries: u32,
    /// How long a class name rests between two namespaces.
    pub settle: Duration,
}

/// Why there is no client.
#[derive(Clone, Debug)]
pub enum NoClient {
    /// Part of the provider's configuration is unknown until apply; nothing is wrong.
    Unknown(&'static str),
    /// The configuration cannot work.
    Unusable(Box<Diagnostic>),
}

impl NoClient {
    /// What to say where a client is indispensable.
    pub fn diagnostic(self) -> Diagnostic {
        match self {
            NoClient::Unusable(diagnostic) => *diagnostic,
            NoClient::Unknown(attribute) => Diagnostic::error(
                "Provider configuration is not known yet",
                format!(
                    "`{attribute}` of the provider block depends on a resource that does not exist yet, but Cloudflare has to \
                     be asked now. Apply that resource first, for example with `-target`."
                ),
            ),
        }
    }
}

#[derive(Default)]
struct Configured {
    access: Option<Access>,
    client: OnceLock<Result<Client, Box<Diagnostic>>>,
    only_account: OnceCell<AccountId>,
}

#[derive(Default)]
struct Memory {
    /// Workers whose state has passed by, by account and immutable id.
    seen: HashSet<(AccountId, String)>,
    /// Which Workers that exist this process planned for, and whether as a create.
    planned: HashMap<(AccountId, String), bool>,
    /// Workers that this process creates or created, and has not deleted.
    created: HashSet<(AccountId, ScriptName)>,
    /// Which Workers this process plans to host a stable ID.
    hosts: HashMap<(Option<AccountId>, StableId), HashSet<ScriptName>>,
    /// What code exports, by its hash.
    exports: HashMap<String, Arc<Exports>>,
    /// Warnings that are given once a process.
    warned: HashSet<&'static str>,
}

/// One provider process between two configurations.
#[derive(Default)]
pub struct Session {
    configured: Mutex<Arc<Configured>>,
    memory: Mutex<Memory>,
    /// The applies that run now.
    pub(super) applies: Applies,
    /// Who bundles.
    pub(super) bundler: Bundler,
}

impl Session {
    /// Takes a configuration, and forgets what was done under the one before.
    pub fn configure(&self, access: Access) {
        let local = access.base_url.known().is_some_and(|url| is_loopback(url));
        self.applies.set_local(local);
        let configured = Configured {
            access: Some(access),
            ..Configured::default()
        };
        *self
            .configured
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(configured);
        self.bundler.forget();
        // What was read of states is remembered: cores may upgrade them before they configure.
        let mut memory = self.memory();
        memory.planned.clear();
        memory.created.clear();
        memory.hosts.clear();
        memory.warned.clear();
    }

    fn configured(&self) -> Arc<Configured> {
        self.configured
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a class name rests between two namespaces.
    pub fn settle(&self) -> Duration {
        let configured = self.configured();
        configured
            .access
            .as_ref()
            .map(|access| access.settle)
            .unwrap_or_default()
    }

    /// A client whose waits end when `stop` is cancelled. Makes no call.
    pub fn client(&self, stop: &CancellationToken) -> Result<Client, NoClient> {
        let configured = self.configured();
        let Some(access) = &configured.access else {
            let text = "The provider has not been configured. This is a bug in the provider or in the core.";
            return Err(NoClient::Unusable(Box::new(Diagnostic::error(
                "Provider is not configured",
                text,
            ))));
        };
        let credentials = match &access.login {
            Login::Known(credentials) => credentials,
            Login::Unknown(attribute) => return Err(NoClient::Unknown(attribute)),
            Login::Missing => {
                return Err(NoClient::Unusable(Box::new(Diagnostic::error(
                    "No credentials for Cloudflare",
                    "Set the environment variable `CLOUDFLARE_API_TOKEN` (or `api_token` in the provider block) to an API token \
                     with the permission Workers Scripts Write. With a global key, set `CLOUDFLARE_EMAIL` and \
                     `CLOUDFLARE_API_KEY` instead.",
                ))));
            }
        };
        let Attr::Known(base_url) = &access.base_url else {
            return Err(NoClient::Unknown("base_url"));
        };
        let client = configured.client.get_or_init(|| {
            Client::new(Configuration {
                base_url: base_url.clone(),
                credentials: credentials.clone(),
                max_retries: access.max_retries,
                user_agent: concat!("terraform-provider-cloudflare/", env!("CARGO_PKG_VERSION")).to_owned(),
            })
            .map_err(|error| {
                Box::new(Diagnostic::error(
                    "Invalid provider configuration",
                    format!("Failed to {error}. Check the provider block and the `CLOUDFLARE_…` environment variables."),
                ))
            })
        });
        match client {
            Ok(client) => Ok(client.with_stop(stop.clone())),
            Err(diagnostic) => Err(NoClient::Unusable(diagnostic.clone())),
        }
    }

    /// The account of resources that name none, as configured.
    pub fn account(&self) -> Attr<AccountId> {
        self.configured()
            .access
            .as_ref()
            .map_or(Attr::Null, |access| access.account.clone())
    }

    /// The account of resources that name none: as configured, else the only one that the credentials see.
    pub async fn resolve_account(&self, client: &Client) -> Result<AccountId, Diagnostic> {
        match self.account() {
            Attr::Known(account) => return Ok(account),
            Attr::Unknown => return Err(NoClient::Unknown("account_id").diagnostic()),
            Attr::Null => {}
        }
        let configured = self.configured();
        let only = configured.only_account.get_or_try_init(|| async {
            let accounts = client.accounts().await.map_err(|e| diagnose::error("Cannot find the account", &e))?;
            match accounts.as_slice() {
                [only] => Ok(only.id.clone()),
                _ => Err(Diagnostic::error(
                    "Which account?",
                    format!(
                        "The credentials see {} accounts, so `account_id` has to be set: on the resource, in the provider block, or as \
                         the environment variable `CLOUDFLARE_ACCOUNT_ID`.",
                        accounts.len()
                    ),
                )),
            }
        });
        only.await.cloned()
    }

    /// Notes that the Worker of this immutable id is in state.
    pub fn saw(&self, account: AccountId, worker_id: &str) {
        self.memory().seen.insert((account, worker_id.to_owned()));
    }

    /// Whether the state of the Worker of this immutable id has passed by.
    pub fn has_seen(&self, account: &AccountId, worker_id: &str) -> bool {
        let seen = (account.clone(), worker_id.to_owned());
        self.memory().seen.contains(&seen)
    }

    /// Notes that the plan of one resource keeps a live Worker, or creates it; false if another resource does the opposite.
    pub fn plan_of(&self, account: AccountId, worker_id: &str, creates: bool) -> bool {
        let planned = (account, worker_id.to_owned());
        *self.memory().planned.entry(planned).or_insert(creates) == creates
    }

    /// Notes that this process creates a Worker; false if it does already. Of two that create it at the same time one is told.
    pub fn claim(&self, account: AccountId, script: ScriptName) -> bool {
        self.memory().created.insert((account, script))
    }

    /// Notes that this process deleted or renamed a Worker, or never came to create it.
    pub fn release(&self, account: &AccountId, script: &ScriptName) {
        self.memory()
            .created
            .remove(&(account.clone(), script.clone()));
    }

    /// Whether this process creates or created a Worker, and has not deleted it.
    pub fn has_created(&self, account: &AccountId, script: &ScriptName) -> bool {
        self.memory()
            .created
            .contains(&(account.clone(), script.clone()))
    }

    /// Notes which stable IDs a Worker is planned to host, and returns those that another one is planned to host too.
    pub fn plan_hosts(
        &self,
        account: Option<&AccountId>,
        script: &ScriptName,
        stable_ids: &[StableId],
    ) -> Vec<(StableId, ScriptName)> {
        let mut memory = self.memory();
        let mut others = Vec::new();
        for stable_id in stable_ids {
            let hosts = memory
                .hosts
                .entry((account.cloned(), stable_id.clone()))
                .or_default();
            hosts.insert(script.clone());
            others.extend(
                hosts
                    .iter()
                    .filter(|host| *host != script)
                    .map(|host| (stable_id.clone(), host.clone())),
            );
        }
        others.sort();
        others
    }

    /// What the code under a key exports, if it was read before.
    pub fn exports(&self, key: &str) -> Option<Arc<Exports>> {
        self.memory().exports.get(key).cloned()
    }

    /// Keeps what code exports, because every plan is made at least twice.
    pub fn keep_exports(&self, key: String, exports: Arc<Exports>) {
        let kept = &mut self.memory().exports;
        if kept.len() >= KEPT_EXPORTS {
            kept.clear();
        }
        kept.insert(key, exports);
    }

    /// Whether this warning has not been given yet; it counts as given from now on.
    pub fn first_time(&self, warning: &'static str) -> bool {
        self.memory().warned.insert(warning)
    }
}
