//! The recovery matrix: every flow, with every call of it going wrong in every way that makes a difference. Whatever happened, applying
//! again ends where the flow was meant to end: no namespace has another id, and nobody misses a visit.
//!
//! A flow is set up and planned once; every case starts from a copy. The plan and the apply of a saved plan are two processes of the
//! provider, as they are in one `apply`, so each is disturbed by itself. A run that leaves a world that another case has left needs no
//! second look. With OpenTofu every third case is played. `cases` says what is left out.

mod cases;
mod flow;
mod play;

use self::cases::Depth::{Everything, KillsAfterWrites};
use self::flow::{Flow, configuration};
use self::play::play;
use crate::layout::{Namespace, Worker, namespace, worker};

const CONSENT: &str = "force_destroy = true";

/// A Worker that hosts X and Y, each visited once. Another tool may change the class of Y, or exchange the two.
fn pair(name: &'static str) -> Flow {
    Flow {
        name,
        before: Some(configuration(
            &[namespace("x", "A").with(CONSENT), namespace("y", "B")],
            &[two_classes([("A", "x"), ("B", "y")])],
        )),
        visits: vec![("w", "x"), ("w", "y")],
        tag_moves: Some("w"),
        overtaken: Some(("w", "B")),
        exchanged: Some(("w", "A", "B")),
        ..Flow::default()
    }
}

fn two_classes(code: [(&'static str, &'static str); 2]) -> Worker {
    worker("w", &["x", "y"]).code(&code)
}

#[tokio::test]
async fn create() {
    let flow = Flow {
        name: "create",
        target: configuration(
            &[namespace("x", "A"), namespace("y", "B")],
            &[two_classes([("A", "x"), ("B", "y")])],
        ),
        ends: vec![("w/A", None), ("w/B", None)],
        answers: vec![("w", "x", 1), ("w", "y", 1)],
        ..Flow::default()
    };
    play(flow, Everything).await;
}

#[tokio::test]
async fn code_change() {
    let flow = Flow {
        target: configuration(
            &[namespace("x", "A").with(CONSENT), namespace("y", "B")],
            &[worker("w", &["x", "y"]).code(&[("A", "x"), ("B", "y"), ("Spare", "z")])],
        ),
        ends: vec![("w/A", Some("w/A")), ("w/B", Some("w/B"))],
        answers: vec![("w", "x", 2), ("w", "y", 2)],
        ..pair("code change")
    };
    play(flow, Everything).await;
}

#[tokio::test]
async fn class_rename() {
    let flow = Flow {
        target: configuration(
            &[namespace("x", "A").with(CONSENT), namespace("y", "C")],
            &[two_classes([("A", "x"), ("C", "y")])],
        ),
        ends: vec![("w/A", Some("w/A")), ("w/C", Some("w/B"))],
        answers: vec![("w", "x", 2), ("w", "y", 2)],
        ..pair("class rename")
    };
    play(flow, Everything).await;
}

#[tokio::test]
async fn swap() {
    let flow = Flow {
        target: configuration(
            &[namespace("x", "B").with(CONSENT), namespace("y", "A")],
            &[two_classes([("B", "x"), ("A", "y")])],
        ),
        ends: vec![("w/B", Some("w/A")), ("w/A", Some("w/B"))],
        answers: vec![("w", "x", 2), ("w", "y", 2)],
        ..pair("swap")
    };
    play(flow, Everything).await;
}

#[tokio::test]
async fn class_under_another_stable_id() {
    let flow = Flow {
        target: configuration(
            &[namespace("n", "A"), namespace("y", "B")],
            &[worker("w", &[])
                .slots(&[("X", "n"), ("Y", "y")])
                .code(&[("A", "n"), ("B", "y")])],
        ),
        ends: vec![("w/A", None), ("w/B", Some("w/B"))],
        answers: vec![("w", "n", 1), ("w", "y", 2)],
        ..pair("class under another stable ID")
    };
    play(flow, Everything).await;
}

#[tokio::test]
async fn delete() {
    let flow = Flow {
        target: configuration(
            &[namespace("y", "B")],
            &[worker("w", &["y"]).code(&[("B", "y")])],
        ),
        ends: vec![("w/B", Some("w/B"))],
        answers: vec![("w", "y", 2)],
        ..pair("delete")
    };
    play(flow, Everything).await;
}

