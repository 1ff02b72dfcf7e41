//! Acceptance tests, in one binary: one thing to link, one runner.

mod driver;
mod examples;
#[cfg(unix)]
mod plugin;
mod runtime;
