//! Namespaces that move from one Worker to another: no order of operations deletes, empties or confuses one.

use acceptance_tests::cloudflare::Misbehaviour;
use acceptance_tests::stage::Stage;

use super::layout::{
    Namespace, VARIANTS, Worker, configure, converge, id_of, namespace, ordered, reconfigure,
    stage, visited, worker,
};

const MOVE: &str = "transferred_from = \"a\"";

/// A hosts X, with data; B exists.
async fn before() -> Stage {
    let stage = stage(
        &[namespace("x", "A").on("a")],
        &[worker("a", &["x"]).code(&[("A", "x")]), worker("b", &[])],
    )
    .await;
    visited(&stage, "a", "x", 1).await;
    stage.cloudflare.clear_calls();
    stage
}

#[tokio::test]
async fn a_namespace_moves_while_its_old_host_keeps_binding_it() {
    for (number, (variant, order, extra)) in VARIANTS.into_iter().enumerate() {
        // With the class renamed in the same step, or not.
        let class = ["A", "Moved"][number % 2];
        let stage = before().await;
        let id = id_of(&stage, "a/A");
        let workers = vec![
            // The old host keeps exporting the class for this apply.
            worker("a", &["x"]).code(&[("A", "x")]),
            worker("b", &["x"]).code(&[(class, "x")]),
        ];
        configure(
            &stage,
            &[namespace("x", class).on("b")],
            &ordered(workers, order),
        );
        let plan = stage.workspace.plan(&[]).await;
        plan.assert_says("leave x: A to b (data kept)")
            .assert_says(&format!("transfer x: A of a -> {class} (data kept)"));
        converge(&stage, extra, 2).await;
        assert_eq!(id_of(&stage, &format!("b/{class}")), id, "{variant}");
        visited(&stage, "b", "x", 2).await;
        visited(&stage, "a", "x", 3).await;
        let deletes = stage
            .uploads("a")
            .iter()
            .any(|upload| upload["migrations"].to_string().contains("deleted"));
        assert!(!deletes, "{variant}");
        // The class can go from the old host's code afterwards.
        let workers = vec![
            worker("a", &["x"]).code(&[]),
            worker("b", &["x"]).code(&[(class, "x")]),
        ];
        reconfigure(
            &stage,
            &[namespace("x", class).on("b")],
            &ordered(workers, order),
        )
        .await;
        visited(&stage, "a", "x", 4).await;
    }
}

#[tokio::test]
async fn a_namespace_moves_while_its_old_host_only_lists_it_or_drops_the_class() {
    let code: [&[(&str, &str)]; 2] = [&[("A", "x")], &[]];
    for keeps in code {
        for order in [None, Some(("a", "b"))] {
            let stage = before().await;
            let id = id_of(&stage, "a/A");
            let workers = vec![
                worker("a", &[]).lists(&["x"]).code(keeps),
                worker("b", &["x"]).code(&[("A", "x")]),
            ];
            reconfigure(
                &stage,
                &[namespace("x", "A").on("b")],
                &ordered(workers, order),
            )
            .await;
            assert_eq!(id_of(&stage, "b/A"), id);
            visited(&stage, "b", "x", 2).await;
        }
    }
}

#[tokio::test]
async fn an_old_host_that_drops_every_mention_is_refused_while_there_is_data() {
    let stage = before().await;
    configure(
        &stage,
        &[namespace("x", "A").on("b")],
        &[worker("a", &[]), worker("b", &["x"]).code(&[("A", "x")])],
    );
    let plan = stage.workspace.plan_expecting_error(&[]).await;
    plan.assert_says("Moving it to another Worker? Keep it here for the apply that moves it");
    assert_eq!(stage.writes().len(), 0);
}

