//! Local Cloudflare: an API for one account, with the Workers runtime `workerd` behind it.
//!
//! The rules are pure and stand in `account`, `script`, `versions`, `bindings`, `migrations`, `exports`, `stores`,
//! `queues`, `upload`, `secrets`, `schedules`, `routes`, `domains` and `addresses`; `api` puts HTTP in front of them,
//! `hosting` the runtime behind them, `assets` keeps uploaded files, `triggers` runs crons, `faults` makes them misbehave
//! on purpose, and `page` shows people what there is. Nothing in this folder knows the provider.

pub mod account;
pub mod addresses;
mod api;
pub mod assets;
pub mod bindings;
mod calls;
mod clock;
mod control;
pub mod dispatch;
pub mod domains;
mod door;
pub mod exports;
pub mod failure;
mod faults;
mod hosting;
mod kept;
pub mod migrations;
mod page;
pub mod queues;
pub mod routes;
pub mod runtime;
pub mod schedules;
pub mod script;
pub mod secrets;
mod server;
mod sql;
mod status;
pub mod stores;
mod switches;
mod triggers;
pub mod upload;
pub mod versions;

pub use calls::{Answered, Call, Refusal, took};
pub use control::Action;
pub use faults::{Bucket, Fault, Faults, Misbehaviour};
pub use server::{LocalCloudflare, Options, StartError};
pub use triggers::{Trigger, Triggered};
