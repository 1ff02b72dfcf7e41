//! The Cloudflare API client: endpoints, typed errors, retries, the upload form.
//!
//! Knows HTTP and Cloudflare's JSON. Must not know Terraform, resources or plans.

mod account;
mod call;
mod content;
mod envelope;
pub mod error;
pub mod listing;
mod namespace;
mod retry;
#[cfg(test)]
mod server;
pub mod upload;
mod worker;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;

pub use account::{Account, ScriptSubdomain};
pub use content::Content;
pub use error::{ApiError, Failure};
pub use listing::Listings;
pub use namespace::{Objects, Reference, References};
pub use upload::{Metadata, Migrations, Module, Upload, Uploaded};
pub use worker::{ListedScript, ScriptSettings, Service, Settings};

/// Where Cloudflare's API is unless a configuration says otherwise.
pub const BASE_URL: &str = "https://api.cloudflare.com/client/v4";

/// How often a call is repeated unless a configuration says otherwise.
pub const MAX_RETRIES: u32 = 4;

/// An account's id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(Arc<str>);

impl AccountId {
    /// Takes the id as it is; Cloudflare judges it.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        AccountId(id.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who calls.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A token of a user or of an account.
    ApiToken(SecretString),
    /// The global key of a user.
    GlobalKey {
        /// The user's e-mail address.
        email: String,
        /// The key.
        key: SecretString,
    },
}

/// Whether an API is on this machine: local Cloudflare runs no old version any more once it has answered an upload.
pub fn is_loopback(base_url: &str) -> bool {
    let url = reqwest::Url::parse(base_url).ok();
    let host = url
        .as_ref()
        .and_then(|url| url.host_str())
        .unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

/// What a [`Client`] is made from.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// Everything before `/accounts`, for example [`BASE_URL`].
    pub base_url: String,
    /// Who calls.
    pub credentials: Credentials,
    /// How often one call is repeated at most, for example [`MAX_RETRIES`].
    pub max_retries: u32,
    /// Cloudflare turns away requests without a real one.
    pub user_agent: String,
}

/// A handle on one account holder's view of the API. Clones share connections, rate budget and listings.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    stop: CancellationToken,
}

struct Shared {
    /// Without a trailing slash.
    base_url: String,
    headers: HeaderMap,
    user_agent: String,
    loopback: bool,
    policy: retry::Policy,
    /// `None` for a server on this machine, which has no limit to respect.
    budget: Option<retry::Budget>,
    /// Built by the first request: loading root certificates takes time that many runs never need.
    http: OnceLock<Result<reqwest::Client, String>>,
    listings: listing::Cache,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base_url", &self.shared.base_url)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Checks the configuration. No connection is made, nothing is loaded.
    pub fn new(configuration: Configuration) -> Result<Client, ApiError> {
        let policy = retry::Policy::new(configuration.max_retries);
        Client::with_policy(configuration, policy)
    }

    fn with_policy(
        configuration: Configuration,
        policy: retry::Policy,
    ) -> Result<Client, ApiError> {
        let Configuration {
            base_url,
            credentials,
            user_agent,
            ..
        } = configuration;
        let unusable = |text: String| ApiError::Unusable(text);
        let url = reqwest::Url::parse(&base_url)
            .map_err(|error| unusable(format!("the base URL is not a URL: {error}")))?;
        let plain = url.query().is_none() && url.fragment().is_none();
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !plain {
            return Err(unusable(
                "the base URL is not of the form https://host/path".to_owned(),
            ));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(unusable(
                "the base URL must not hold credentials".to_owned(),
            ));
        }
        HeaderValue::from_str(&user_agent)
            .map_err(|_| unusable("the user agent holds a control character".to_owned()))?;
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let loopback = host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        Ok(Client {
            shared: Arc::new(Shared {
                base_url: url.as_str().trim_end_matches('/').to_owned(),
                headers: authentication(&credentials)?,
                user_agent,
                loopback,
                policy,
                budget: (!loopback).then(retry::Budget::new),
                http: OnceLock::new(),
                listings: listing::Cache::default(),
            }),
            stop: CancellationToken::new(),
        })
    }

