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

#[cfg(test)]
mod tests {
    use super::super::server::{Server, account, json, ok, refusal, script};
    use super::*;

    #[tokio::test]
    async fn accounts_are_read_to_the_last_page_without_a_count() {
        let page = |ids: &str| {
            json(
                200,
                &format!(
                    r#"{{"success":true,"result":[{ids}],"result_info":{{"page":1,"per_page":2}}}}"#
                ),
            )
        };
        let server = Server::start([
            page(r#"{"id":"a","name":"A"},{"id":"b","name":null}"#),
            page(r#"{"id":"c"}"#),
        ])
        .await;
        let accounts = server.client().accounts().await.expect("two pages");
        let ids: Vec<&str> = accounts.iter().map(|account| account.id.as_str()).collect();
        assert_eq!(ids, ["a", "b", "c"]);
        let pages = [
            "GET /accounts?page=1&per_page=50",
            "GET /accounts?page=2&per_page=50",
        ];
        assert_eq!(server.asked(), pages);
    }

    #[tokio::test]
    async fn an_account_without_a_subdomain_is_no_error() {
        let server = Server::start([
            ok(r#"{"subdomain":"team"}"#),
            refusal(404, 10007, "none"),
            ok("null"),
            refusal(403, 10023, "workers.api.error.unauthorized"),
        ])
        .await;
        let client = server.client();
        let name = client.account_subdomain(&account()).await.expect("a name");
        assert_eq!(name.as_deref(), Some("team"));
        assert_eq!(
            client.account_subdomain(&account()).await.expect("none"),
            None
        );
        assert_eq!(
            client.account_subdomain(&account()).await.expect("none"),
            None
        );
        assert!(client.account_subdomain(&account()).await.is_err());
    }

    #[tokio::test]
    async fn a_worker_that_is_not_visible_yet_is_waited_for() {
        let server = Server::start([
            refusal(404, 10007, "This Worker does not exist on your account."),
            ok(r#"{"enabled":true,"previews_enabled":false}"#),
        ])
        .await;
        let set = server
            .client()
            .set_script_subdomain(&account(), &script("w"), true, None)
            .await;
        let expect = ScriptSubdomain {
            enabled: true,
            previews_enabled: false,
        };
        assert_eq!(set.expect("the second answer"), expect);
        let request = &server.requests()[1];
        assert!(request.starts_with("POST /client/v4/accounts/acc/workers/scripts/w/subdomain "));
        assert!(
            request.contains("cloudflare-workers-script-api-date: 2025-08-01"),
            "{request}"
        );
        assert!(request.ends_with(r#"{"enabled":true}"#), "{request}");
    }
}
