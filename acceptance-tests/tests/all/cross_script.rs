//! Workers that bind what another Worker hosts, while that one changes its classes in the same run.

use acceptance_tests::stage::Stage;

use super::layout::{
    Namespace, VARIANTS, Variant, Worker, configure, converge, id_of, namespace, ordered, stage,
    visited, worker,
};

/// A host of X and Y, and a client that binds X by `script_name`.
async fn before() -> Stage {
    let stage = stage(
        &[
            namespace("x", "A").on("host"),
            namespace("y", "B").on("host"),
        ],
        &[
            worker("host", &["x", "y"]).code(&[("A", "x"), ("B", "y")]),
            worker("client", &["x"]),
        ],
    )
    .await;
    visited(&stage, "client", "x", 1).await;
    visited(&stage, "host", "y", 1).await;
    stage
}

/// The client reaches the same namespace after the host changed, whatever the order, and the second plan is empty.
async fn reaches_it_after(change: (&[Namespace], Worker), variant: Variant) {
    let stage = before().await;
    let id = id_of(&stage, "host/A");
    let (namespaces, host) = change;
    let (name, order, extra) = variant;
    configure(
        &stage,
        namespaces,
        &ordered(vec![host, worker("client", &["x"])], order),
    );
    converge(&stage, extra, 3).await;
    let now = stage.namespaces();
    assert!(now.iter().any(|(_, it)| *it == id), "{name}: {now:?}");
    visited(&stage, "client", "x", 2).await;
    visited(&stage, "host", "x", 3).await;
}

fn swap() -> (Vec<Namespace>, Worker) {
    (
        vec![
            namespace("x", "B").on("host"),
            namespace("y", "A").on("host"),
        ],
        worker("host", &["x", "y"]).code(&[("B", "x"), ("A", "y")]),
    )
}

/// S36, in every order.
#[tokio::test]
async fn a_client_keeps_its_namespace_while_the_host_swaps_classes() {
    for (name, order, extra) in VARIANTS {
        let order = order.map(|order| match order {
            ("b", _) => ("client", "host"),
            _ => ("host", "client"),
        });
        let (namespaces, host) = swap();
        reaches_it_after((&namespaces, host), (name, order, extra)).await;
    }
}

/// S36, the other ways in which a class name passes on.
#[tokio::test]
async fn a_client_keeps_its_namespace_while_class_names_pass_on() {
    let chain = (
        vec![
            namespace("x", "B").on("host"),
            namespace("y", "C").on("host"),
        ],
        worker("host", &["x", "y"]).code(&[("B", "x"), ("C", "y")]),
    );
    let taken_again = (
        vec![
            namespace("x", "Z").on("host"),
            namespace("y", "B").on("host"),
            namespace("n", "A").on("host"),
        ],
        worker("host", &["x", "y", "n"]).code(&[("Z", "x"), ("B", "y"), ("A", "n")]),
    );
    for (namespaces, host) in [chain, taken_again] {
        reaches_it_after((&namespaces, host), ("no order", None, &[])).await;
    }
}

/// S29: each binds what the other hosts, both new; and a Worker that hosts what its upstream binds.
#[tokio::test]
async fn two_new_workers_bind_each_other() {
    for extra in [&[][..], &["-parallelism=1"]] {
        let stage = Stage::empty().await;
        configure(
            &stage,
            &[namespace("x", "A").on("a"), namespace("y", "B").on("b")],
            &[
                worker("a", &["x", "y"]).code(&[("A", "x")]),
                worker("b", &["y", "x"]).code(&[("B", "y")]),
            ],
        );
        converge(&stage, extra, 3).await;
        visited(&stage, "a", "x", 1).await;
        visited(&stage, "b", "x", 2).await;
        visited(&stage, "b", "y", 1).await;
        visited(&stage, "a", "y", 2).await;
    }
}
