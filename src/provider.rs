//! The provider block: its schema, where its values come from, and the registry of resources.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use crate::cloudflare::{AccountId, BASE_URL, Credentials, MAX_RETRIES, is_loopback};
use crate::resources::{self, Access, Login, Session, duration};
use crate::tf::{
    Attr, Attribute, AttributePath, Diagnostic, Diagnostics, Mode, Number, Provider, Resource,
    Schema, Type, Value,
};

const DESCRIPTION: &str = "Runs Cloudflare Workers with Durable Objects as code: class changes become migrations that are \
    shown in the plan, and no data is deleted without consent.";

/// How long a class name rests between two namespaces, unless a configuration says otherwise.
const SETTLE: Duration = Duration::from_secs(30);

/// The provider, not yet configured.
pub fn provider() -> Arc<dyn Provider> {
    let session = Arc::new(Session::default());
    Arc::new(Cloudflare {
        schema: schema(),
        resources: resources::all(&session),
        session,
    })
}

struct Cloudflare {
    schema: Schema,
    session: Arc<Session>,
    resources: Vec<Arc<dyn Resource>>,
}

fn schema() -> Schema {
    let text = |name, description| Attribute::new(name, Mode::Optional, Type::String, description);
    Schema {
        version: 0,
        description: Cow::Borrowed(DESCRIPTION),
        attributes: vec![
            text(
                "api_token",
                "API token with the permission Workers Scripts Write. Default: the environment variable `CLOUDFLARE_API_TOKEN`.",
            )
            .sensitive(),
            text("email", "E-mail address that belongs to `api_key`. Default: `CLOUDFLARE_EMAIL`."),
            text("api_key", "Global API key, for accounts without API tokens. Default: `CLOUDFLARE_API_KEY`.").sensitive(),
            text(
                "account_id",
                "Account of every Worker that names none. Default: `CLOUDFLARE_ACCOUNT_ID`, else the only account that the credentials see.",
            ),
            text(
                "base_url",
                "Base URL of the API, ending in `/client/v4`. Default: `CLOUDFLARE_BASE_URL`, then `CLOUDFLARE_API_BASE_URL`, then Cloudflare.",
            ),
            Attribute::new(
                "max_retries",
                Mode::Optional,
                Type::Number,
                "How often a failed call is repeated where that is safe. Default: 4.",
            ),
            text(
                "settle",
                "How long a class name rests between being given up by one namespace and being given to another, such as `30s`. \
                 Default: `30s`, or `0s` where the API's host is this machine.",
            ),
        ],
    }
}

impl Provider for Cloudflare {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn validate(&self, config: &Value) -> Diagnostics {
        let mut diagnostics = Diagnostics::default();
        if let Attr::Known(settle) = config.get("settle").text()
            && duration::parse(&settle).is_none()
        {
            diagnostics.push(
                Diagnostic::error("Invalid duration", duration::expected("settle", &settle))
                    .at(AttributePath::root("settle")),
            );
        }
        if let Value::Number(number) = config.get("max_retries")
            && retries(number).is_none()
        {
            diagnostics.push(
                Diagnostic::error(
                    "Invalid number of retries",
                    format!("`max_retries` is {number}; it must be a whole number from 0 to 100."),
                )
                .at(AttributePath::root("max_retries")),
            );
        }
        for (one, other) in [("email", "api_key"), ("api_key", "email")] {
            if !config.get(one).is_null()
                && config.get(other).is_null()
                && environment(variable(other)).is_none()
            {
                diagnostics.push(
                    Diagnostic::error(
                        "Incomplete credentials",
                        format!("`{one}` is of no use without `{other}` (or the environment variable `{}`).", variable(other)),
                    )
                    .at(AttributePath::root(one)),
                );
            }
        }
        diagnostics
    }

    fn configure(&self, config: &Value) -> Diagnostics {
        let diagnostics = self.validate(config);
        if !diagnostics.has_errors() {
            self.session.configure(access(config));
        }
        diagnostics
    }

    fn resources(&self) -> &[Arc<dyn Resource>] {
        &self.resources
    }
}

fn retries(number: &Number) -> Option<u32> {
    number
        .as_i64()
        .and_then(|int| u32::try_from(int).ok())
        .filter(|int| *int <= 100)
}

fn variable(attribute: &str) -> &'static str {
    match attribute {
        "email" => "CLOUDFLARE_EMAIL",
        _ => "CLOUDFLARE_API_KEY",
    }
}

