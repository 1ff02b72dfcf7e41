//! Local Cloudflare, a driver for Terraform and OpenTofu, and what the acceptance tests share.

pub mod cloudflare;
pub mod docs;
pub mod install;
#[cfg(unix)]
pub mod plugin_client;
pub mod provider;
pub mod snapshot;
pub mod stage;
pub mod terraform;
pub mod visitor;
