//! The provider's process alone: how fast it starts and what it holds when nothing is asked of it.

use std::io::{self, BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use acceptance_tests::plugin_client::wire::tfplugin6::get_provider_schema;
use acceptance_tests::plugin_client::{COOKIE, Identity, Plugin};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// From starting the process to its handshake line.
pub fn handshake(binary: &Path) -> Result<Duration, io::Error> {
    let certificate = STANDARD.encode(&Identity::new().certificate);
    let lines: Vec<&str> = certificate
        .as_bytes()
        .chunks(64)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    let pem = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    );
    let directory = tempfile::tempdir()?;
    let mut command = Command::new(binary);
    command
        .env(COOKIE.0, COOKIE.1)
        .env("PLUGIN_PROTOCOL_VERSIONS", "6,5")
        .env("PLUGIN_CLIENT_CERT", pem)
        .env("TMPDIR", directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let started = Instant::now();
    let mut child = command.spawn()?;
    let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let took = started.elapsed();
    child.kill()?;
    child.wait()?;
    if line.split('|').count() != 6 {
        return Err(io::Error::other(format!("not a handshake: {line}")));
    }
    Ok(took)
}

/// The resident memory, in MB, of a provider that has given its schema and waits.
pub async fn idle_memory(binary: &Path) -> Result<Option<f64>, Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let plugin = Plugin::start(binary, directory.path()).await;
    let mut client = plugin.client().await;
    client
        .get_provider_schema(get_provider_schema::Request::default())
        .await?;
    let id = plugin.child.id().ok_or("the provider has ended")?;
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok();
    plugin.shut_down().await;
    let line = status.as_deref().and_then(|it| {
        let mut lines = it.lines();
        lines.find_map(|line| line.strip_prefix("VmRSS:"))
    });
    let kilobytes = line.and_then(|it| it.trim().trim_end_matches(" kB").parse::<f64>().ok());
    Ok(kilobytes.map(|it| it * 1024.0 / 1e6))
}
