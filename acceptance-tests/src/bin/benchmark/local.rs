//! How fast local Cloudflare is: until it is ready, a deploy, the first answer after it, and many scenarios at once.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use acceptance_tests::cloudflare::{LocalCloudflare, Options};
use acceptance_tests::visitor::Visitor;
use futures_util::future::try_join_all;
use reqwest::multipart::{Form, Part};
use serde_json::json;

const STARTS: usize = 20;
const DEPLOYS: usize = 20;
const SCENARIOS: usize = 50;

/// What was measured.
pub struct Figures {
    /// From nothing to an API that answers, without Workers.
    pub starts: Vec<Duration>,
    /// From a request with code that was never seen to its answer.
    pub deploys: Vec<Duration>,
    /// From that answer to the new Worker's first one.
    pub answers: Vec<Duration>,
    /// All scenarios together, each with an account of its own, three deploys and three visits.
    pub scenarios: Duration,
}

/// Measures everything.
pub async fn measure(workerd: &Path) -> Result<Figures, Box<dyn Error>> {
    let mut figures = Figures {
        starts: Vec::new(),
        deploys: Vec::new(),
        answers: Vec::new(),
        scenarios: Duration::ZERO,
    };
    for _ in 0..STARTS {
        let began = Instant::now();
        let cloudflare = LocalCloudflare::start(Options::new(workerd)).await?;
        figures.starts.push(began.elapsed());
        cloudflare.stop().await;
    }
    let cloudflare = LocalCloudflare::start(Options::new(workerd)).await?;
    let visitor = Visitor::new(&cloudflare);
    for round in 0..DEPLOYS {
        let began = Instant::now();
        deploy(&cloudflare, "small", &format!("deploy {round}")).await?;
        let deployed = Instant::now();
        figures.deploys.push(deployed - began);
        visitor.read("small", "/").await;
        figures.answers.push(deployed.elapsed());
    }
    cloudflare.stop().await;

    let began = Instant::now();
    try_join_all((0..SCENARIOS).map(|number| scenario(workerd, number))).await?;
    figures.scenarios = began.elapsed();
    Ok(figures)
}

async fn scenario(workerd: &Path, number: usize) -> Result<(), Box<dyn Error>> {
    let cloudflare = LocalCloudflare::start(Options::new(workerd)).await?;
    let visitor = Visitor::new(&cloudflare);
    for round in 0..3 {
        let text = format!("scenario {number}, round {round}");
        deploy(&cloudflare, "small", &text).await?;
        let said = visitor.read("small", "/").await;
        if said != text {
            return Err(format!("{text}: the Worker says {said:?}").into());
        }
    }
    cloudflare.stop().await;
    Ok(())
}

async fn deploy(
    cloudflare: &LocalCloudflare,
    name: &str,
    text: &str,
) -> Result<(), Box<dyn Error>> {
    let code = format!(
        "export default {{ fetch() {{ return new Response({}); }} }};",
        json!(text)
    );
    let metadata = json!({"main_module": "worker.js", "compatibility_date": "2026-01-01"});
    let module = Part::text(code)
        .file_name("worker.js")
        .mime_str("application/javascript+module")?;
    let form = Form::new()
        .text("metadata", metadata.to_string())
        .part("worker.js", module);
    let (api, account) = (cloudflare.api_url(), cloudflare.account_id());
    reqwest::Client::new()
        .put(format!("{api}/accounts/{account}/workers/scripts/{name}"))
        .bearer_auth(cloudflare.token())
        .multipart(form)
        .send()
        .await?
        .error_for_status()?;
    Ok(())
}
