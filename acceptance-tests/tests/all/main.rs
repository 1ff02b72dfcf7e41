//! Acceptance tests, in one binary: one thing to link, one runner.

mod driver;
mod examples;
mod local_cloudflare;
#[cfg(unix)]
mod plugin;
mod runtime;
