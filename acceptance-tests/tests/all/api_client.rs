//! A client of the API that knows a base URL, an account and a token, as a tool in another process does.

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

/// A Worker that counts its visits in a Durable Object of the class `Counter`.
pub const COUNTER: &str = r#"
import { DurableObject } from "cloudflare:workers";
export class Counter extends DurableObject {
  async increment() {
    const count = ((await this.ctx.storage.get("count")) ?? 0) + 1;
    await this.ctx.storage.put("count", count);
    return count;
  }
}
export default {
  async fetch(request, env) {
    return new Response(`${await env.COUNTER.getByName("one").increment()}`);
  },
};
"#;

/// The metadata of its first upload.
pub fn counter_metadata() -> Value {
    json!({
        "bindings": [{"name": "COUNTER", "type": "durable_object_namespace", "class_name": "Counter"}],
        "migrations": {"new_tag": "v1", "new_sqlite_classes": ["Counter"]},
    })
}

/// A client of one account.
pub struct ApiClient {
    pub http: Client,
    account_url: String,
    token: String,
}

impl ApiClient {
    pub fn new(api_url: &str, account_id: &str, token: &str) -> Self {
        // Tests of other files may have chosen it already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Self {
            http: Client::new(),
            account_url: format!("{api_url}/accounts/{account_id}"),
            token: token.into(),
        }
    }

    /// A request for something below the account.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.account_url);
        self.http.request(method, url).bearer_auth(&self.token)
    }

    /// Uploads a Worker of one module. The status and the body of the answer.
    pub async fn upload(&self, script: &str, code: &str, mut metadata: Value) -> (u16, Value) {
        metadata["main_module"] = json!("worker.js");
        metadata["compatibility_date"] = json!("2026-01-01");
        let module = reqwest::multipart::Part::text(code.to_owned())
            .file_name("worker.js")
            .mime_str("application/javascript+module")
            .expect("the type is well formed");
        let form = reqwest::multipart::Form::new()
            .text("metadata", metadata.to_string())
            .part("worker.js", module);
        let request = self.request(Method::PUT, &format!("/workers/scripts/{script}"));
        let response = request.multipart(form).send().await;
        let response = response.expect("the API answers");
        let status = response.status().as_u16();
        (status, response.json().await.expect("the answer is JSON"))
    }
}
