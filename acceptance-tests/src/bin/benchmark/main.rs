//! The figures that we watch: size, start, memory, and the time and the calls of a large plan without changes.
//! Run with `cargo benchmark`. Prints a table; a figure beyond its limit is marked, and ends the run with 1.

mod bundling;
mod large_plan;
mod local;
#[cfg(unix)]
mod process;

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use acceptance_tests::cloudflare::{LocalCloudflare, Options};
use acceptance_tests::install;
use acceptance_tests::provider::provider_binary;
use acceptance_tests::terraform::Workspace;
use large_plan::WORKERS;

#[cfg(unix)]
const STARTS: usize = 30;
const PLANS: usize = 5;

#[tokio::main]
async fn main() -> ExitCode {
    if cfg!(debug_assertions) {
        let _ = writeln!(
            io::stderr(),
            "error: only a release build says anything: cargo benchmark"
        );
        return ExitCode::from(2);
    }
    match measure().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure() -> Result<bool, Box<dyn Error>> {
    let core = install::core().await?;
    let workerd = install::workerd().await?;
    say("building the provider...")?;
    let binary = provider_binary();
    let mut table = Table::default();

    let size = std::fs::metadata(&binary)?.len() as f64 / 1e6;
    table.row("binary, stripped", size, 25.0, "MB");

    #[cfg(unix)]
    {
        let starts: Result<_, _> = (0..STARTS).map(|_| process::handshake(&binary)).collect();
        table.row(
            "exec to handshake, median",
            milliseconds(median(starts?)),
            10.0,
            "ms",
        );
        match process::idle_memory(&binary).await? {
            Some(memory) => table.row("resident memory, idle", memory, 12.0, "MB"),
            None => say("resident memory is measured on Linux only")?,
        }
    }

    say("bundling...")?;
    let bundling = bundling::measure(&binary).await?;
    for (project, limit) in bundling.projects.into_iter().zip([150.0, 500.0]) {
        let mut row = |what: &str, times: Vec<Duration>, limit| {
            let name = format!("bundle {}, {what}", project.name);
            table.row(&name, milliseconds(median(times)), limit, "ms");
        };
        row("median", project.ours, limit);
        row("on one core", project.on_one_core, f64::INFINITY);
        row("esbuild", project.esbuilds, f64::INFINITY);
        for (whose, size) in [
            ("ours", project.sizes.0 as u64),
            ("esbuild's", project.sizes.1),
        ] {
            let name = format!("bundle {}, size, {whose}", project.name);
            table.row(&name, size as f64 / 1e3, f64::INFINITY, "kB");
        }
    }
    let many = milliseconds(bundling.many);
    table.row("bundle api, 50 at once", many, f64::INFINITY, "ms");

    say("measuring local Cloudflare...")?;
    let local = local::measure(&workerd).await?;
    let mut row = |name: &str, times: Vec<Duration>, limit| {
        table.row(name, milliseconds(median(times)), limit, "ms");
    };
    row("local Cloudflare, start", local.starts, 150.0);
    row("local Cloudflare, deploy", local.deploys, 250.0);
    row("local Cloudflare, first answer", local.answers, 250.0);
    row(
        "local Cloudflare, 50 scenarios",
        vec![local.scenarios],
        f64::INFINITY,
    );

    say(&format!("deploying {WORKERS} Workers..."))?;
    let cloudflare = LocalCloudflare::start(Options::new(workerd)).await?;
    let ours = Workspace::new(&core, &cloudflare);
    ours.write("main.tf", &large_plan::configuration());
    ours.write("worker.js", &large_plan::worker());
    ours.apply(&[]).await;
    let builtin = Workspace::without_provider(&core);
    builtin.write("main.tf", &large_plan::terraform_data());
    builtin.apply(&[]).await;

    say("planning...")?;
    cloudflare.clear_calls();
    ours.assert_plan_is_empty(&[]).await;
    let calls = cloudflare.calls();
    let (mut provider, mut reference) = (Vec::new(), Vec::new());
    // Alternating, so that a busy moment of the machine meets both.
    for _ in 0..PLANS {
        provider.push(plan_time(&ours).await);
        reference.push(plan_time(&builtin).await);
    }
    let (provider, reference) = (median(provider), median(reference));
    table.row(
        "plan, the provider",
        milliseconds(provider),
        f64::INFINITY,
        "ms",
    );
    table.row(
        "plan, terraform_data",
        milliseconds(reference),
        f64::INFINITY,
        "ms",
    );
    let ratio = provider.as_secs_f64() / reference.as_secs_f64();
    table.row("plan, ratio", ratio, 3.5, "times");

    let kinds = large_plan::kinds(&calls);
    let listings = |path| {
        kinds
            .get(&format!("GET {path}"))
            .copied()
            .unwrap_or_default()
    };
    let scripts = listings("/accounts/{account}/workers/scripts");
    let namespaces = listings("/accounts/{account}/workers/durable_objects/namespaces");
    let subdomain = listings("/accounts/{account}/workers/subdomain");
    table.row("calls, listing of scripts", scripts as f64, 1.0, "");
    table.row("calls, listing of namespaces", namespaces as f64, 1.0, "");
    table.row("calls, account subdomain", subdomain as f64, 1.0, "");
    let others = calls.len() - scripts - namespaces - subdomain;
    table.row(
        "calls for each Worker",
        others as f64 / WORKERS as f64,
        2.0,
        "",
    );

    say(&format!("\n{}", table.text))?;
    say("the calls of that plan:")?;
    for (kind, count) in &kinds {
        say(&format!("{count:>6}  {kind}"))?;
    }
    cloudflare.stop().await;
    Ok(table.all_within)
}

async fn plan_time(workspace: &Workspace) -> Duration {
    let started = Instant::now();
    workspace.assert_plan_is_empty(&[]).await;
    started.elapsed()
}

#[derive(Debug)]
struct Table {
    text: String,
    all_within: bool,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            text: String::new(),
            all_within: true,
        }
    }
}

impl Table {
    fn row(&mut self, name: &str, value: f64, limit: f64, unit: &str) {
        let within = value <= limit;
        self.all_within &= within;
        let limit = match limit {
            limit if limit.is_finite() => format!("at most {limit}"),
            _ => String::new(),
        };
        let mark = if within { "" } else { "  TOO MUCH" };
        let _ = writeln!(self.text, "{name:<30}{value:>10.2} {unit:<6}{limit}{mark}");
    }
}

fn median(mut durations: Vec<Duration>) -> Duration {
    durations.sort();
    durations[durations.len() / 2]
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn say(text: &str) -> Result<(), io::Error> {
    writeln!(io::stdout(), "{text}")
}
