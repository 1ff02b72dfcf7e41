//! The status page. Complete as the server renders it; a script replaces what has changed once a second.
//! Must not decide anything: it shows a `Status`. The macro escapes all text, and nothing is written around it.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Response, header};
use maud::{DOCTYPE, Markup, html};

use super::account::Plan;
use super::calls::took;
use super::faults::Fault;
use super::server::Cloud;
use super::status::{ShownCall, ShownNamespace, ShownWorker, Status};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath \
     fill='%23d9730d' d='M4 13a3 3 0 0 1 0-6 4.5 4.5 0 0 1 8.7 1.2A2.5 2.5 0 0 1 12.5 13z'/%3E%3C/svg%3E";

/// Even if something on the page were not escaped, the browser would run nothing but our own script.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Answers a request for the page or for one of its parts.
pub(super) async fn answer(cloud: &Cloud, method: &Method, path: &str) -> Option<Response<Body>> {
    if ![Method::GET, Method::HEAD].contains(method) {
        return None;
    }
    let (kind, text) = match path {
        "/" | "/__local/" => {
            let page = page(&Status::of(cloud).await);
            ("text/html; charset=utf-8", page.into_string())
        }
        "/__local/page.css" => ("text/css; charset=utf-8", STYLE.to_owned()),
        "/__local/page.js" => ("text/javascript; charset=utf-8", SCRIPT.to_owned()),
        _ => return None,
    };
    let mut response = Response::new(Body::from(text));
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in headers {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    Some(response)
}

fn page(status: &Status) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                meta name="color-scheme" content="light dark";
                title { "Local Cloudflare" }
                link rel="icon" href=(ICON);
                link rel="stylesheet" href="/__local/page.css";
                script src="/__local/page.js" defer {}
                noscript { meta http-equiv="refresh" content="5"; }
            }
            body {
                header {
                    h1 { "Local Cloudflare" }
                    p #connection role="status" {}
                }
                main {
                    section #connect data-live { (connect(status)) }
                    section #switches data-live { (switches(status)) }
                    section #refused data-live { (refused(&status.refused_uploads)) }
                    section #workers data-live { (workers(&status.workers)) }
                    section #namespaces data-live { (namespaces(&status.namespaces)) }
                    section #calls data-live { (calls(&status.calls)) }
                }
            }
        }
    }
}

fn connect(status: &Status) -> Markup {
    let plan = match status.plan {
        Plan::Free => "free",
        Plan::Paid => "paid",
        Plan::PaidWithoutKv => "paid, without key-value backed classes",
    };
    html! {
        h2 { "Connect" }
        dl {
            dt { "API" } dd { code { (status.api) } }
            dt { "Workers" } dd { code { "http://<name>.localhost" (port(&status.workers_address)) "/" } }
            dt { "Account" } dd { code { (status.account) } ", plan: " (plan) }
        }
        p.note {
            "The terminal where local Cloudflare was started shows the environment variables for Terraform, OpenTofu, \
             wrangler and alchemy, with the token. Where names below "
            code { "localhost" } " do not resolve, call "
            code { "http://" (status.workers_address) "/" } " with the header "
            code { "x-local-worker: <name>" } "."
        }
    }
}

fn port(address: &str) -> &str {
    &address[address.rfind(':').unwrap_or(address.len())..]
}

/// Whoever forgets a switch wonders.
fn switches(status: &Status) -> Markup {
    let faults = status.faults.iter().map(what_is_set);
    let faults: Vec<String> = faults.collect();
    if faults.is_empty() && status.latency_ms == 0 && status.bucket.is_none() {
        return html! {};
    }
    html! {
        h2 { "Calls misbehave on demand" }
        ul {
            @if status.latency_ms > 0 { li { "Every call takes " (status.latency_ms) " ms longer." } }
            @if let Some(bucket) = &status.bucket {
                li { "At most " (bucket.capacity) " calls at once, " (bucket.per_second) " more every second." }
            }
            @for fault in faults { li { code { (fault) } } }
        }
    }
}

