//! Local Cloudflare: an API for one account, with the Workers runtime `workerd` behind it.
//!
//! The rules are pure and stand in `account`, `script`, `bindings`, `migrations`, `upload`, `schedules`, `routes`,
//! `domains` and `addresses`; `api` puts HTTP in
//! front of them, `hosting` the runtime behind them, `faults` makes them misbehave on purpose. Nothing in this folder
//! knows the provider.

pub mod account;
pub mod addresses;
mod api;
pub mod assets;
pub mod bindings;
mod calls;
mod clock;
mod control;
pub mod domains;
pub mod failure;
mod faults;
mod hosting;
mod kept;
pub mod migrations;
pub mod routes;
pub mod runtime;
pub mod schedules;
pub mod script;
mod server;
mod triggers;
pub mod upload;

pub use calls::Call;
pub use control::Action;
pub use faults::{Bucket, Fault, Faults, Misbehaviour};
pub use server::{LocalCloudflare, Options, StartError};
pub use triggers::{Trigger, Triggered};
