//! Class names that pass from one namespace to another on one Worker: whatever the change, every stable ID keeps its data.

use acceptance_tests::cloudflare::{Fault, Misbehaviour};

use super::layout::{configure, hcl, id_of, namespace, reconfigure, stage, visited, worker};

/// Host of X and Y.
async fn pair() -> acceptance_tests::stage::Stage {
    let stage = stage(
        &[namespace("x", "A"), namespace("y", "B")],
        &[worker("w", &["x", "y"]).code(&[("A", "x"), ("B", "y")])],
    )
    .await;
    visited(&stage, "w", "x", 1).await;
    visited(&stage, "w", "y", 1).await;
    visited(&stage, "w", "y", 2).await;
    stage.cloudflare.clear_calls();
    stage
}

#[tokio::test]
async fn two_namespaces_swap_their_classes_in_two_uploads() {
    let stage = pair().await;
    let before = (id_of(&stage, "w/A"), id_of(&stage, "w/B"));
    configure(
        &stage,
        &[namespace("x", "B"), namespace("y", "A")],
        &[worker("w", &["x", "y"]).code(&[("A", "y"), ("B", "x")])],
    );
    let plan = stage.workspace.plan(&[]).await;
    plan.assert_says("rename x: A -> B (data kept)")
        .assert_says("rename y: B -> A (data kept)")
        .assert_says("in 2 uploads");
    stage.apply(&[]).await;
    assert_eq!(stage.uploads("w").len(), 2);
    assert_eq!((id_of(&stage, "w/B"), id_of(&stage, "w/A")), before);
    visited(&stage, "w", "x", 2).await;
    visited(&stage, "w", "y", 3).await;
}

#[tokio::test]
async fn a_cycle_a_chain_and_a_name_taken_over_keep_every_namespace() {
    let stage = stage(
        &[
            namespace("x", "A"),
            namespace("y", "B"),
            namespace("z", "C"),
        ],
        &[worker("w", &["x", "y", "z"]).code(&[("A", "x"), ("B", "y"), ("C", "z")])],
    )
    .await;
    for id in ["x", "y", "z"] {
        visited(&stage, "w", id, 1).await;
    }
    // A cycle.
    reconfigure(
        &stage,
        &[
            namespace("x", "B"),
            namespace("y", "C"),
            namespace("z", "A"),
        ],
        &[worker("w", &["x", "y", "z"]).code(&[("B", "x"), ("C", "y"), ("A", "z")])],
    )
    .await;
    for id in ["x", "y", "z"] {
        visited(&stage, "w", id, 2).await;
    }
    // A chain, and a new namespace under the name at its end.
    reconfigure(
        &stage,
        &[
            namespace("x", "C"),
            namespace("y", "D"),
            namespace("z", "A"),
            namespace("n", "B"),
        ],
        &[worker("w", &["x", "y", "z", "n"]).code(&[
            ("C", "x"),
            ("D", "y"),
            ("A", "z"),
            ("B", "n"),
        ])],
    )
    .await;
    for id in ["x", "y", "z"] {
        visited(&stage, "w", id, 3).await;
    }
    visited(&stage, "w", "n", 1).await;
}

/// S9, with consent: the same class under another stable ID.
#[tokio::test]
async fn a_class_gets_another_stable_id_and_starts_empty() {
    let stage = pair().await;
    let consents = |class| namespace("x", class).with("force_destroy = true");
    let code = [("A", "x"), ("B", "y")];
    reconfigure(
        &stage,
        &[consents("A"), namespace("y", "B")],
        &[worker("w", &["x", "y"]).code(&code)],
    )
    .await;
    stage.cloudflare.clear_calls();
    configure(
        &stage,
        &[namespace("n", "A"), namespace("y", "B")],
        &[worker("w", &[])
            .slots(&[("X", "n"), ("Y", "y")])
            .code(&[("A", "n"), ("B", "y")])],
    );
    let plan = stage.workspace.plan(&[]).await;
    plan.assert_says("delete x: A (its data is deleted)")
        .assert_says("create n: A (SQLite)")
        .assert_says("in 2 uploads");
    stage.apply(&[]).await;
    // The binding's name reached what is deleted, so it is missing from the upload that deletes.
    let uploads = stage.uploads("w");
    let names: Vec<bool> = uploads
        .iter()
        .map(|upload| upload["bindings"].to_string().contains("\"X\""))
        .collect();
    assert_eq!(names, [false, true]);
    visited(&stage, "w", "n", 1).await;
    visited(&stage, "w", "y", 3).await;
}