#[tokio::test]
async fn an_old_host_is_removed_only_after_the_apply_that_moves() {
    let stage = before().await;
    let moved: &[Namespace] = &[namespace("x", "A").on("b")];
    configure(&stage, moved, &[worker("b", &["x"]).code(&[("A", "x")])]);
    let plan = stage.workspace.plan_expecting_error(&[]).await;
    plan.assert_says("keep");
    assert_eq!(stage.writes().len(), 0);
    reconfigure(
        &stage,
        moved,
        &[
            worker("a", &[]).lists(&["x"]).code(&[("A", "x")]),
            worker("b", &["x"]).code(&[("A", "x")]),
        ],
    )
    .await;
    reconfigure(&stage, moved, &[worker("b", &["x"]).code(&[("A", "x")])]).await;
    visited(&stage, "b", "x", 2).await;
}

#[tokio::test]
async fn a_move_that_is_not_said_is_a_plan_error() {
    let stage = stage(
        &[namespace("x", "A")],
        &[worker("a", &["x"]).code(&[("A", "x")]), worker("b", &[])],
    )
    .await;
    visited(&stage, "a", "x", 1).await;
    stage.cloudflare.clear_calls();
    let workers = [
        worker("a", &["x"]).code(&[("A", "x")]),
        worker("b", &["x"]).code(&[("A", "x")]),
    ];
    configure(&stage, &[namespace("x", "A").on("b")], &workers);
    let plan = stage.workspace.plan_expecting_error(&[]).await;
    plan.assert_says("Namespace `x` is hosted here, not by `b`")
        .assert_says("set `transferred_from = \"a\"`");
    assert_eq!(stage.writes().len(), 0);
    reconfigure(&stage, &[namespace("x", "A").on("b").with(MOVE)], &workers).await;
    visited(&stage, "a", "x", 2).await;
    visited(&stage, "b", "x", 3).await;
}

#[tokio::test]
async fn a_target_that_has_the_class_already_is_a_plan_error() {
    let stage = before().await;
    let code = [("A", "y")];
    reconfigure(
        &stage,
        &[namespace("x", "A").on("a"), namespace("y", "A").on("b")],
        &[
            worker("a", &["x"]).code(&[("A", "x")]),
            worker("b", &["y"]).code(&code),
        ],
    )
    .await;
    stage.cloudflare.clear_calls();
    configure(
        &stage,
        &[namespace("x", "A").on("b"), namespace("y", "A").on("b")],
        &[
            worker("a", &["x"]).code(&[("A", "x")]),
            worker("b", &["x", "y"]).code(&[("A", "x")]),
        ],
    );
    let plan = stage.workspace.plan_expecting_error(&[]).await;
    plan.assert_says("share the class `A`");
    assert_eq!(stage.writes().len(), 0);
}

#[tokio::test]
async fn moving_with_consent_to_delete_is_a_plan_error() {
    let stage = before().await;
    let consents = |script: &str| namespace("x", "A").on(script).with("force_destroy = true");
    let workers = [
        worker("a", &["x"]).code(&[("A", "x")]),
        worker("b", &["x"]).code(&[("A", "x")]),
    ];
    reconfigure(
        &stage,
        &[consents("a")],
        &[workers[0].clone(), worker("b", &[])],
    )
    .await;
    configure(&stage, &[consents("b")], &workers);
    let plan = stage.workspace.plan_expecting_error(&[]).await;
    plan.assert_says("force_destroy = false");
}

#[tokio::test]
async fn two_namespaces_are_exchanged_while_both_workers_bind_both() {
    exchange(true).await;
}

#[tokio::test]
async fn two_namespaces_are_exchanged_while_each_worker_only_lists_what_it_gives() {
    exchange(false).await;
}

