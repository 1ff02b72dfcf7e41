//! A counting Worker for scenarios that are about what happens around it.

use acceptance_tests::stage::Stage;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

/// A Worker `chat` with one namespace; a visit counts. Variables stand for edits.
pub const CHAT: &str = r#"
provider "cloudflare" {
  max_retries = 1
}

variable "name" {
  default = "chat"
}

variable "class" {
  default = "Room"
}

variable "greeting" {
  default = "hello"
}

variable "consent" {
  default = false
}

resource "cloudflare_do_namespace" "rooms" {
  stable_id     = "rooms"
  class_name    = var.class
  force_destroy = var.consent
}

resource "cloudflare_worker" "chat" {
  name               = var.name
  compatibility_date = "2026-11-01"
  workers_dev        = true
  script = <<-JS
    import { DurableObject } from "cloudflare:workers";
    export class ${var.class} extends DurableObject {
      async fetch() {
        const count = ((await this.ctx.storage.get("count")) ?? 0) + 1;
        await this.ctx.storage.put("count", count);
        return new Response(`${var.greeting} $${count}`);
      }
    }
    export default {
      fetch(request, env) {
        return env.ROOMS.get(env.ROOMS.idFromName("one")).fetch(request);
      },
    };
  JS
  bindings = {
    ROOMS = cloudflare_do_namespace.rooms
  }
}
"#;

/// What another tool deploys: the same kind of Worker, which says `other`.
pub const OTHER: &str = r#"import { DurableObject } from "cloudflare:workers";
export class Room extends DurableObject {
  async fetch() {
    const count = ((await this.ctx.storage.get("count")) ?? 0) + 1;
    await this.ctx.storage.put("count", count);
    return new Response(`other ${count}`);
  }
}
export default {
  fetch(request, env) {
    return env.ROOMS.get(env.ROOMS.idFromName("one")).fetch(request);
  },
};
"#;

/// The metadata that [`OTHER`] is deployed with: a tag, a variable, a secret, settings and tags of its own.
pub fn metadata() -> Value {
    json!({
        "main_module": "index.js",
        "compatibility_date": "2026-10-01",
        "compatibility_flags": ["nodejs_compat"],
        "bindings": [
            {"name": "ROOMS", "type": "durable_object_namespace", "class_name": "Room"},
            {"name": "GREETING", "type": "plain_text", "text": "hi"},
            {"name": "SECRET", "type": "secret_text", "text": "nobody-may-see-this"},
            {"name": "AI", "type": "ai"},
        ],
        "migrations": {"new_tag": "v3", "steps": [{"new_sqlite_classes": ["Room"]}]},
        "tags": ["team:x"],
        "observability": {"enabled": true},
        "logpush": true,
        "placement": {"mode": "smart"},
        "tail_consumers": [],
    })
}

/// Uploads [`OTHER`] as wrangler would.
pub async fn upload_as_another_tool(stage: &Stage, script: &str) {
    upload(stage, script, &metadata()).await;
}

/// Uploads [`OTHER`] with other metadata.
pub async fn upload(stage: &Stage, script: &str, metadata: &Value) {
    upload_code(stage, script, metadata, OTHER).await;
}

/// Uploads any module.
pub async fn upload_code(stage: &Stage, script: &str, metadata: &Value, code: &'static str) {
    let code = Part::text(code)
        .file_name("index.js")
        .mime_str("application/javascript+module")
        .expect("a content type");
    let form = Form::new()
        .text("metadata", metadata.to_string())
        .part("index.js", code);
    let (api, account) = (stage.cloudflare.api_url(), stage.cloudflare.account_id());
    let answer = reqwest::Client::new()
        .put(format!("{api}/accounts/{account}/workers/scripts/{script}"))
        .bearer_auth(stage.cloudflare.token())
        .multipart(form)
        .send()
        .await
        .expect("local Cloudflare answers");
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    assert!(status.is_success(), "{text}");
}

/// The only change of a plan: its actions, and the attributes that differ.
pub async fn only_change(stage: &Stage, extra: &[&str]) -> (Value, Vec<String>) {
    let plan = stage.workspace.plan_json(extra).await;
    let changes = plan["resource_changes"].as_array().expect("it lists them");
    let changes: Vec<&Value> = changes
        .iter()
        .map(|it| &it["change"])
        .filter(|it| it["actions"] != json!(["no-op"]))
        .collect();
    let [change] = changes[..] else {
        panic!("there should be one change: {changes:?}");
    };
    let after = change["after"].as_object().expect("nothing is destroyed");
    let unknown = change["after_unknown"].as_object();
    let differs = |name: &str, value: &Value| {
        *value != change["before"][name]
            || unknown.is_some_and(|it| it.get(name) == Some(&json!(true)))
    };
    let mut names: Vec<String> = after
        .iter()
        .filter(|(name, value)| differs(name, value))
        .map(|(name, _)| name.clone())
        .collect();
    names.extend(
        unknown
            .into_iter()
            .flatten()
            .filter(|(name, value)| **value == json!(true) && !after.contains_key(*name))
            .map(|(name, _)| name.clone()),
    );
    names.sort();
    (change["actions"].clone(), names)
}
