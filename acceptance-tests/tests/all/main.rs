//! Acceptance tests, in one binary: one thing to link, one runner.

#[cfg(unix)]
mod plugin;
mod runtime;
