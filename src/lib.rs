//! Terraform and OpenTofu provider for Cloudflare Workers with Durable Objects.
//!
//! # Layout, in reading order
//! - [`durable`]: stable IDs, classes, the migration planner and the tag codec. Pure.
//! - [`bundle`]: what the code of a Worker exports, and bundles of its sources, which a child process makes.
//! - [`cloudflare`]: the Cloudflare API client.
//! - [`tf`]: Terraform's ideas in plain Rust: values, schemas, diagnostics, the resource trait.
//! - [`resources`]: `cloudflare_do_namespace` and `cloudflare_worker`.
//! - [`provider`]: provider configuration and the registry of resources.
//! - [`rpc`]: the plugin protocol over gRPC.

pub mod bundle;
pub mod cloudflare;
pub mod durable;
pub mod provider;
pub mod resources;
pub mod rpc;
pub mod tf;