#[tokio::test]
async fn a_deleted_class_name_goes_to_a_namespace_that_stays() {
    let stage = pair().await;
    reconfigure(
        &stage,
        &[
            namespace("x", "A").with("force_destroy = true"),
            namespace("y", "B"),
        ],
        &[worker("w", &["x", "y"]).code(&[("A", "x"), ("B", "y")])],
    )
    .await;
    reconfigure(
        &stage,
        &[namespace("y", "A")],
        &[worker("w", &["y"]).code(&[("A", "y")])],
    )
    .await;
    visited(&stage, "w", "y", 3).await;
    assert_eq!(stage.namespaces().len(), 1);
}

/// The server name of a class that was given up long ago is still taken (10065).
#[tokio::test]
async fn a_class_name_given_up_long_ago_can_be_used_again() {
    let stage = pair().await;
    reconfigure(
        &stage,
        &[namespace("x", "Z"), namespace("y", "B")],
        &[worker("w", &["x", "y"]).code(&[("Z", "x"), ("B", "y")])],
    )
    .await;
    reconfigure(
        &stage,
        &[
            namespace("x", "Z"),
            namespace("y", "B"),
            namespace("n", "A"),
        ],
        &[worker("w", &["x", "y", "n"]).code(&[("Z", "x"), ("B", "y"), ("A", "n")])],
    )
    .await;
    visited(&stage, "w", "x", 2).await;
    visited(&stage, "w", "n", 1).await;
}

/// A pair whose swap stopped between its uploads, and the error of that.
async fn half_swapped() -> (acceptance_tests::stage::Stage, (String, String)) {
    let stage = pair().await;
    let ids = (id_of(&stage, "w/A"), id_of(&stage, "w/B"));
    let broken = Misbehaviour::Error {
        status: 400,
        code: 10021,
        message: "not now".into(),
    };
    stage.cloudflare.add_fault(Fault {
        after: 1,
        ..broken.times(1000, "PUT", "*/scripts/w")
    });
    swap(&stage);
    let run = stage.workspace.apply_expecting_error(&[]).await;
    run.assert_says("Cannot upload Worker w")
        .assert_says("not now");
    stage.cloudflare.faults().clear();
    (stage, ids)
}

fn swap(stage: &acceptance_tests::stage::Stage) {
    configure(
        stage,
        &[namespace("x", "B"), namespace("y", "A")],
        &[worker("w", &["x", "y"]).code(&[("A", "y"), ("B", "x")])],
    );
}

#[tokio::test]
async fn a_swap_that_stopped_between_its_uploads_goes_on() {
    let (stage, (x, y)) = half_swapped().await;
    let listed = stage.namespaces();
    assert!(
        listed.iter().all(|(at, _)| at.starts_with("w/Parked_")),
        "{listed:?}"
    );
    // Everything still answers, by its binding.
    visited(&stage, "w", "x", 2).await;
    stage.apply(&[]).await;
    assert_eq!((id_of(&stage, "w/B"), id_of(&stage, "w/A")), (x, y));
    visited(&stage, "w", "x", 3).await;
    visited(&stage, "w", "y", 3).await;
}

/// S39.
#[tokio::test]
async fn a_swap_that_stopped_between_its_uploads_can_be_taken_back() {
    let (stage, (x, y)) = half_swapped().await;
    configure(
        &stage,
        &[namespace("x", "A"), namespace("y", "B")],
        &[worker("w", &["x", "y"]).code(&[("A", "x"), ("B", "y")])],
    );
    let plan = stage.workspace.plan(&[]).await;
    plan.assert_says("Plan: 0 to add");
    stage.apply(&[]).await;
    assert_eq!((id_of(&stage, "w/A"), id_of(&stage, "w/B")), (x, y));
    visited(&stage, "w", "x", 2).await;
    visited(&stage, "w", "y", 3).await;
}

#[tokio::test]
async fn code_that_cannot_be_handed_on_needs_two_applies() {
    let stage = pair().await;
    swap(&stage);
    // The classes of a Worker whose code another tool uploads.
    let text = stage.workspace.read("main.tf");
    let (head, _) = text.split_once("  script = <<-JS").expect("it has code");
    stage.workspace.write("main.tf", &format!("{head}}}\n"));
    let plan = stage.workspace.plan_expecting_error(&[]).await;
    plan.assert_says("These class changes need two applies")
        .assert_says("other tools upload the code of this Worker");
    assert_eq!(stage.writes().len(), 0);
}

/// The configuration text itself: a test that formats wrongly would test nothing.
#[test]
fn the_configuration_says_what_is_meant() {
    let text = hcl(
        &[namespace("x", "A").on("w")],
        &[worker("w", &["x"]).code(&[("A", "x")])],
    );
    assert!(text.contains("script_name = \"w\""));
    assert!(text.contains("X = cloudflare_do_namespace.x"));
    assert!(text.contains("$${this.whose()}"));
}