#[tokio::test]
async fn destroy() {
    let all = configuration(
        &[
            namespace("x", "A").with(CONSENT),
            namespace("y", "B").with(CONSENT),
        ],
        &[two_classes([("A", "x"), ("B", "y")])],
    );
    let flow = Flow {
        before: Some(all.clone()),
        target: all,
        destroys: true,
        overtaken: None,
        exchanged: None,
        ..pair("destroy")
    };
    play(flow, Everything).await;
}

#[tokio::test]
async fn adopt() {
    let mut adopting = worker("w", &["x"]).code(&[("B", "x")]);
    adopting.more.push("adopt = true".into());
    let taken = namespace("x", "B").with("previous_class_name = \"A\"");
    let flow = Flow {
        name: "adopt",
        tag_moves: Some("w"),
        before: Some(configuration(
            &[namespace("x", "A")],
            &[worker("w", &["x"]).code(&[("A", "x")])],
        )),
        foreign: Some("w"),
        visits: vec![("w", "x")],
        target: configuration(&[taken], &[adopting]),
        ends: vec![("w/B", Some("w/A"))],
        answers: vec![("w", "x", 2)],
        ..Flow::default()
    };
    play(flow, Everything).await;
}

#[tokio::test]
async fn worker_rename() {
    let before = configuration(
        &[namespace("x", "A").on("w")],
        &[worker("w", &["x"]).code(&[("A", "x")]), worker("c", &["x"])],
    );
    let name = |name: &str| format!("\n  name               = \"{name}\"");
    let script = |name: &str| format!("script_name = \"{name}\"");
    let target = before
        .replace(&name("w"), &name("v"))
        .replace(&script("w"), &script("v"));
    let flow = Flow {
        name: "Worker rename",
        tag_moves: Some("w"),
        before: Some(before),
        visits: vec![("w", "x"), ("c", "x")],
        target,
        ends: vec![("v/A", Some("w/A"))],
        answers: vec![("v", "x", 3), ("c", "x", 4)],
        ..Flow::default()
    };
    play(flow, Everything).await;
}

/// A flow of two Workers before anything says in which order the core goes through them.
struct Moving {
    name: &'static str,
    before: (Vec<Namespace>, Vec<Worker>),
    visits: Vec<(&'static str, &'static str)>,
    target: (Vec<Namespace>, Vec<Worker>),
    ends: Vec<(&'static str, Option<&'static str>)>,
    answers: Vec<(&'static str, &'static str, usize)>,
}

/// X moves from A to B; A keeps binding it.
fn transfer() -> Moving {
    let source = worker("a", &["x"]).code(&[("A", "x")]);
    Moving {
        name: "transfer",
        before: (
            vec![namespace("x", "A").on("a")],
            vec![source.clone(), worker("b", &[])],
        ),
        visits: vec![("a", "x")],
        target: (
            vec![namespace("x", "A").on("b")],
            vec![source, worker("b", &["x"]).code(&[("A", "x")])],
        ),
        ends: vec![("b/A", Some("a/A"))],
        answers: vec![("b", "x", 2), ("a", "x", 3)],
    }
}

/// X moves from A to B, where Y and Z swap their classes in the same apply.
fn transfer_with_swap() -> Moving {
    let source = worker("a", &["x"]).code(&[("A", "x")]);
    Moving {
        name: "transfer with swap",
        before: (
            vec![
                namespace("x", "A").on("a"),
                namespace("y", "A").on("b"),
                namespace("z", "B").on("b"),
            ],
            vec![
                source.clone(),
                worker("b", &["y", "z"]).code(&[("A", "y"), ("B", "z")]),
            ],
        ),
        visits: vec![("a", "x"), ("b", "y"), ("b", "z")],
        target: (
            vec![
                namespace("x", "C").on("b"),
                namespace("y", "B").on("b"),
                namespace("z", "A").on("b"),
            ],
            vec![
                source,
                worker("b", &["x", "y", "z"]).code(&[("C", "x"), ("B", "y"), ("A", "z")]),
            ],
        ),
        ends: vec![
            ("b/C", Some("a/A")),
            ("b/B", Some("b/A")),
            ("b/A", Some("b/B")),
        ],
        answers: vec![("b", "x", 2), ("a", "x", 3), ("b", "y", 2), ("b", "z", 2)],
    }
}

