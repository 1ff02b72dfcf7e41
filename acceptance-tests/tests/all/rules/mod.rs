//! Local Cloudflare and the planner's model of Cloudflare are two readings of the same facts, written apart from each
//! other. Here both get the same uploads, renames and deletes, and must say the same of each.

mod events;
mod request;
mod twins;

#[expect(
    dead_code,
    reason = "what only the planner's own tests ask of the model"
)]
#[path = "../../../../src/durable/plan/model/cloud.rs"]
mod cloud;

use std::collections::BTreeMap;

use proptest::test_runner::{Config, TestCaseError, TestRunner};

use events::{Event, WORKERS};
use twins::Twins;

/// How many sequences run by default.
const CASES: u32 = 5_000;

/// What the generated sequences have met: `ok` and what was done then, the codes of refusals, and the exceptions.
type Seen = BTreeMap<String, usize>;

fn run(follow: bool, events: &[Event], seen: &mut Seen) -> Result<(), TestCaseError> {
    let mut twins = Twins::new(follow);
    for event in events {
        let (told, (here, there)) = match event {
            Event::Upload(draft) => {
                let request = twins.request(draft);
                if let Some(exception) = twins.differs(&request) {
                    *seen.entry(format!("{exception:?}")).or_default() += 1;
                    continue;
                }
                let verdicts = twins.upload(&request);
                if verdicts.0.is_ok() {
                    for kind in request.kinds() {
                        *seen.entry(kind.into()).or_default() += 1;
                    }
                }
                (format!("{request:?}"), verdicts)
            }
            Event::Rename { from, to } => {
                let (from, to) = (*from.get(&WORKERS), *to.get(&WORKERS[..3]));
                (format!("{from} becomes {to}"), twins.rename(from, to))
            }
            Event::Delete(worker) => {
                let worker = *worker.get(&WORKERS);
                (format!("{worker} goes"), twins.delete(worker))
            }
        };
        let verdict = match (&here, &there) {
            (Ok(()), Ok(())) => "ok".into(),
            (Err(failure), Err(_)) => failure.errors[0].code.to_string(),
            _ => {
                return Err(TestCaseError::fail(format!(
                    "{told}\nlocal Cloudflare: {here:?}\nthe model: {there:?}"
                )));
            }
        };
        *seen.entry(verdict).or_default() += 1;
        twins.compare()?;
    }
    Ok(())
}

#[test]
fn local_cloudflare_and_the_planners_model_judge_generated_sequences_alike() {
    let wanted = std::env::var("RULES_CASES");
    let cases = wanted.map_or(CASES, |n| n.parse().expect("RULES_CASES is a number"));
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Config::default()
    });
    let seen = std::cell::RefCell::new(Seen::new());
    let verdict = runner.run(&events::sequences(), |(follow, events)| {
        run(follow, &events, &mut seen.borrow_mut())
    });
    if let Err(failure) = verdict {
        panic!("{failure}");
    }
    // Sequences that meet no rule would prove nothing.
    let seen = seen.into_inner();
    let refused: usize = seen
        .iter()
        .filter(|(what, _)| what.starts_with('1'))
        .map(|(_, n)| n)
        .sum();
    assert!(seen["ok"] > refused, "{seen:?}");
    let kinds = ["create", "rename", "delete", "transfer"];
    for what in ["10061", "10064", "10065", "10070", "10074", "10079"]
        .into_iter()
        .chain(kinds)
    {
        assert!(
            cases < CASES || seen.contains_key(what),
            "{what} in {seen:?}"
        );
    }
}
