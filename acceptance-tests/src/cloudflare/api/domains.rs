//! `/workers/domains`: custom domains, one by one and all of a Worker at once.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Api, ok, page, wrong_method};
use crate::cloudflare::domains::DomainDraft;
use crate::cloudflare::failure::ApiFailure;

#[derive(Deserialize)]
struct Put {
    service: String,
    #[serde(default)]
    environment: Option<String>,
    #[serde(default)]
    override_existing_origin: bool,
    #[serde(flatten)]
    draft: DomainDraft,
}

#[derive(Deserialize)]
struct Records {
    #[serde(default)]
    override_scope: bool,
    #[serde(default)]
    override_existing_origin: bool,
    origins: Vec<DomainDraft>,
}

pub(super) async fn all(api: &Api) -> Answer {
    match api.method.as_str() {
        "GET" => Ok(list(api)),
        "PUT" => {
            let put: Put = read(api)?;
            if put.environment.is_some_and(|name| name != "production") {
                return Err(ApiFailure::new(
                    404,
                    10092,
                    "workers.api.error.environment_not_found",
                ));
            }
            let change = api.cloud.change(|account| {
                let domain =
                    account.put_domain(&put.service, &put.draft, put.override_existing_origin)?;
                Ok(account.shown_domain(&domain))
            });
            Ok(ok(change.await?))
        }
        _ => Err(wrong_method()),
    }
}

fn list(api: &Api) -> axum::http::Response<axum::body::Body> {
    let filters = ["hostname", "service", "environment", "zone_id", "zone_name"];
    let shown: Vec<Value> = api
        .seen
        .domains
        .iter()
        .map(|domain| api.seen.shown_domain(domain))
        .filter(|shown| {
            let mut wanted = filters
                .iter()
                .filter_map(|name| Some((*name, api.query(name)?)));
            wanted.all(|(name, value)| shown[name] == value)
        })
        .collect();
    let count = shown.len();
    let info = json!({"page": 1, "per_page": count, "count": count, "total_count": count, "total_pages": 1});
    page(shown.into(), Some(info))
}

pub(super) async fn one(api: &Api, id: &str) -> Answer {
    match api.method.as_str() {
        "GET" => Ok(ok(api.seen.shown_domain(api.seen.domain(id)?))),
        "DELETE" => {
            api.cloud
                .change(|account| account.delete_domain(id))
                .await?;
            Ok(ok(Value::Null))
        }
        _ => Err(wrong_method()),
    }
}

/// `PUT /workers/scripts/{name}/domains/records`: gives domains to a Worker; with `override_scope`, exactly these.
pub(super) async fn of_script(api: &Api, name: &str) -> Answer {
    if api.method != "PUT" {
        return Err(wrong_method());
    }
    let wanted: Records = read(api)?;
    let change = api.cloud.change(|account| {
        let domains = account.put_domains(
            name,
            &wanted.origins,
            wanted.override_existing_origin,
            wanted.override_scope,
        )?;
        let shown = domains.iter().map(|domain| account.shown_domain(domain));
        Ok(shown.collect::<Vec<Value>>())
    });
    Ok(ok(change.await?.into()))
}

/// `POST /workers/scripts/{name}/domains/changeset`: what giving these domains to a Worker would change.
pub(super) async fn changeset(api: &Api, name: &str) -> Answer {
    if api.method != "POST" {
        return Err(wrong_method());
    }
    let drafts: Vec<DomainDraft> = read(api)?;
    let only = api.query("replace_state") == Some("true");
    let changes = api.seen.domain_changes(name, &drafts, only)?;
    Ok(ok(json!({
        "added": changes.added,
        "updated": changes.updated,
        "removed": changes.removed,
        // There are no DNS records of other origin here.
        "conflicting": [],
    })))
}

fn read<T: serde::de::DeserializeOwned>(api: &Api) -> Result<T, ApiFailure> {
    serde_json::from_value(api.json()?)
        .map_err(|_| ApiFailure::refused(10026, "Could not parse the request body."))
}
