//! The planner in generated worlds.
//!
//! [`cloud`] is Cloudflare, as strict as anybody fears it to be. [`worker`] and [`apply`] are what the provider does for one Worker,
//! with the real planner in the middle; [`turns`] lets several of them run at once, and ends them anywhere. [`config`] and [`world`]
//! are Terraform: configurations, states, and runs. [`one`] judges one Worker in many situations, [`walks`] several of them through
//! many edits; [`advice`] is the person who reads the error messages. [`order`] has what needs no world.
//!
//! `PLANNER_CASES=1000000 cargo test --release --lib durable::plan::model -- --nocapture` runs about that many cases instead of the
//! few of every day, and says what it has seen.

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
