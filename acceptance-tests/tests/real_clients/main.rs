//! Other clients of Cloudflare's API, run for real against local Cloudflare: wrangler and alchemy, in pinned versions.
//! They are installed and take minutes, so they only run when asked for: `cargo test -p acceptance-tests --test real_clients -- --ignored`.
#![cfg(unix)]

mod alchemy;
mod bench;
mod wrangler;
mod wrangler_exports;
mod wrangler_stores;
mod wrangler_versions;
