//! The recovery matrix: every flow, with every call of it going wrong in every way that makes a difference. Whatever happened, applying
//! again ends where the flow was meant to end: no namespace has another id, and nobody misses a visit.
//!
//! A flow is set up and planned once; every case starts from a copy. The plan and the apply of a saved plan are two processes of the
//! provider, as they are in one `apply`, so each is disturbed by itself.

mod cases;
mod flow;
mod play;

use self::cases::Depth::Everything;
use self::flow::{Flow, configuration};
use self::play::play;
use crate::layout::{namespace, worker};

#[tokio::test]
async fn create() {
    let target = configuration(
        &[namespace("x", "A"), namespace("y", "B")],
        &[worker("w", &["x", "y"]).code(&[("A", "x"), ("B", "y")])],
    );
    let flow = Flow {
        name: "create",
        target,
        ends: vec![("w/A", None), ("w/B", None)],
        answers: vec![("w", "x", 1), ("w", "y", 1)],
        ..Flow::default()
    };
    play(flow, Everything).await;
}

#[tokio::test]
async fn swap() {
    let workers = |code| [worker("w", &["x", "y"]).code(code)];
    let flow = Flow {
        name: "swap",
        before: Some(configuration(
            &[namespace("x", "A"), namespace("y", "B")],
            &workers(&[("A", "x"), ("B", "y")]),
        )),
        visits: vec![("w", "x"), ("w", "y"), ("w", "y")],
        target: configuration(
            &[namespace("x", "B"), namespace("y", "A")],
            &workers(&[("B", "x"), ("A", "y")]),
        ),
        ends: vec![("w/B", Some("w/A")), ("w/A", Some("w/B"))],
        answers: vec![("w", "x", 2), ("w", "y", 3)],
        overtaken: Some(("w", "A")),
        exchanged: Some(("w", "A", "B")),
        ..Flow::default()
    };
    play(flow, Everything).await;
}
