//! What wrangler and alchemy sent, recorded once and replayed against local Cloudflare: it must answer each request with the
//! status and the code that the client went on with. What differs on purpose is in [`CORRECTIONS`], with its reason.
//!
//! A transcript is a list of steps: the command that a person typed, the requests that it made, and what deployed Workers
//! answered afterwards. `{version}` and `{jwt}` stand for what the server handed out last.

use std::fmt::Write as _;

use acceptance_tests::cloudflare::{LocalCloudflare, Options};
use acceptance_tests::install;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

/// Where the recorded answers were wrong: transcript, request, the right status and code, and why.
/// The recorded answers are as good as was known at that time.
const CORRECTIONS: [(&str, u64, u16, Option<u64>, &str); 5] = [
    (
        "alchemy0.94-01-minimal-kv-bind.json",
        4,
        400,
        Some(10068),
        "code without handlers is refused before its migrations are looked at",
    ),
    (
        "alchemy0.94-03-sqlite-rename-remove.json",
        19,
        400,
        Some(100_331),
        "the Worker implements Durable Objects until its upload has come; alchemy repeats this request",
    ),
    ("wrangler4.164-08-assets.json", 5, 201, None, COMPLETED),
    ("wrangler4.164-08-assets.json", 24, 201, None, COMPLETED),
    ("wrangler4.164-08-assets.json", 36, 201, None, COMPLETED),
];

const COMPLETED: &str = "the upload that completes a session creates the set of assets";

/// One test a transcript, and a list of all.
macro_rules! transcripts {
    ($($test:ident: $file:literal,)*) => {
        const ALL: &[&str] = &[$($file),*];
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                replay($file, include_str!(concat!("../transcripts/", $file))).await;
            }
        )*
    };
}

transcripts! {
    alchemy_declares_a_namespace_without_its_class: "alchemy0.94-01-minimal-kv-bind.json",
    alchemy_binds_a_key_value_class: "alchemy0.94-02-bind-kv.json",
    alchemy_renames_and_removes_a_class: "alchemy0.94-03-sqlite-rename-remove.json",
    alchemy_shares_a_class_by_its_binding: "alchemy0.94-04-cross-script-method1.json",
    alchemy_shares_a_class_by_the_script_name: "alchemy0.94-05-cross-script-method2.json",
    wrangler_deploys_a_class_twice: "wrangler4.164-01-sqlite-create-redeploy.json",
    wrangler_deploys_a_key_value_class: "wrangler4.164-02-kv-create.json",
    wrangler_renames_and_deletes_a_class: "wrangler4.164-03-rename-then-delete-class.json",
    wrangler_shares_a_class: "wrangler4.164-05-cross-script.json",
    wrangler_manages_secrets: "wrangler4.164-06-secrets.json",
    wrangler_deploys_crons_and_modules_of_all_kinds: "wrangler4.164-07-crons-vars-modules.json",
    wrangler_deploys_assets: "wrangler4.164-08-assets.json",
}

#[test]
fn every_transcript_is_replayed() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transcripts");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .expect("the folder of transcripts is there")
        .map(|entry| entry.expect("it can be listed").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    files.sort();
    assert_eq!(files, ALL);
    for (file, _, _, _, why) in CORRECTIONS {
        assert!(ALL.contains(&file) && !why.is_empty(), "{file}");
    }
}

/// A client that says what somebody else once said.
struct Replay {
    local: LocalCloudflare,
    http: reqwest::Client,
    /// The last version that was uploaded.
    version: String,
    /// The last token of an upload of assets.
    jwt: String,
}

async fn replay(file: &str, transcript: &str) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let workerd = install::workerd().await.expect("workerd can be installed");
    let local = LocalCloudflare::start(Options::new(workerd)).await;
    let mut replay = Replay {
        local: local.expect("local Cloudflare starts"),
        http: reqwest::Client::new(),
        version: String::new(),
        jwt: String::new(),
    };
    let transcript: Value = serde_json::from_str(transcript).expect("a transcript is JSON");
    let (mut command, mut wrong) = ("", String::new());
    for step in transcript["steps"].as_array().expect("it has steps") {
        if let Some(text) = step["command"].as_str() {
            command = text;
            continue;
        }
        let (expected, found) = replay.step(file, step).await;
        if expected != found {
            let what = [&step["method"], &step["path"], &step["visit"]].map(|part| part.as_str());
            let what: Vec<&str> = what.into_iter().flatten().collect();
            writeln!(
                wrong,
                "{command}: {} {}\n  expected {expected}\n  found    {found}",
                step["seq"],
                what.join(" ")
            )
            .expect("a string can be written to");
        }
    }
    replay.local.stop().await;
    assert!(wrong.is_empty(), "{file}\n{wrong}");
}

