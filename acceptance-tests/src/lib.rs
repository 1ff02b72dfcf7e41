//! Local Cloudflare, a driver for Terraform and OpenTofu, and what the acceptance tests share.

pub mod cloudflare;
pub mod install;
pub mod terraform;
