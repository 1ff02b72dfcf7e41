//! Acceptance tests, in one binary: one thing to link, one runner.

mod local_cloudflare;
mod runtime;
