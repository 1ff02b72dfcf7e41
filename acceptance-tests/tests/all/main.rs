//! Acceptance tests, in one binary: one thing to link, one runner.

mod driver;
mod runtime;
