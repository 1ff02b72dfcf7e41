//! Acceptance tests, in one binary: one thing to link, one runner.

mod adoption;
mod bad_input;
mod bindings;
mod classes;
mod counter;
mod documentation;
mod drift;
mod driver;
mod examples;
mod exported;
mod gate;
mod interruption;
mod layout;
#[cfg(unix)]
mod leftovers;
mod local_cloudflare;
mod lost_answers;
#[cfg(unix)]
mod matrix;
#[cfg(unix)]
mod plugin;
mod provider_block;
mod recovery;
mod runtime;
mod transfers;
mod unknown;