/// A and B give each other what they host, and keep binding it.
fn exchange() -> Moving {
    Moving {
        name: "exchange",
        before: (
            vec![namespace("x", "A").on("a"), namespace("y", "A").on("b")],
            vec![
                worker("a", &["x"]).code(&[("A", "x")]),
                worker("b", &["y"]).code(&[("A", "y")]),
            ],
        ),
        visits: vec![("a", "x"), ("b", "y")],
        target: (
            vec![namespace("x", "A").on("b"), namespace("y", "A").on("a")],
            vec![
                worker("a", &["y", "x"]).code(&[("A", "y")]),
                worker("b", &["x", "y"]).code(&[("A", "x")]),
            ],
        ),
        ends: vec![("b/A", Some("a/A")), ("a/A", Some("b/A"))],
        answers: vec![("b", "x", 2), ("a", "x", 3), ("a", "y", 2), ("b", "y", 3)],
    }
}

/// B swaps the classes of two namespaces that A binds as well.
fn swap_with_client() -> Moving {
    let on = |x, y| vec![namespace("x", x).on("b"), namespace("y", y).on("b")];
    let workers = |code: [(&'static str, &'static str); 2]| {
        vec![
            worker("a", &["x", "y"]),
            worker("b", &["x", "y"]).code(&code),
        ]
    };
    Moving {
        name: "swap with client",
        before: (on("A", "B"), workers([("A", "x"), ("B", "y")])),
        visits: vec![("b", "x"), ("a", "y")],
        target: (on("B", "A"), workers([("B", "x"), ("A", "y")])),
        ends: vec![("b/B", Some("b/A")), ("b/A", Some("b/B"))],
        answers: vec![("a", "x", 2), ("b", "x", 3), ("a", "y", 2), ("b", "y", 3)],
    }
}

impl Moving {
    fn flow(self, change: impl FnOnce(&mut [Worker]), arguments: &[&'static str]) -> Flow {
        let Self {
            name,
            before,
            visits,
            target: (namespaces, mut workers),
            ends,
            answers,
        } = self;
        change(&mut workers);
        Flow {
            name,
            before: Some(configuration(&before.0, &before.1)),
            visits,
            target: configuration(&namespaces, &workers),
            arguments: arguments.to_vec(),
            tag_moves: Some("b"),
            ends,
            answers,
            ..Flow::default()
        }
    }
}

/// One flow in every order in which the core can go through its Workers.
async fn in_every_order(moving: fn() -> Moving) {
    let after = |later: usize, earlier: &str| {
        let line = format!("depends_on = [cloudflare_worker.{earlier}]");
        move |workers: &mut [Worker]| workers[later].more.push(line)
    };
    // The value that crosses is not known before the other Worker is uploaded.
    let refers = |workers: &mut [Worker]| {
        let line = "vars = { PEER = cloudflare_worker.a.etag }";
        workers[1].more.push(line.into());
    };
    play(moving().flow(after(0, "b"), &[]), KillsAfterWrites).await;
    play(moving().flow(after(1, "a"), &[]), KillsAfterWrites).await;
    play(moving().flow(|_| {}, &["-parallelism=1"]), KillsAfterWrites).await;
    play(moving().flow(refers, &[]), KillsAfterWrites).await;
}

#[tokio::test]
async fn a_transfer() {
    play(transfer().flow(|_| {}, &[]), Everything).await;
}

#[tokio::test]
async fn a_transfer_with_swap() {
    play(transfer_with_swap().flow(|_| {}, &[]), Everything).await;
}

#[tokio::test]
async fn transfers_in_every_order() {
    in_every_order(transfer).await;
    in_every_order(transfer_with_swap).await;
}

#[tokio::test]
async fn exchanges_in_every_order() {
    in_every_order(exchange).await;
}

#[tokio::test]
async fn swaps_with_a_client_in_every_order() {
    in_every_order(swap_with_client).await;
}