fn environment(variable: &str) -> Option<String> {
    std::env::var(variable)
        .ok()
        .map(|value| value.trim().to_owned())
        .filter(|value| !value.is_empty())
}

/// What the block says, completed from the environment.
fn access(config: &Value) -> Access {
    let setting = |attribute: &str, variables: &[&str]| -> Attr<String> {
        config
            .get(attribute)
            .text()
            .map(|text| text.to_string())
            .or(|| {
                variables
                    .iter()
                    .find_map(|variable| environment(variable))
                    .into()
            })
    };
    let written = |attribute: &str| !config.get(attribute).is_null();
    let token = setting("api_token", &["CLOUDFLARE_API_TOKEN"]);
    let email = setting("email", &["CLOUDFLARE_EMAIL"]);
    let key = setting("api_key", &["CLOUDFLARE_API_KEY"]);
    let key_is_meant = !written("api_token") && (written("email") || written("api_key"));
    let login = match (token, email, key) {
        (Attr::Known(token), _, _) if !key_is_meant => {
            Login::Known(Credentials::ApiToken(SecretString::from(token)))
        }
        (Attr::Unknown, _, _) => Login::Unknown("api_token"),
        (_, Attr::Unknown, _) => Login::Unknown("email"),
        (_, _, Attr::Unknown) => Login::Unknown("api_key"),
        (_, Attr::Known(email), Attr::Known(key)) => Login::Known(Credentials::GlobalKey {
            email,
            key: SecretString::from(key),
        }),
        _ => Login::Missing,
    };
    let base_url = setting(
        "base_url",
        &["CLOUDFLARE_BASE_URL", "CLOUDFLARE_API_BASE_URL"],
    )
    .or(|| Attr::Known(BASE_URL.to_owned()));
    Access {
        login,
        account: setting("account_id", &["CLOUDFLARE_ACCOUNT_ID"]).map(AccountId::new),
        max_retries: match config.get("max_retries") {
            Value::Number(number) => retries(number).unwrap_or(MAX_RETRIES),
            _ => MAX_RETRIES,
        },
        settle: match config.get("settle").text() {
            Attr::Known(settle) => duration::parse(&settle).unwrap_or(SETTLE),
            Attr::Null | Attr::Unknown if base_url.known().is_some_and(|url| is_loopback(url)) => {
                Duration::ZERO
            }
            Attr::Null | Attr::Unknown => SETTLE,
        },
        base_url,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(members: &[(&'static str, Value)]) -> Value {
        let mut value = Value::object(
            schema()
                .attributes
                .iter()
                .map(|a| (a.name.clone(), Value::Null)),
        );
        for (name, member) in members {
            value.set(name, member.clone());
        }
        value
    }

    #[test]
    fn an_unknown_token_is_accepted_and_remembered_as_unknown() {
        let config = block(&[("api_token", Value::Unknown)]);
        assert!(provider().validate(&config).is_empty());
        assert!(matches!(access(&config).login, Login::Unknown("api_token")));
    }

    #[test]
    fn bad_settings_are_refused_with_their_place() {
        let config = block(&[
            ("settle", "soon".into()),
            ("max_retries", Value::Number(Number::Int(-1))),
        ]);
        let places: Vec<String> = provider()
            .validate(&config)
            .iter()
            .map(|d| d.path.clone().unwrap_or_default().to_string())
            .collect();
        assert_eq!(places, ["settle", "max_retries"]);
    }

    #[test]
    fn a_written_key_wins_over_a_token_from_the_environment() {
        let config = block(&[("email", "a@example.com".into()), ("api_key", "k".into())]);
        assert!(matches!(
            access(&config).login,
            Login::Known(Credentials::GlobalKey { .. })
        ));
    }

    #[test]
    fn class_names_rest_unless_the_api_is_on_this_machine() {
        let settle = |url: &str, settle: Value| {
            access(&block(&[("base_url", url.into()), ("settle", settle)])).settle
        };
        for url in [
            "http://127.0.0.1:8787/client/v4",
            "http://[::1]:8787/client/v4",
            "http://localhost/client/v4",
        ] {
            assert_eq!(settle(url, Value::Null), Duration::ZERO, "{url}");
        }
        let real = "https://api.cloudflare.com/client/v4";
        assert_eq!(settle(real, Value::Null), SETTLE);
        assert_eq!(settle("http://10.0.0.1/client/v4", Value::Null), SETTLE);
        assert_eq!(settle(real, "5s".into()), Duration::from_secs(5));
    }
}
