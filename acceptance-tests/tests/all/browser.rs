//! A headless Chromium, driven over its debugging pipe: no port, no driver program, no library.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use command_fds::{CommandFdExt as _, FdMapping};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::pipe;
use tokio::process::Child;
use tokio::time::timeout;

/// A browser starts slowly on a machine that does something else.
const PATIENCE: Duration = Duration::from_secs(60);

/// One page in a browser of its own.
pub struct Browser {
    child: Child,
    commands: pipe::Sender,
    messages: BufReader<pipe::Receiver>,
    session: Option<String>,
    next: u64,
    events: Vec<Value>,
    _profile: TempDir,
}

impl Browser {
    /// A browser that shows a page, and has run its scripts.
    ///
    /// # Panics
    /// Without Chromium; the message says how to install it.
    pub async fn open(url: &str) -> Self {
        let profile = tempfile::tempdir().expect("a temporary directory can be created");
        let (child, commands, messages) = start(&profile).expect("Chromium starts");
        let mut browser = Self {
            child,
            commands,
            messages: BufReader::new(messages),
            session: None,
            next: 0,
            events: Vec::new(),
            _profile: profile,
        };
        let target = browser
            .command("Target.createTarget", json!({"url": "about:blank"}))
            .await;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.command("Target.attachToTarget", attach).await;
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            browser
                .command(&format!("{domain}.enable"), json!({}))
                .await;
        }
        browser.command("Page.navigate", json!({"url": url})).await;
        let loaded = |event: &Value| event["method"] == "Page.loadEventFired";
        while !browser.events.iter().any(loaded) {
            let event = browser.message().await;
            browser.events.push(event);
        }
        browser
    }

    /// The value of an expression in the page.
    pub async fn value(&mut self, expression: &str) -> Value {
        let arguments =
            json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.command("Runtime.evaluate", arguments).await;
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {answer}"
        );
        answer["result"]["value"].clone()
    }

    /// The text that people see in an element.
    pub async fn text(&mut self, selector: &str) -> String {
        let selector = json!(selector);
        let text = format!("document.querySelector({selector})?.innerText ?? ''");
        self.value(&text).await.as_str().unwrap_or_default().into()
    }

    /// Waits until an expression in the page is true.
    pub async fn until(&mut self, expression: &str) {
        let looking = format!(
            "new Promise((done) => {{ const look = () => ({expression}) ? done() : setTimeout(look, 20); look(); }})"
        );
        self.value(&looking).await;
    }

    /// Errors and warnings of the page so far: of its scripts, and of the browser about it.
    pub fn complaints(&self) -> Vec<&Value> {
        let bad = |level: &Value| level == "error" || level == "warning";
        let complaint = |event: &&Value| match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => bad(&event["params"]["type"]),
            Some("Log.entryAdded") => bad(&event["params"]["entry"]["level"]),
            _ => false,
        };
        self.events.iter().filter(complaint).collect()
    }

    /// Ends the browser and waits for it.
    pub async fn close(mut self) {
        self.session = None;
        self.command("Browser.close", json!({})).await;
        let ended = timeout(PATIENCE, self.child.wait()).await;
        ended.expect("the browser ends").expect("it was started");
    }

    async fn command(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let id = self.next;
        let mut command = json!({"id": id, "method": method, "params": params});
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        let command = format!("{command}\0");
        let sent = self.commands.write_all(command.as_bytes()).await;
        sent.expect("the browser reads");
        loop {
            let message = self.message().await;
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    async fn message(&mut self) -> Value {
        let mut text = Vec::new();
        let read = timeout(PATIENCE, self.messages.read_until(0, &mut text)).await;
        read.expect("the browser answers in time")
            .expect("the browser can be read");
        text.pop();
        serde_json::from_slice(&text).expect("the browser runs, and speaks JSON")
    }
}

fn start(profile: &TempDir) -> io::Result<(Child, pipe::Sender, pipe::Receiver)> {
    let (their_commands, our_commands) = io::pipe()?;
    let (our_messages, their_messages) = io::pipe()?;
    let mut command = std::process::Command::new(chromium());
    command
        .args([
            "--headless",
            "--remote-debugging-pipe",
            // The page is our own; Chromium's sandbox does not work in most containers.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let (commands, messages) = (their_commands.into(), their_messages.into());
    let mapping = |parent_fd: OwnedFd, child_fd| FdMapping {
        parent_fd,
        child_fd,
    };
    command
        .fd_mappings(vec![mapping(commands, 3), mapping(messages, 4)])
        .map_err(io::Error::other)?;
    let mut command = tokio::process::Command::from(command);
    let child = command.kill_on_drop(true).spawn()?;
    Ok((
        child,
        pipe::Sender::from_owned_fd(our_commands.into())?,
        pipe::Receiver::from_owned_fd(our_messages.into())?,
    ))
}

/// The browser that is installed.
fn chromium() -> PathBuf {
    const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    const MAC: &str = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome";
    if let Some(chosen) = std::env::var_os("CHROMIUM") {
        return chosen.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let on_path = NAMES
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let found = on_path
        .chain([MAC.into()])
        .find(|candidate| candidate.is_file());
    found.expect(
        "the status page is looked at in Chromium, which is not on PATH. Install it (Debian: `apt-get install chromium`), \
         or name a Chrome in CHROMIUM, or leave these tests out: `cargo test -- --skip in_a_browser`",
    )
}
