//! Local Cloudflare: an API for one account, with the Workers runtime `workerd` behind it.
//!
//! The rules are pure and stand in `account`, `script`, `versions`, `bindings`, `migrations`, `exports`, `stores`,
//! `upload` and `secrets`; `api` puts HTTP in front of them, `hosting` the runtime behind them, `faults` makes them
//! misbehave on purpose. Nothing in this folder knows the provider.

pub mod account;
mod api;
pub mod bindings;
mod calls;
mod clock;
mod control;
pub mod exports;
pub mod failure;
mod faults;
mod hosting;
mod kept;
pub mod migrations;
pub mod runtime;
pub mod script;
pub mod secrets;
mod server;
pub mod stores;
pub mod upload;
pub mod versions;

pub use calls::Call;
pub use control::Action;
pub use faults::{Bucket, Fault, Faults, Misbehaviour};
pub use server::{LocalCloudflare, Options, StartError};