/// The members of a fault that say something.
fn what_is_set(fault: &Fault) -> String {
    let mut shown = serde_json::to_value(fault).unwrap_or_default();
    if let Some(members) = shown.as_object_mut() {
        members.retain(|name, value| !value.is_null() && (name != "after" || *value != 0));
    }
    shown.to_string()
}

fn refused(uploads: &[ShownCall]) -> Markup {
    if uploads.is_empty() {
        return html! {};
    }
    html! {
        h2 { "Refused uploads" }
        @for call in uploads {
            article.refusal {
                h3 {
                    bdi { (call.uploads.as_deref().unwrap_or_default()) }
                    " " (time(&call.at)) " " span.status { (status_text(call.status)) }
                }
                (reasons(call))
            }
        }
    }
}

fn reasons(call: &ShownCall) -> Markup {
    html! {
        @for error in &call.errors {
            p.reason { strong { (error.code) } " " bdi { (error.message) } }
        }
    }
}

fn workers(workers: &[ShownWorker]) -> Markup {
    html! {
        h2 { "Workers " (count(workers.len())) }
        @if workers.is_empty() { p.empty { "No Worker has been uploaded yet." } }
        div.cards { @for worker in workers {
            article {
                h3 { a href=(worker.url) { bdi { (worker.name) } } }
                dl {
                    @if !worker.classes.is_empty() { dt { "Classes" } dd { (names(&worker.classes)) } }
                    @if !worker.handlers.is_empty() { dt { "Handlers" } dd { (names(&worker.handlers)) } }
                    @if !worker.entrypoints.is_empty() {
                        dt { "Entrypoints" }
                        dd { ul { @for (name, handlers) in &worker.entrypoints {
                            li { code { bdi { (name) } } ": " (names(handlers)) }
                        } } }
                    }
                    @if !worker.bindings.is_empty() {
                        dt { "Bindings" }
                        dd { ul { @for binding in &worker.bindings {
                            li {
                                code { bdi { (binding.name) } } " " span.kind { bdi { (binding.kind) } }
                                @if let Some(value) = &binding.value { " " bdi { (value) } }
                            }
                        } } }
                    }
                    @if !worker.schedules.is_empty() { dt { "Schedules" } dd { (names(&worker.schedules)) } }
                    @if let Some(tag) = &worker.migration_tag {
                        dt { "Migration tag" } dd { code { bdi { (tag) } } }
                    }
                    @if !worker.tags.is_empty() { dt { "Tags" } dd { (names(&worker.tags)) } }
                    @if let Some(date) = &worker.compatibility_date {
                        dt { "Compatibility date" } dd { bdi { (date) } }
                    }
                    dt { "Last change" } dd { (time(&worker.modified_on)) }
                }
            }
        } }
    }
}

fn namespaces(namespaces: &[ShownNamespace]) -> Markup {
    html! {
        h2 { "Durable Object namespaces " (count(namespaces.len())) }
        @if namespaces.is_empty() {
            p.empty { "There are none yet. An upload with a migration creates them." }
        } @else {
            div.wide tabindex="0" role="region" aria-label="Durable Object namespaces" { table {
                thead { tr {
                    th scope="col" { "Worker" } th scope="col" { "Class" } th scope="col" { "Storage" }
                    th scope="col" .number { "Objects" } th scope="col" { "Stored data" } th scope="col" { "Id" }
                } }
                tbody { @for it in namespaces {
                    tr {
                        td { bdi { (it.worker) } }
                        td { bdi { (it.class) } }
                        td { @if it.sqlite { "SQLite" } @else { "key-value" } }
                        td.number { (it.objects) }
                        td { (stored_data(it)) }
                        td { code { (it.id) } }
                    }
                } }
            } }
        }
    }
}

fn stored_data(namespace: &ShownNamespace) -> String {
    match (namespace.with_data, namespace.objects) {
        (0, _) => "none".into(),
        (some, all) if some == all => "in all objects".into(),
        (some, _) => format!("in {some}"),
    }
}

