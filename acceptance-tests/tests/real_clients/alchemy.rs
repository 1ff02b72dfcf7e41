//! Alchemy: the examples of its page about Durable Object namespaces, and what people do to them afterwards.

use crate::bench::{Bench, PLAIN, VISITOR, counter};

const PROGRAM: &str = "alchemy.run.mjs";

/// A program that runs the given statements.
fn program(statements: &str) -> String {
    format!(
        r#"import alchemy from "alchemy";
import {{ Worker, DurableObjectNamespace }} from "alchemy/cloudflare";
const app = await alchemy("example");
{statements}
await app.finalize();
"#
    )
}

/// A program with one Worker, `my-worker`.
fn worker(statements: &str, entrypoint: &str, bindings: &str) -> String {
    program(&format!(
        r#"{statements}
await Worker("my-worker", {{ name: "my-worker", entrypoint: "./{entrypoint}", bindings: {{ {bindings} }} }});"#
    ))
}

fn namespace(class: &str) -> String {
    format!(
        r#"const counter = DurableObjectNamespace("counter", {{ className: "{class}", sqlite: true }});"#
    )
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "installs and runs alchemy"]
async fn declarations_alone_change_nothing() {
    let bench = Bench::alchemy().await;
    let declarations = r#"
DurableObjectNamespace("chat-rooms", { className: "ChatRoom" });
DurableObjectNamespace("user-store", { className: "User", sqlite: true });
DurableObjectNamespace("game-state", { className: "GameState", scriptName: "game-worker", environment: "production" });
"#;
    bench.write("app", PROGRAM, program(declarations));
    bench.run("app", &[]).await;
    assert_eq!(bench.local.calls().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "installs and runs alchemy"]
async fn a_script_that_is_no_worker_is_refused_with_the_reason() {
    let bench = Bench::alchemy().await;
    let statements = r#"
const counter = DurableObjectNamespace("counter", { className: "Counter" });
await Worker("my-worker", {
  name: "my-worker", script: "console.log('Hello, world!')", bindings: { COUNTER: counter },
});"#;
    bench.write("app", PROGRAM, program(statements));
    bench
        .fail(
            "app",
            &[],
            "The uploaded script has no registered event handlers.",
        )
        .await;
    assert_eq!(bench.workers(), Vec::<String>::new());
    let namespaces = bench.namespaces();
    assert_eq!(namespaces, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "installs and runs alchemy"]
async fn a_key_value_class_is_deployed_twice_and_destroyed() {
    let bench = Bench::alchemy().await;
    let namespace =
        r#"const counter = DurableObjectNamespace("counter", { className: "Counter" });"#;
    bench.write("app", "counter.ts", counter("Counter"));
    bench.write(
        "app",
        PROGRAM,
        worker(namespace, "counter.ts", "COUNTER: counter"),
    );
    bench.run("app", &[]).await;
    assert_eq!(bench.visit("my-worker").await, "Counter 1");
    assert!(!bench.local.account().namespaces[0].sqlite);
    bench.run("app", &[]).await;
    assert_eq!(bench.visit("my-worker").await, "Counter 2");
    bench.run("app", &["--destroy"]).await;
    assert_eq!(bench.workers(), Vec::<String>::new());
    assert_eq!(bench.namespaces(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "installs and runs alchemy"]
async fn a_class_keeps_its_objects_through_renames_until_it_is_removed() {
    let bench = Bench::alchemy().await;
    let write = |class: &str, binding: &str| {
        let file = format!("{class}-{binding}.ts");
        let code = counter(class).replace("env.COUNTER", &format!("env.{binding}"));
        bench.write("app", &file, code);
        let program = worker(&namespace(class), &file, &format!("{binding}: counter"));
        bench.write("app", PROGRAM, program);
    };
    write("Counter", "COUNTER");
    bench.run("app", &[]).await;
    assert_eq!(bench.visit("my-worker").await, "Counter 1");
    assert!(bench.local.account().namespaces[0].sqlite);
    bench.run("app", &[]).await;
    assert_eq!(bench.visit("my-worker").await, "Counter 2");

    write("MyCounter", "COUNTER");
    bench.run("app", &[]).await;
    assert_eq!(bench.visit("my-worker").await, "MyCounter 3");
    assert_eq!(bench.namespaces(), ["my-worker/MyCounter"]);

    write("MyCounter", "TALLY");
    bench.run("app", &[]).await;
    assert_eq!(bench.visit("my-worker").await, "MyCounter 4");
    let tags = bench.local.account().scripts["my-worker"]
        .settings
        .tags
        .clone();
    assert_eq!(tags, ["alchemy:do:counter:TALLY"]);

    // Alchemy asks for preview addresses before the class is gone, and repeats it until Cloudflare agrees.
    bench.write("app", "plain.ts", PLAIN);
    bench.write("app", PROGRAM, worker("", "plain.ts", ""));
    bench.run("app", &[]).await;
    assert_eq!(bench.visit("my-worker").await, "plain");
    assert_eq!(bench.namespaces(), Vec::<String>::new());

    bench.run("app", &["--destroy"]).await;
    assert_eq!(bench.workers(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "installs and runs alchemy"]
async fn a_client_re_uses_the_binding_of_its_host_through_a_class_rename() {
    let bench = Bench::alchemy().await;
    let write = |class: &str| {
        bench.write(
            "app",
            "do-provider.ts",
            counter(class).replace("COUNTER", "SHARED_COUNTER"),
        );
        let statements = format!(
            r#"
const host = await Worker("Host", {{
  entrypoint: "./do-provider.ts",
  bindings: {{ SHARED_COUNTER: DurableObjectNamespace("shared-counter", {{ className: "{class}", sqlite: true }}) }},
}});
const client = await Worker("client", {{
  entrypoint: "./client-worker.ts",
  bindings: {{ SHARED_COUNTER: host.bindings.SHARED_COUNTER }},
}});"#
        );
        bench.write("app", PROGRAM, program(&statements));
    };
    bench.write(
        "app",
        "client-worker.ts",
        VISITOR.replace("COUNTER", "SHARED_COUNTER"),
    );
    write("SharedCounter");
    bench.run("app", &[]).await;
    // Alchemy makes up names from the application, the resource and the stage.
    let [client, host] = <[String; 2]>::try_from(bench.workers()).expect("there are two Workers");
    assert!(
        client.contains("client") && host.contains("host"),
        "{client} {host}"
    );
    assert_eq!(bench.visit(&client).await, "SharedCounter 1");
    assert_eq!(bench.visit(&host).await, "SharedCounter 2");

    write("SharedCounter2");
    bench.run("app", &[]).await;
    assert_eq!(bench.visit(&client).await, "SharedCounter2 3");
    assert_eq!(bench.visit(&host).await, "SharedCounter2 4");
    assert_eq!(bench.namespaces(), [format!("{host}/SharedCounter2")]);

    bench.run("app", &["--destroy"]).await;
    assert_eq!(bench.workers(), Vec::<String>::new());
    assert_eq!(bench.namespaces(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "installs and runs alchemy"]
async fn a_client_names_the_script_of_a_class() {
    let bench = Bench::alchemy().await;
    bench.write(
        "app",
        "do-provider.ts",
        counter("SharedCounter").replace("COUNTER", "SHARED_COUNTER"),
    );
    bench.write(
        "app",
        "client-worker.ts",
        VISITOR.replace("COUNTER", "SHARED_COUNTER"),
    );
    let statements = r#"
const hostWorkerName = "host";
const durableObject = DurableObjectNamespace("shared-counter", {
  className: "SharedCounter", scriptName: hostWorkerName, sqlite: true,
});
await Worker("host", {
  entrypoint: "./do-provider.ts", name: hostWorkerName, bindings: { SHARED_COUNTER: durableObject },
});
await Worker("client", {
  entrypoint: "./client-worker.ts", name: "client", bindings: { SHARED_COUNTER: durableObject },
});"#;
    bench.write("app", PROGRAM, program(statements));
    bench.run("app", &[]).await;
    assert_eq!(bench.visit("client").await, "SharedCounter 1");
    assert_eq!(bench.visit("host").await, "SharedCounter 2");
    assert_eq!(bench.namespaces(), ["host/SharedCounter"]);

    bench.run("app", &["--destroy"]).await;
    assert_eq!(bench.workers(), Vec::<String>::new());
}
