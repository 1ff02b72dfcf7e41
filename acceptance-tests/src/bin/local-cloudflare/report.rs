//! What is printed: how to reach local Cloudflare, and a line for each request. Prints no body, no token of a request,
//! and nothing that a terminal would obey.

use std::path::Path;
use std::time::Duration;

use acceptance_tests::cloudflare::{Answered, LocalCloudflare, took};

/// What people need to know at the start, to be copied into another terminal.
pub fn ready(local: &LocalCloudflare, state_dir: Option<&Path>, elapsed: Duration) -> String {
    let api = local.api_url();
    let data = match state_dir {
        Some(folder) => {
            let absolute = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
            absolute.display().to_string()
        }
        None => "forgotten at the end".into(),
    };
    let mut text = format!(
        "Local Cloudflare is ready after {} ms.

  Status page  {}/
  API          {api}
  Workers      {}/
  Data         {data}

For Terraform, OpenTofu, wrangler and alchemy, in another terminal:

",
        elapsed.as_millis(),
        api.trim_end_matches("/client/v4"),
        local.worker_url("<name>"),
    );
    for (name, value) in [
        ("CLOUDFLARE_API_TOKEN", local.token()),
        ("CLOUDFLARE_ACCOUNT_ID", local.account_id()),
        // Read by both Terraform providers and by alchemy.
        ("CLOUDFLARE_BASE_URL", &api),
        // Read by wrangler.
        ("CLOUDFLARE_API_BASE_URL", &api),
        // What happens here is no business of anybody else.
        ("WRANGLER_SEND_METRICS", "false"),
        ("ALCHEMY_TELEMETRY_DISABLED", "1"),
    ] {
        text += &format!("export {name}='{value}'\n");
    }
    text + "\nCtrl-C ends it.\n\n"
}

/// One request.
pub fn line(answered: &Answered) -> String {
    let (at, method, target, status, micros) = match answered {
        Answered::Call(call) => {
            let target = match call.query.as_str() {
                "" => call.path.clone(),
                query => format!("{}?{query}", call.path),
            };
            (&call.at, &call.method, target, call.status, call.micros)
        }
        Answered::Visit(visit) => {
            let target = format!("{}{} (Worker)", visit.host, visit.path);
            (&visit.at, &visit.method, target, visit.status, visit.micros)
        }
    };
    let status = match status {
        0 => "closed".into(),
        status => status.to_string(),
    };
    let mut line = format!(
        "{}Z  {method:<6}  {target}  {status}  {}",
        at.get(11..19).unwrap_or_default(),
        took(micros),
    );
    if let Answered::Call(call) = answered {
        for error in &call.errors {
            line += &format!("  {} {}", error.code, error.message);
        }
    }
    harmless(&line) + "\n"
}

/// An error text may have several lines, and a Worker may throw escape sequences.
fn harmless(text: &str) -> String {
    text.replace(|character: char| character.is_control(), " ")
}

#[cfg(test)]
mod tests {
    use acceptance_tests::cloudflare::{Call, Refusal};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refused_call_says_why_in_one_line_that_holds_no_body() {
        let call = Call {
            at: "2026-11-01T10:00:00.000000Z".into(),
            method: "PUT".into(),
            path: "/accounts/a/workers/scripts/w".into(),
            query: "bindings_inherit=strict".into(),
            status: 400,
            micros: 42_000,
            errors: vec![Refusal {
                code: 10021,
                message: "Uncaught Error:\n \u{1b}[31mno".into(),
            }],
            metadata: Some(json!({"bindings": [{"text": "hidden"}]})),
        };
        assert_eq!(
            line(&Answered::Call(call)),
            "10:00:00Z  PUT     /accounts/a/workers/scripts/w?bindings_inherit=strict  400  42 ms  \
             10021 Uncaught Error:   [31mno\n"
        );
    }
}