fn calls(calls: &[ShownCall]) -> Markup {
    html! {
        h2 { "Recent API calls" }
        @if calls.is_empty() {
            p.empty { "Nobody has called the API yet." }
        } @else {
            div.wide tabindex="0" role="region" aria-label="Recent API calls" { table {
                thead { tr {
                    th scope="col" { "Time" } th scope="col" { "Method" } th scope="col" { "Path" }
                    th scope="col" { "Status" } th scope="col" .number { "Duration" }
                } }
                tbody { @for call in calls {
                    tr.refusal[call.refused] {
                        td { (time(&call.at)) }
                        td { bdi { (call.method) } }
                        td.path {
                            code { bdi { (shown_path(call)) } }
                            (reasons(call))
                        }
                        td.status { (status_text(call.status)) }
                        td.number { (took(call.micros)) }
                    }
                } }
            } }
        }
    }
}

/// The account is always the same one.
fn shown_path(call: &ShownCall) -> String {
    let path = match call
        .path
        .strip_prefix("/accounts/")
        .and_then(|it| it.split_once('/'))
    {
        Some((_, rest)) => format!("/accounts/…/{rest}"),
        None => call.path.clone(),
    };
    match call.query.as_str() {
        "" => path,
        query => format!("{path}?{query}"),
    }
}

fn status_text(status: u16) -> String {
    match status {
        0 => "closed".into(),
        status => status.to_string(),
    }
}

fn names(names: &[String]) -> Markup {
    html! {
        @for (index, name) in names.iter().enumerate() {
            @if index > 0 { ", " }
            code { bdi { (name) } }
        }
    }
}

fn count(number: usize) -> Markup {
    html! { span.count { (number) } }
}

/// In UTC; the script makes it the reader's own time.
fn time(timestamp: &str) -> Markup {
    let text = timestamp.get(..19).unwrap_or(timestamp).replace('T', " ");
    html! { time datetime=(timestamp) { (text) " UTC" } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloudflare::calls::Refusal;
    use crate::cloudflare::status::ShownBinding;

    const HOSTILE: &str =
        "</code><script>alert(1)</script><img src=x onerror='alert(2)'>\"&\u{202e}";

    fn hostile_status() -> Status {
        let text = || HOSTILE.to_owned();
        let call = || ShownCall {
            at: text(),
            method: text(),
            path: format!("/accounts/x/{HOSTILE}"),
            query: text(),
            status: 400,
            micros: 12_345,
            errors: vec![Refusal {
                code: 10021,
                message: text(),
            }],
            uploads: Some(text()),
            refused: true,
        };
        Status {
            account: text(),
            plan: Plan::Free,
            api: text(),
            workers_address: text(),
            workers: vec![ShownWorker {
                name: text(),
                url: format!("http://{HOSTILE}.localhost/"),
                classes: vec![text()],
                handlers: vec![text()],
                entrypoints: vec![(text(), vec![text()])],
                bindings: vec![ShownBinding {
                    name: text(),
                    kind: text(),
                    value: Some(text()),
                }],
                schedules: vec![text()],
                migration_tag: Some(text()),
                tags: vec![text()],
                compatibility_date: Some(text()),
                modified_on: text(),
            }],
            namespaces: vec![ShownNamespace {
                id: text(),
                name: text(),
                worker: text(),
                class: text(),
                sqlite: true,
                objects: 3,
                with_data: 2,
            }],
            refused_uploads: vec![call()],
            calls: vec![call()],
            faults: vec![],
            latency_ms: 0,
            bucket: None,
        }
    }

    #[test]
    fn no_text_becomes_markup() {
        let page = page(&hostile_status()).into_string();
        assert_eq!(page.matches("<script").count(), 1, "{page}");
        assert!(!page.contains("<img"), "{page}");
        // Nothing ends an attribute early.
        assert!(!page.contains("'>\""), "{page}");
        assert!(page.matches("&lt;script&gt;").count() > 15, "{page}");
    }
}