/// In every order. Each old host keeps binding what it gives away, or only lists it.
async fn exchange(keeps: bool) {
    for (variant, order, extra) in VARIANTS {
        let stage = stage(
            &[namespace("x", "A").on("a"), namespace("y", "A").on("b")],
            &[
                worker("a", &["x"]).code(&[("A", "x")]),
                worker("b", &["y"]).code(&[("A", "y")]),
            ],
        )
        .await;
        visited(&stage, "a", "x", 1).await;
        visited(&stage, "b", "y", 1).await;
        let ids = (id_of(&stage, "a/A"), id_of(&stage, "b/A"));
        let host = |name, takes: &'static str, gives: &'static str| {
            let worker = match keeps {
                true => worker(name, &[takes, gives]),
                false => worker(name, &[takes]).lists(&[gives]),
            };
            worker.code(&[("A", takes)])
        };
        let workers = vec![host("a", "y", "x"), host("b", "x", "y")];
        configure(
            &stage,
            &[namespace("x", "A").on("b"), namespace("y", "A").on("a")],
            &ordered(workers, order),
        );
        converge(&stage, extra, 3).await;
        assert_eq!(
            (id_of(&stage, "b/A"), id_of(&stage, "a/A")),
            ids,
            "{variant}"
        );
        visited(&stage, "b", "x", 2).await;
        visited(&stage, "a", "y", 2).await;
    }
}

#[tokio::test]
async fn a_source_that_was_never_created_is_a_create_with_a_warning() {
    let stage = stage(&[], &[worker("b", &[])]).await;
    configure(
        &stage,
        &[namespace("x", "A").on("b").with(MOVE)],
        &[worker("b", &["x"]).code(&[("A", "x")])],
    );
    let plan = stage.workspace.plan(&[]).await;
    plan.assert_says("create x: A (SQLite)")
        .assert_says("No namespace `x` found on Worker `a`");
    stage.apply(&[]).await;
    visited(&stage, "b", "x", 1).await;
}

/// Moved in spring; since then the old host has another class of that name.
#[tokio::test]
async fn a_stale_transferred_from_takes_nothing() {
    let stage = before().await;
    let workers = |a: Worker| [a, worker("b", &["x"]).code(&[("A", "x")])];
    let moved = || namespace("x", "A").on("b").with(MOVE);
    reconfigure(
        &stage,
        &[moved()],
        &workers(worker("a", &["x"]).code(&[("A", "x")])),
    )
    .await;
    reconfigure(
        &stage,
        &[moved(), namespace("y", "A").on("a")],
        &workers(worker("a", &["y"]).code(&[("A", "y")])),
    )
    .await;
    visited(&stage, "a", "y", 1).await;
    visited(&stage, "b", "x", 2).await;
    // And once more, with the namespace gone from its host.
    let gone = stage.workspace.plan(&[]).await;
    gone.assert_never_says("transfer");
}

/// A -> B failed, then on to C.
#[tokio::test]
async fn a_move_that_failed_goes_on_to_a_third_worker() {
    let stage = stage(
        &[namespace("x", "A").on("a")],
        &[
            worker("a", &["x"]).code(&[("A", "x")]),
            worker("b", &[]),
            worker("c", &[]),
        ],
    )
    .await;
    visited(&stage, "a", "x", 1).await;
    let id = id_of(&stage, "a/A");
    let workers = [
        worker("a", &["x"]).code(&[("A", "x")]),
        worker("b", &["x"]).code(&[("A", "x")]),
        worker("c", &[]),
    ];
    configure(&stage, &[namespace("x", "A").on("b")], &workers);
    let broken = Misbehaviour::Error {
        status: 400,
        code: 10021,
        message: "no".into(),
    };
    stage
        .cloudflare
        .add_fault(broken.times(1000, "PUT", "*/scripts/*"));
    stage.workspace.apply_expecting_error(&[]).await;
    stage.cloudflare.faults().clear();
    let workers = [
        worker("a", &["x"]).code(&[("A", "x")]),
        worker("b", &["x"]),
        worker("c", &["x"]).code(&[("A", "x")]),
    ];
    configure(&stage, &[namespace("x", "A").on("c")], &workers);
    let plan = stage.workspace.plan_expecting_error(&[]).await;
    plan.assert_says("Namespace `x` is hosted by Worker `a`");
    reconfigure(&stage, &[namespace("x", "A").on("c").with(MOVE)], &workers).await;
    assert_eq!(id_of(&stage, "c/A"), id);
    visited(&stage, "c", "x", 2).await;
    visited(&stage, "b", "x", 3).await;
}
