//! Local Cloudflare: an API for one account, with the Workers runtime `workerd` behind it.
//!
//! The rules are pure and stand in `account`, `script`, `bindings`, `migrations` and `upload`; `api` puts HTTP in
//! front of them, `hosting` the runtime behind them, `faults` makes them misbehave on purpose, and `page` shows people what there is. Nothing in this folder
//! knows the provider.

pub mod account;
mod api;
pub mod bindings;
mod calls;
mod clock;
mod control;
mod door;
pub mod failure;
mod faults;
mod hosting;
mod kept;
pub mod migrations;
mod page;
pub mod runtime;
pub mod script;
mod server;
mod status;
mod switches;
pub mod upload;

pub use calls::{Answered, Call, Refusal, took};
pub use control::Action;
pub use faults::{Bucket, Fault, Faults, Misbehaviour};
pub use server::{LocalCloudflare, Options, StartError};
