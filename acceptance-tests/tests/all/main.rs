//! Acceptance tests, in one binary: one thing to link, one runner.

// The planner's model of Cloudflare names it so.
use terraform_provider_cloudflare::durable;

mod adoption;
#[cfg(unix)]
mod api_client;
mod bad_input;
mod bindings;
#[cfg(unix)]
mod browser;
mod bundles;
mod bundles_broken;
mod bundles_decorators;
mod classes;
mod consent;
mod counter;
mod cross_script;
mod destroy;
mod documentation;
mod drift;
mod driver;
mod entrypoint;
mod entrypoint_options;
mod entrypoint_refused;
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
#[cfg(unix)]
mod local_command;
mod local_exports;
mod local_hostile;
mod local_platforms;
mod local_stores;
mod local_traffic;
mod local_versions;
mod lost_answers;
#[cfg(unix)]
mod matrix;
mod node_modules;
mod official_provider;
#[cfg(unix)]
mod plugin;
mod provider_block;
mod recovery;
mod rename;
mod rules;
mod runtime;
#[cfg(unix)]
mod status_page;
#[cfg(unix)]
mod switches;
mod tags;
mod taking_over;
mod transcripts;
mod transfers;
mod unknown;
mod walks;
