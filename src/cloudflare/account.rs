//! Accounts, and the workers.dev subdomains of accounts and Workers.

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::call::{Call, READ_ACCOUNTS};
use super::{AccountId, ApiError, Client};
use crate::durable::ScriptName;

/// An account that the credentials can see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// Its display name.
    pub name: String,
}

/// How a Worker is reachable below the account's workers.dev subdomain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ScriptSubdomain {
    /// Whether the Worker itself is.
    pub enabled: bool,
    /// Whether previews of its versions are.
    #[serde(default)]
    pub previews_enabled: bool,
}

/// More pages than any account list has; a server that never ends is an error.
const MOST_PAGES: usize = 200;
/// How often a Worker that was just uploaded is looked for before it counts as missing.
const LOOKS: u32 = 5;

impl Client {
    /// Every account that the credentials can see. Empty when the token may not list accounts.
    pub async fn accounts(&self) -> Result<Vec<Account>, ApiError> {
        #[derive(Deserialize)]
        struct Wire {
            id: String,
            #[serde(default)]
            name: Option<String>,
        }
        const PER_PAGE: usize = 50;
        let call = || Call::get("list accounts", &["accounts"]);
        let mut accounts = Vec::new();
        for page in 1..=MOST_PAGES {
            let call = call()?.permission(READ_ACCOUNTS).page(page, PER_PAGE);
            let answer = self.send(&call).await?;
            let per_page = answer
                .count("per_page")
                .filter(|&n| n > 0)
                .unwrap_or(PER_PAGE);
            let wires: Vec<Wire> = answer.decode()?;
            let short = wires.len() < per_page;
            accounts.extend(wires.into_iter().map(|Wire { id, name }| Account {
                id: AccountId::new(id),
                name: name.unwrap_or_default(),
            }));
            if short {
                break;
            }
        }
        Ok(accounts)
    }

    /// The account's workers.dev subdomain, if it has one.
    pub async fn account_subdomain(&self, account: &AccountId) -> Result<Option<String>, ApiError> {
        #[derive(Default, Deserialize)]
        struct Wire {
            subdomain: Option<String>,
        }
        let path = ["accounts", account.as_str(), "workers", "subdomain"];
        match self
            .send(&Call::get(
                "read the workers.dev subdomain of the account",
                &path,
            )?)
            .await
        {
            Ok(answer) => {
                let wire: Option<Wire> = answer.decode()?;
                Ok(wire
                    .unwrap_or_default()
                    .subdomain
                    .filter(|name| !name.is_empty()))
            }
            Err(ApiError::NotFound(_) | ApiError::NoWorkersDevSubdomain(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How the Worker is reachable on workers.dev.
    pub async fn script_subdomain(
        &self,
        account: &AccountId,
        script: &ScriptName,
    ) -> Result<ScriptSubdomain, ApiError> {
        let path = subdomain_path(account, script);
        self.send(&Call::get(
            "read the workers.dev setting of the Worker",
            &path,
        )?)
        .await?
        .decode()
    }

    /// Sets how the Worker is reachable on workers.dev. Without `previews_enabled` that half stays as it is.
    pub async fn set_script_subdomain(
        &self,
        account: &AccountId,
        script: &ScriptName,
        enabled: bool,
        previews_enabled: Option<bool>,
    ) -> Result<ScriptSubdomain, ApiError> {
        const OPERATION: &str = "set the workers.dev setting of the Worker";
        let mut body = json!({ "enabled": enabled });
        if let Some(previews) = previews_enabled {
            body["previews_enabled"] = previews.into();
        }
        let call = Call::write(OPERATION, Method::POST, &subdomain_path(account, script))?
            .header("Cloudflare-Workers-Script-Api-Date", "2025-08-01")
            .json(&body)
            .repeatable(true);
        let mut looks = 1;
        loop {
            match self.send(&call).await {
                // A Worker is not visible to this endpoint right after its first upload.
                Err(ApiError::NotFound(_)) if looks < LOOKS => {
                    looks += 1;
                    self.wait(OPERATION, self.shared.policy.settle).await?;
                }
                outcome => return outcome?.decode(),
            }
        }
    }
}

fn subdomain_path<'a>(account: &'a AccountId, script: &'a ScriptName) -> [&'a str; 6] {
    [
        "accounts",
        account.as_str(),
        "workers",
        "scripts",
        script.as_str(),
        "subdomain",
    ]
}