impl Replay {
    /// What was to be seen, and what is.
    async fn step(&mut self, file: &str, step: &Value) -> (String, String) {
        if let Some(expected) = step.get("namespaces") {
            let account = self.local.account();
            let found: Vec<String> = account
                .namespaces
                .iter()
                .map(|namespace| format!("{}: {}", namespace.script, namespace.class))
                .collect();
            return (expected.to_string(), json!(found).to_string());
        }
        if let Some(expected) = step.get("workers") {
            let found: Vec<String> = self.local.account().scripts.keys().cloned().collect();
            return (expected.to_string(), json!(found).to_string());
        }
        let answer = |status: &Value, rest: &Value| format!("{status} {rest}");
        if step.get("visit").is_some() {
            let (status, body) = self.visit(step).await;
            return (
                answer(&step["status"], &step["body"]),
                answer(&json!(status), &json!(body)),
            );
        }
        let correction = CORRECTIONS
            .iter()
            .find(|(of, seq, ..)| *of == file && step["seq"] == *seq);
        let expected = match correction {
            Some((_, _, status, code, _)) => answer(&json!(status), &json!(code)),
            None => answer(&step["status"], &step["code"]),
        };
        let (status, body) = self.send(step).await;
        let failed = body["success"] == false;
        let mut found = answer(&json!(status), &body["errors"][0]["code"]);
        if found != expected && failed {
            found = format!("{found} {}", body["errors"]);
        }
        (expected, found)
    }

    async fn visit(&self, step: &Value) -> (u16, String) {
        let url = format!(
            "http://{}{}",
            self.local.workers_address(),
            text(&step["path"])
        );
        let response = self
            .http
            .get(url)
            .header("x-local-worker", text(&step["visit"]))
            .send()
            .await
            .expect("the runtime answers");
        let status = response.status().as_u16();
        (status, response.text().await.expect("the answer is text"))
    }

    async fn send(&mut self, step: &Value) -> (u16, Value) {
        let method = Method::from_bytes(text(&step["method"]).as_bytes()).expect("a method");
        let path = text(&step["path"]);
        let url = format!(
            "{}/accounts/{}{path}?{}",
            self.local.api_url(),
            self.local.account_id(),
            text(&step["query"])
        );
        let token = match path {
            "/workers/assets/upload" => &self.jwt,
            _ => self.local.token(),
        };
        let mut request = self.http.request(method.clone(), url).bearer_auth(token);
        if let Some(date) = step["api_date"].as_str() {
            request = request.header("cloudflare-workers-script-api-date", date);
        }
        if let Some(body) = step.get("json") {
            request = request
                .header("content-type", "application/json")
                .body(self.filled(body));
        }
        if let Some(parts) = step["form"].as_array() {
            request = request.multipart(self.form(parts));
        }
        let response = request.send().await.expect("the API answers");
        let status = response.status().as_u16();
        // Code is sent as it is.
        let body: Value = response.json().await.unwrap_or_default();
        if method == Method::POST && path.ends_with("/versions") {
            self.version = text(&body["result"]["id"]).to_owned();
        }
        if let Some(jwt) = body["result"]["jwt"].as_str() {
            self.jwt = jwt.to_owned();
        }
        (status, body)
    }

    fn form(&self, parts: &[Value]) -> Form {
        // Names of modules are paths; browsers and clients send them as they are.
        parts
            .iter()
            .fold(Form::new().percent_encode_noop(), |form, part| {
                let mut content = match (part.get("json"), part.get("base64")) {
                    (Some(value), _) => Part::text(self.filled(value)),
                    (_, Some(bytes)) => Part::bytes(
                        STANDARD
                            .decode(text(bytes))
                            .expect("a transcript has base64"),
                    ),
                    _ => Part::text(text(&part["text"]).to_owned()),
                };
                if let Some(name) = part["filename"].as_str() {
                    content = content.file_name(name.to_owned());
                }
                if let Some(kind) = part["type"].as_str() {
                    content = content
                        .mime_str(kind)
                        .expect("a transcript has media types");
                }
                form.part(text(&part["name"]).to_owned(), content)
            })
    }

    /// JSON with what the server handed out.
    fn filled(&self, value: &Value) -> String {
        value
            .to_string()
            .replace("{version}", &self.version)
            .replace("{jwt}", &self.jwt)
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
