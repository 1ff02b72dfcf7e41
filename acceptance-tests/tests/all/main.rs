//! All acceptance tests, in one binary so that they are linked once.

mod local_cloudflare;
#[cfg(unix)]
mod plugin;
mod runtime;
