//! Local Cloudflare: an API for one account, with the Workers runtime `workerd` behind it.

pub mod runtime;