    /// The same client, whose requests and waits end with [`ApiError::Stopped`] once `stop` is cancelled.
    pub fn with_stop(&self, stop: CancellationToken) -> Client {
        Client {
            shared: Arc::clone(&self.shared),
            stop,
        }
    }

    /// Listings that everybody who only looks can share.
    pub fn listings(&self) -> Listings<'_> {
        Listings::new(self)
    }

    /// Waits, unless stopped. `operation` says for what, as in "wait for the class to appear".
    pub async fn wait(&self, operation: &'static str, time: Duration) -> Result<(), ApiError> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(ApiError::Stopped { operation, in_flight: false }),
            () = tokio::time::sleep(time) => Ok(()),
        }
    }
}

/// The headers that say who calls.
fn authentication(credentials: &Credentials) -> Result<HeaderMap, ApiError> {
    let value = |what: &str, text: &str| {
        // What the text holds is not repeated: it is a secret, or close to one.
        let unusable = |why| ApiError::Unusable(format!("the {what} {why}"));
        if text.trim().is_empty() {
            return Err(unusable("is empty"));
        }
        let fits = text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' ');
        let mut value = HeaderValue::from_str(text)
            .ok()
            .filter(|_| fits)
            .ok_or_else(|| unusable("holds a character that no header may hold"))?;
        value.set_sensitive(true);
        Ok(value)
    };
    let mut headers = HeaderMap::new();
    match credentials {
        Credentials::ApiToken(token) => {
            let token = token.expose_secret();
            value("API token", token)?;
            headers.insert(
                AUTHORIZATION,
                value("API token", &format!("Bearer {token}"))?,
            );
        }
        Credentials::GlobalKey { email, key } => {
            let name = HeaderName::from_static;
            headers.insert(name("x-auth-email"), value("e-mail address", email)?);
            headers.insert(name("x-auth-key"), value("API key", key.expose_secret())?);
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(base_url: &str, token: &str) -> Configuration {
        Configuration {
            base_url: base_url.to_owned(),
            credentials: Credentials::ApiToken(token.to_owned().into()),
            max_retries: MAX_RETRIES,
            user_agent: "test".to_owned(),
        }
    }

    #[test]
    fn unusable_configurations_are_refused_without_repeating_secrets() {
        for (base_url, token) in [
            ("api.cloudflare.com", "t0p"),
            ("ftp://host/", "t0p"),
            ("https://host/?t0p", "t0p"),
            ("https://user:t0p@host/", "t0p"),
            (BASE_URL, ""),
            (BASE_URL, "t0p\n"),
            (BASE_URL, "t0pä"),
        ] {
            let error = Client::new(configuration(base_url, token)).expect_err("unusable");
            assert!(
                matches!(error, ApiError::Unusable(_)),
                "{base_url}: {error:?}"
            );
            assert!(!error.to_string().contains("t0p"), "{error}");
        }
    }

    #[test]
    fn nothing_that_prints_shows_the_token() {
        let configuration = configuration(BASE_URL, "t0p");
        let shown = format!("{configuration:?}");
        let client = Client::new(configuration).expect("usable");
        assert!(!format!("{shown}{client:?}").contains("t0p"));
        assert!(
            client.shared.http.get().is_none(),
            "nothing is built before the first request"
        );
    }

    #[test]
    fn only_a_server_on_this_machine_has_no_budget() {
        for (base_url, limited) in [
            (BASE_URL, true),
            ("http://127.0.0.1:8787/client/v4", false),
            ("http://[::1]:8787/client/v4/", false),
            ("http://localhost:1", false),
            ("http://localhost.example.com", true),
        ] {
            let client = Client::new(configuration(base_url, "t")).expect("usable");
            assert_eq!(client.shared.budget.is_some(), limited, "{base_url}");
        }
    }
}
