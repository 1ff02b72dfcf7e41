//! The provider block: where its values come from, when they are needed, and what never leaves it.

use acceptance_tests::stage::Stage;

use super::counter::CHAT;

/// The same configuration with another provider block, and without what the environment says.
fn with_block(block: &str) -> String {
    CHAT.replace("  max_retries = 1", block)
}

async fn without_environment(configuration: &str, variables: &[(&str, &str)]) -> Stage {
    let mut stage = Stage::with(configuration).await;
    let unset = ["CLOUDFLARE_API_TOKEN", "CLOUDFLARE_ACCOUNT_ID"].map(|name| (name, ""));
    for (name, value) in unset.iter().chain(variables) {
        stage.workspace = stage.workspace.with_variable(name, *value);
    }
    stage
}

#[tokio::test]
async fn a_missing_token_is_missed_by_plan_and_not_by_validate() {
    let stage = without_environment(CHAT, &[]).await;
    stage.workspace.validate().await;
    let refused = stage.workspace.plan_expecting_error(&[]).await;
    refused.assert_says("No credentials for Cloudflare");
    refused.assert_says("CLOUDFLARE_API_TOKEN");
}

#[tokio::test]
async fn a_token_may_be_known_after_apply() {
    let later = "resource \"terraform_data\" \"token\" {\n  input = \"TOKEN\"\n}\n";
    let stage =
        Stage::with(&(with_block("  api_token = terraform_data.token.output") + later)).await;
    let token = stage.cloudflare.token().to_owned();
    stage
        .workspace
        .edit("main.tf", "\"TOKEN\"", &format!("{token:?}"));
    stage.workspace.plan(&[]).await;
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    // The token is to be made anew: the state is taken as it is, with one warning.
    stage.workspace.edit(
        "main.tf",
        "resource \"terraform_data\" \"token\" {",
        "resource \"terraform_data\" \"token\" {\n  triggers_replace = [\"new\"]",
    );
    let plan = stage.workspace.plan(&[]).await;
    plan.assert_says("Workers were not refreshed");
}

#[tokio::test]
async fn a_wrong_token_is_explained_and_never_printed() {
    let wrong = "wrong-token-0123456789abcdefghijklmnopqr";
    let stage = without_environment(
        CHAT,
        &[
            ("CLOUDFLARE_API_TOKEN", wrong),
            ("CLOUDFLARE_ACCOUNT_ID", "0123456789abcdef0123456789abcdef"),
        ],
    )
    .await;
    let refused = stage.workspace.plan_expecting_error(&[]).await;
    refused.assert_says("10000");
    refused.assert_says("Workers Scripts");
    refused.assert_never_says(wrong);
}

#[tokio::test]
async fn the_account_is_found_if_there_is_only_one() {
    let stage = Stage::with(CHAT).await;
    let account = stage.cloudflare.account_id().to_owned();
    let mut stage = stage;
    stage.workspace = stage.workspace.with_variable("CLOUDFLARE_ACCOUNT_ID", "");
    stage.apply(&[]).await;
    let state = stage.workspace.resource("cloudflare_worker.chat").await;
    assert_eq!(state["account_id"], account.as_str());
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused_at_validate() {
    for (block, says) in [
        ("  settle = \"soon\"", "Invalid duration"),
        ("  max_retries = -1", "Invalid number of retries"),
        ("  email = \"a@example.com\"", "Incomplete credentials"),
    ] {
        let stage = Stage::with(&with_block(block)).await;
        stage
            .workspace
            .validate_expecting_error()
            .await
            .assert_says(says);
    }
    let stage = without_environment(
        &with_block("  base_url = \"not a url\""),
        &[("CLOUDFLARE_API_TOKEN", "x")],
    )
    .await;
    stage
        .workspace
        .plan_expecting_error(&[])
        .await
        .assert_says("the base URL is not a URL");
}

#[tokio::test]
async fn neither_tokens_nor_code_reach_the_log() {
    let mut stage = Stage::with(CHAT).await;
    stage.workspace = stage.workspace.with_variable("TF_LOG_PROVIDER", "TRACE");
    let run = stage.workspace.apply(&[]).await;
    assert!(
        run.stderr.contains("/workers/scripts/chat"),
        "calls are logged: {run}"
    );
    for secret in [stage.cloudflare.token(), "DurableObject {", "ctx.storage"] {
        assert!(!run.stderr.contains(secret), "{secret}");
    }
    let state = stage.workspace.run(&["state", "pull"]).await;
    assert!(!state.stdout.contains(stage.cloudflare.token()));
}

#[tokio::test]
async fn a_date_that_nobody_set_is_fixed_and_warned_of() {
    let undated = CHAT.replace("  compatibility_date = \"2026-11-01\"\n", "");
    let stage = Stage::with(&undated).await;
    let run = stage.apply(&[]).await;
    run.assert_says("No compatibility date");
    let state = stage.workspace.resource("cloudflare_worker.chat").await;
    assert_eq!(state["compatibility_date"], "2026-11-01");
}

#[tokio::test]
async fn a_token_is_in_no_plan_and_no_state() {
    let stage = Stage::with(&with_block("  api_token = var.token")).await;
    let token = stage.cloudflare.token().to_owned();
    let variable =
        format!("variable \"token\" {{\n  sensitive = true\n  default = {token:?}\n}}\n");
    stage.workspace.write("token.tf", &variable);
    let mut plan = stage.workspace.plan_json(&[]).await;
    // The core itself repeats the values of variables.
    plan["variables"]["token"].take();
    plan["configuration"]["root_module"]["variables"]["token"].take();
    assert!(!plan.to_string().contains(&token));
    stage.apply(&[]).await;
    assert!(
        !stage
            .workspace
            .state_json()
            .await
            .to_string()
            .contains(&token)
    );
}

#[tokio::test]
async fn an_aliased_block_has_settings_of_its_own() {
    let stage = without_environment(
        &with_block(""),
        &[("CLOUDFLARE_BASE_URL", "http://127.0.0.1:9")],
    )
    .await;
    let alias = format!(
        "provider \"cloudflare\" {{\n  alias = \"local\"\n  api_token = {:?}\n  account_id = {:?}\n  base_url = \"{}/\"\n}}\n",
        stage.cloudflare.token(),
        stage.cloudflare.account_id(),
        stage.cloudflare.api_url(),
    );
    stage.workspace.write("alias.tf", &alias);
    stage.workspace.edit(
        "main.tf",
        "  workers_dev        = true",
        "  workers_dev        = true\n  provider = cloudflare.local",
    );
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
}
