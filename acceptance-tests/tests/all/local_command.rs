//! The command `local-cloudflare`, as somebody in a terminal uses it.

use std::collections::HashMap;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::api_client::{ApiClient, COUNTER, counter_metadata};

const PATIENCE: Duration = Duration::from_secs(60);

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_local-cloudflare"));
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// A run that ends by itself.
async fn output(arguments: &[&str]) -> Output {
    let output = timeout(PATIENCE, command(arguments).output()).await;
    output.expect("it ends").expect("it runs")
}

/// A run that serves.
struct Running {
    child: Child,
    id: Pid,
    lines: BufReader<ChildStdout>,
    /// What it has printed so far.
    printed: String,
    /// The environment variables that it wants clients to have.
    environment: HashMap<String, String>,
    /// Its temporary files.
    temporary: TempDir,
}

impl Running {
    async fn start(arguments: &[&str]) -> Self {
        let temporary = tempfile::tempdir().expect("a folder");
        let mut child = command(&[&["--port", "0"], arguments].concat())
            .env("TMPDIR", temporary.path())
            .stderr(Stdio::inherit())
            .process_group(0)
            .spawn()
            .expect("it runs");
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let mut running = Self {
            id: id.and_then(Pid::from_raw).expect("it has an id"),
            lines: BufReader::new(child.stdout.take().expect("it is piped")),
            child,
            printed: String::new(),
            environment: HashMap::new(),
            temporary,
        };
        running.line_with("Ctrl-C ends it.").await;
        running.environment = running
            .printed
            .lines()
            .filter_map(|line| line.strip_prefix("export ")?.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned()))
            .collect();
        running
    }

    /// Reads on until a line has a part, and returns the line.
    async fn line_with(&mut self, part: &str) -> String {
        loop {
            let mut line = String::new();
            let read = timeout(PATIENCE, self.lines.read_line(&mut line)).await;
            let read = read.unwrap_or_else(|_| panic!("{part} was not printed: {}", self.printed));
            assert_ne!(
                read.expect("it is text"),
                0,
                "{part} was not printed: {}",
                self.printed
            );
            self.printed += &line;
            if line.contains(part) {
                return line;
            }
        }
    }

    fn client(&self) -> ApiClient {
        let set = |name: &str| self.environment[name].as_str();
        ApiClient::new(
            set("CLOUDFLARE_BASE_URL"),
            set("CLOUDFLARE_ACCOUNT_ID"),
            set("CLOUDFLARE_API_TOKEN"),
        )
    }

    /// What the Worker answers at the address that was printed.
    async fn visit(&self, script: &str) -> String {
        let line = self.printed.lines().find(|line| line.contains("<name>"));
        let port = line.and_then(|it| it.trim_end_matches('/').rsplit(':').next());
        let url = format!(
            "http://127.0.0.1:{}/",
            port.expect("the address is printed")
        );
        let http = reqwest::Client::new();
        let request = http.get(url).header("x-local-worker", script).send();
        let response = request.await.expect("the Worker answers");
        response.text().await.expect("it is text")
    }

    /// Asks it to end; it leaves no process and no temporary file, and succeeds.
    async fn end(mut self, signal: Signal) -> String {
        kill_process(self.id, signal).expect("it still runs");
        let rest = timeout(PATIENCE, self.lines.read_to_string(&mut self.printed)).await;
        rest.expect("it ends").expect("it is text");
        let status = timeout(PATIENCE, self.child.wait()).await;
        let status = status.expect("it ends").expect("it was started");
        assert!(status.success(), "{status}: {}", self.printed);
        assert!(
            test_kill_process_group(self.id).is_err(),
            "a process is left"
        );
        let left: Vec<_> = fs::read_dir(self.temporary.path())
            .expect("the folder is there")
            .map(|entry| entry.expect("it can be read").path())
            .collect();
        assert!(left.is_empty(), "{left:?} is left");
        self.printed
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_prints_what_clients_need_and_a_line_for_each_request() {
    let mut running = Running::start(&["--ephemeral"]).await;
    let set = &running.environment;
    assert_eq!(set["CLOUDFLARE_BASE_URL"], set["CLOUDFLARE_API_BASE_URL"]);
    assert!(set["CLOUDFLARE_BASE_URL"].starts_with("http://127.0.0.1:"));
    let (token, client) = (set["CLOUDFLARE_API_TOKEN"].clone(), running.client());
    let greeting = running.printed.len();

    let mut metadata = counter_metadata();
    let secret = json!({"name": "KEY", "type": "secret_text", "text": "hidden-value"});
    metadata["bindings"]
        .as_array_mut()
        .expect("a list")
        .push(secret);
    let (status, body) = client.upload("counter", COUNTER, metadata).await;
    assert_eq!(status, 200, "{body}");
    let line = running.line_with("PUT").await;
    assert!(line.contains("/workers/scripts/counter  200  "), "{line}");
    assert!(line.contains(" ms"), "{line}");

    let (status, _) = client.upload("broken", "export default {", json!({})).await;
    assert_eq!(status, 400);
    let line = running.line_with("/workers/scripts/broken  400").await;
    assert!(line.contains("10021 Uncaught SyntaxError"), "{line}");

    assert_eq!(running.visit("counter").await, "1");
    let line = running.line_with("(Worker)").await;
    assert!(line.contains("GET     counter/ (Worker)  200  "), "{line}");

    let printed = running.end(Signal::TERM).await;
    for secret in [
        token.as_str(),
        "hidden-value",
        "class Counter",
        "export default",
    ] {
        assert!(!printed[greeting..].contains(secret), "{secret}: {printed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deployed_is_there_again_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state");
    let arguments = [
        "--quiet",
        "--state-dir",
        state.to_str().expect("it is text"),
    ];
    let running = Running::start(&arguments).await;
    let client = running.client();
    let (status, body) = client.upload("counter", COUNTER, counter_metadata()).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(running.visit("counter").await, "1");

    let second = output(&[&["--port", "0"], &arguments[..]].concat()).await;
    let error = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{error}");
    let first = running.child.id().expect("it runs").to_string();
    assert!(
        error.contains("is in use by another local Cloudflare"),
        "{error}"
    );
    assert!(error.contains(&format!("(process {first}; ")), "{error}");
    assert!(error.contains("--state-dir"), "{error}");

    let printed = running.end(Signal::INT).await;
    assert!(!printed.contains("PUT"), "{printed}");
    let running = Running::start(&arguments).await;
    assert_eq!(running.visit("counter").await, "2");
    running.end(Signal::TERM).await;
    let ignored = fs::read_to_string(state.join(".gitignore"));
    assert_eq!(ignored.expect("git is told"), "*\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_stays_in_use_while_a_runtime_that_was_left_behind_may_write_to_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().to_str().expect("it is text");
    let arguments = ["--quiet", "--state-dir", state];
    let mut running = Running::start(&arguments).await;
    let client = running.client();
    let (status, body) = client.upload("counter", COUNTER, counter_metadata()).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(running.visit("counter").await, "1");
    running.child.kill().await.expect("it is killed");

    let second = output(&[&["--port", "0"], &arguments[..]].concat()).await;
    let error = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{error}");
    assert!(
        error.contains("end the workerd that it has left behind"),
        "{error}"
    );

    kill_process_group(running.id, Signal::KILL).expect("the runtime is still there");
    let running = Running::start(&arguments).await;
    assert_eq!(running.visit("counter").await, "2");
    running.end(Signal::TERM).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_cannot_be_read_is_left_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("account.json");
    fs::write(&file, "{\"scripts\": {").expect("it is written");
    let state = folder.path().to_str().expect("it is text");
    let refused = output(&["--port", "0", "--state-dir", state]).await;
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{error}");
    assert!(
        error.contains(file.to_str().expect("it is text")),
        "{error}"
    );
    assert!(error.contains("hint: "), "{error}");
    assert_eq!(
        fs::read_to_string(&file).expect("it is there"),
        "{\"scripts\": {"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_named_with_the_way_out() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let port = taken
        .local_addr()
        .expect("it has an address")
        .port()
        .to_string();
    for (arguments, option) in [
        (&["--port", &port, "--workers-port", "0"], "--port"),
        (&["--port", "0", "--workers-port", &port], "--workers-port"),
    ] {
        let refused = output(&[&arguments[..], &["--ephemeral"]].concat()).await;
        let error = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{error}");
        assert!(error.contains(&format!("127.0.0.1:{port}")), "{error}");
        assert!(
            error.contains(&format!("another port with {option}")),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn help_is_printed_and_a_wrong_option_is_refused() {
    let help = output(&["--help"]).await;
    assert!(help.status.success());
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    for option in [
        "--port",
        "--workers-port",
        "--state-dir",
        "--ephemeral",
        "--quiet",
    ] {
        assert!(text.contains(option), "{text}");
    }
    let wrong = output(&["--prot", "1"]).await;
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("--prot"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chosen_token_and_account_are_the_only_ones() {
    let id = "f".repeat(32);
    let chosen = ["--ephemeral", "--token", "sesame", "--account-id", &id];
    let running = Running::start(&chosen).await;
    assert_eq!(running.environment["CLOUDFLARE_API_TOKEN"], "sesame");
    let request = running.client().request(Method::GET, "/workers/scripts");
    assert_eq!(request.send().await.expect("it answers").status(), 200);
    let api = &running.environment["CLOUDFLARE_BASE_URL"];
    let wrong = ApiClient::new(api, &id, "open").request(Method::GET, "/workers/scripts");
    assert_eq!(wrong.send().await.expect("it answers").status(), 403);
    assert!(!Path::new(".local-cloudflare").exists());
    running.end(Signal::HUP).await;
}
