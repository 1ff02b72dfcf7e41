//! The planner in generated worlds.
//!
//! - [`cloud`] is Cloudflare, as strict as anybody fears it to be. It also knows what every namespace is *meant* for.
//! - [`worker`], [`read`], [`planned`], [`apply`] (with [`foreign`] and [`recorded`]) and [`destroy`] are what the provider does for
//!   one Worker, with the real planner in the middle. [`turns`] lets several of them run at once, and ends them anywhere.
//! - [`config`] and [`world`] are Terraform: configurations, states, and runs. [`advice`] is the person who reads the messages.
//! - [`one`] judges one Worker in [`situations`] of every kind, with [`names`] of every kind. [`walks`] leads several Workers through
//!   many edits, [`traces`] through written ones. [`order`] has what needs no world.
//!
//! How to run many more cases than those of every day stands in `CONTRIBUTING.md`.

mod advice;
mod apply;
mod cloud;
mod config;
mod destroy;
mod foreign;
mod names;
mod one;
mod order;
mod planned;
mod read;
mod recorded;
mod situations;
mod traces;
mod turns;
mod walks;
mod worker;
mod world;

use proptest::test_runner::{Config, TestRunner};

/// How many cases all generated tests together run by default.
const CASES: u32 = 20_000;

/// A runner for its share of the cases, in thousandths of all.
fn runner(share: u32) -> TestRunner {
    let wanted = std::env::var("PLANNER_CASES");
    let all = match wanted {
        Ok(number) => number.parse().expect("PLANNER_CASES is a number"),
        Err(_) => CASES,
    };
    TestRunner::new(Config {
        cases: u32::try_from(u64::from(all) * u64::from(share) / 1000)
            .expect("not that many")
            .max(1),
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Config::default()
    })
}
