//! Literal walks: configurations one after the other, and how each run ends.
//!
//! A line is a configuration as [`super::config`] reads it, then maybe `killed N` or `stopped N` (writes), then `=>` and the ends
//! that are right: `success`, `refused` (in the plan), `failed`, `killed`. After `=> advised` the same is tried again and the messages
//! are followed, which has to lead out. Every walk is made in many orders of the applies, in all readings of Cloudflare.

use super::advice::{End, converge};
use super::cloud::{ServerNames, Shown};
use super::config::{Config, Naming};
use super::turns::{Break, Chance};
use super::world::{Outcome, World};

fn ends(words: &str) -> Option<Break> {
    let (how, writes) = words.split_once(' ')?;
    let writes = writes.trim().parse().expect("a number of writes");
    Some(match how {
        "killed" => Break::Killed(writes),
        "stopped" => Break::Stopped(writes),
        _ => panic!("{how}"),
    })
}

fn walk(text: &str, world: &mut World, chance: &mut Chance) -> Result<(), String> {
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (config, expect) = line.split_once("=>").expect("`=>` and how it ends");
        let (config, early) = config.split_once(';').unwrap_or((config, ""));
        let config = Config::of(config.trim());
        let expect = expect.trim();
        let outcome = world.run(&config, chance, ends(early.trim()))?;
        if outcome == Outcome::Success {
            world.use_it(&config)?;
        }
        let is = match &outcome {
            _ if expect == "advised" => match converge(world, &config, chance)? {
                End::Reached | End::Advised => "advised",
                End::Stuck(_) => "stuck",
            },
            Outcome::Success => "success",
            Outcome::NotPlanned(_) => "refused",
            Outcome::Failed(..) => "failed",
            Outcome::Killed => "killed",
        };
        if !expect.split(" or ").any(|end| end == is) {
            return Err(format!("{line}\nended as {is}: {outcome:?}"));
        }
    }
    Ok(())
}

#[track_caller]
fn check(text: &str) {
    for seed in [1, 3, 77, 1 << 40] {
        for server_names in [ServerNames::Kept, ServerNames::Rewritten] {
            for shown in [Shown::AsSent, Shown::AsItIsNow] {
                for naming in [Naming::StableId, Naming::Class, Naming::Slot] {
                    let mut world = World::new(server_names, shown, naming);
                    let outcome = walk(text, &mut world, &mut Chance(seed));
                    if let Err(what) = outcome {
                        panic!("{what}\n{server_names:?} {shown:?} {naming:?} {seed}\n{text}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_namespace_moves_in_one_apply_and_back() {
    check(
        "X:R@A | A[X] B[]      => success
         X:R@B | A[X] B[X]     => success
         X:R@A | A[X] B[X]     => success
         X:H@B | A[X] B[X]     => success
         X:R@A | A[X] B[X] | A>B => advised",
    );
}

#[test]
fn a_move_that_failed_can_go_somewhere_else() {
    for writes in 1..=3 {
        for how in ["killed", "stopped"] {
            check(&format!(
                "X:R@A | A[X] B[] C[]         => success
                 X:R@B | A[X] B[X] C[]; {how} {writes} => killed or failed or success
                 X:R@C | A[X] B[X] C[X]       => advised",
            ));
        }
    }
}

#[test]
fn what_is_left_is_found_by_its_stable_id_also_after_the_upload_that_leaves_it() {
    for writes in 1..=3 {
        check(&format!(
            "X:R@A | A[X] B[]      => success
             X:H@B | A[X+] B[X]; killed {writes}  => killed or success
             X:H@B | A[X+] B[X]    => success"
        ));
    }
}

#[test]
fn a_twin_is_not_taken_for_the_other_one() {
    check(
        "X:R | A[X]                => success
         X:R | A[X] B[X]           => success
         X:R@B | A[X] B[X]         => refused
         X:R@B<A | A[X] B[X]       => refused",
    );
}

#[test]
fn two_namespaces_are_exchanged() {
    for writes in 1..=6 {
        check(&format!(
            "X:R@A Y:H@B | A[XY] B[XY]  => success
             X:R@B Y:H@A | A[XY] B[XY]; killed {writes}  => killed or failed or success
             X:R@B Y:H@A | A[XY] B[XY]  => success"
        ));
        check(&format!(
            "X:R@A Y:H@B | A[XY] B[XY]  => success
             X:H@B Y:R@A | A[XY] B[XY]; stopped {writes}  => killed or failed or success
             X:H@B Y:R@A | A[XY] B[XY]  => success"
        ));
    }
}

#[test]
fn a_swap_can_be_reverted_in_the_middle() {
    for writes in 1..=3 {
        for how in ["killed", "stopped"] {
            check(&format!(
                "X:R Y:H | A[XY] => success
                 X:H Y:R | A[XY]; {how} {writes} => killed or failed or success
                 X:R Y:H | A[XY] => success
                 X:H Y:R | A[XY] => success"
            ));
        }
    }
}
