//! `/deployments` of a Worker: which versions are and were served.

use serde_json::{Value, json};

use super::versions::{AUTHOR_EMAIL, find};
use super::{Answer, Api, ok, wrong_method};
use crate::cloudflare::clock;
use crate::cloudflare::versions::{
    self, Deployment, Occasion, Rollout, forget_deployment, no_deployment, roll_out,
};

pub(super) async fn all(api: &Api, name: &str) -> Answer {
    match api.method.as_str() {
        "GET" => {
            let script = find(&api.seen, name)?;
            // Dates of one form are in order as texts; without the `Z` also when one is more precise.
            let bound = |name: &str| api.query(name).map(|date| date.trim_end_matches('Z'));
            let (since, until) = (bound("since"), bound("until"));
            let deployments: Vec<Value> = script
                .deployments
                .iter()
                .filter(|it| since.is_none_or(|since| it.created_on.as_str() >= since))
                .filter(|it| {
                    until.is_none_or(|until| {
                        it.created_on.as_str() <= until || it.created_on.starts_with(until)
                    })
                })
                .map(|deployment| shown(deployment))
                .collect();
            Ok(ok(json!({"deployments": deployments})))
        }
        "POST" => {
            let body = api.json()?;
            let rollout = Rollout::parse(&body, api.query("force") == Some("true"))?;
            let mut annotations = versions::annotations(body.get("annotations"))?;
            annotations.remove("workers/tag");
            let deployment = api
                .cloud
                .change(|account| {
                    let now = clock::now();
                    let occasion = Occasion::new(&now, api.client(), "deployment", annotations);
                    roll_out(account, name, rollout, &occasion)
                })
                .await?;
            Ok(ok(shown(&deployment)))
        }
        _ => Err(wrong_method()),
    }
}

pub(super) async fn one(api: &Api, name: &str, id: &str) -> Answer {
    match api.method.as_str() {
        "GET" => {
            let mut deployments = find(&api.seen, name)?.deployments.iter();
            let found = deployments.find(|deployment| deployment.id == id);
            found
                .map(|deployment| ok(shown(deployment)))
                .ok_or_else(no_deployment)
        }
        "DELETE" => {
            api.cloud
                .change(|account| forget_deployment(account, name, id))
                .await?;
            Ok(ok(Value::Null))
        }
        _ => Err(wrong_method()),
    }
}

fn shown(deployment: &Deployment) -> Value {
    json!({
        "id": deployment.id,
        "created_on": deployment.created_on,
        "source": deployment.source,
        "strategy": "percentage",
        "author_email": AUTHOR_EMAIL,
        "annotations": deployment.annotations,
        "versions": deployment.versions,
    })
}
