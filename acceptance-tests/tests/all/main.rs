//! Acceptance tests, in one binary: one thing to link, one runner.

mod adoption;
mod bad_input;
mod bindings;
mod classes;
mod consent;
mod counter;
mod cross_script;
mod destroy;
mod documentation;
mod drift;
mod driver;
mod examples;
mod exported;
mod first_apply;
mod gate;
mod generated;
mod hostile;
mod interruption;
mod layout;
#[cfg(unix)]
mod leftovers;
mod local_assets;
mod local_cloudflare;
mod local_exports;
mod local_hostile;
mod local_platforms;
mod local_stores;
mod local_traffic;
mod local_versions;
mod lost_answers;
#[cfg(unix)]
mod matrix;
mod official_provider;
#[cfg(unix)]
mod plugin;
mod provider_block;
mod recovery;
mod rename;
mod runtime;
mod tags;
mod taking_over;
mod transcripts;
mod transfers;
mod unknown;
mod walks;
