//! The driver itself, with what the core can do without our provider.

use acceptance_tests::install;
use acceptance_tests::terraform::Workspace;

const DATA: &str = r#"
variable "word" {
  default = "hello"
}

resource "terraform_data" "word" {
  input = var.word
}
"#;

const SENTENCE: &str = "This sentence is longer than a line of a terminal, so that it is broken somewhere \
                        in the middle, and framed where errors are framed.";

const BROKEN: &str = r#"
variable "broken" {
  default = 1
  validation {
    condition     = var.broken == 2
    error_message = "This sentence is longer than a line of a terminal, so that it is broken somewhere in the middle, and framed where errors are framed."
  }
}
"#;

async fn workspace() -> Workspace {
    let core = install::core().await.expect("a core is there");
    let workspace = Workspace::without_provider(&core);
    workspace.write("main.tf", DATA);
    workspace
}

#[tokio::test]
async fn a_configuration_is_planned_applied_read_and_destroyed() {
    let workspace = workspace().await;
    workspace.validate().await;
    assert_eq!(workspace.plan_exit_code(&[]).await, Some(2));
    workspace.apply(&[]).await.assert_says("1 added, 0 changed");
    workspace.assert_plan_is_empty(&[]).await;
    let data = workspace.resource("terraform_data.word").await;
    assert_eq!(data["output"], "hello");

    let plan = workspace.plan_json(&["-var", "word=goodbye"]).await;
    let actions = &plan["resource_changes"][0]["change"]["actions"];
    assert_eq!(*actions, serde_json::json!(["update"]));

    workspace.refresh(&[]).await;
    workspace.destroy(&[]).await.assert_says("1 destroyed");
    assert!(workspace.resource("terraform_data.word").await.is_null());
    workspace.assert_nothing_left_behind();
}

#[tokio::test]
async fn an_error_is_read_whole_although_core_breaks_its_lines() {
    let workspace = workspace().await;
    workspace.write("broken.tf", BROKEN);
    let run = workspace.apply_expecting_error(&[]).await;
    run.assert_says(SENTENCE);
    workspace.write("broken.tf", "resource \"nothing\" {}");
    workspace.validate_expecting_error().await;
    workspace.remove("broken.tf");
    workspace.validate().await;
}

#[tokio::test]
async fn an_object_is_imported() {
    let workspace = workspace().await;
    workspace.import("terraform_data.word", "an-id").await;
    assert_eq!(
        workspace.resource("terraform_data.word").await["id"],
        "an-id"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn ctrl_c_stops_a_running_command() {
    let workspace = workspace().await;
    workspace.write(
        "slow.tf",
        r#"
resource "terraform_data" "slow" {
  provisioner "local-exec" {
    command = "touch started; sleep 600"
  }
}
"#,
    );
    let running = workspace.spawn(&["apply", "-auto-approve"]);
    let started = workspace.path().join("started");
    while !started.exists() {
        tokio::task::yield_now().await;
    }
    running.interrupt();
    let run = running.wait().await;
    assert!(!run.status.success(), "{run}");
    run.assert_says("Interrupt received");
}
