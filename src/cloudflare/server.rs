//! A server for this module's tests: it gives prepared answers in order and remembers what it was asked.

use std::sync::{Arc, Mutex};

use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::retry::Policy;
use super::{AccountId, Client, Configuration, Credentials};
use crate::durable::ScriptName;

/// What the server does with one request.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// Answers with status, further header lines and body.
    Answer(u16, &'static str, String),
    /// Promises more than it sends.
    Truncated(&'static str),
    /// Closes the connection.
    Close,
    /// Says nothing and keeps the connection.
    Silence,
}

/// A JSON answer.
pub(super) fn json(status: u16, body: &str) -> Reply {
    Reply::Answer(
        status,
        "content-type: application/json\r\n",
        body.to_owned(),
    )
}

/// A success with that result.
pub(super) fn ok(result: &str) -> Reply {
    json(
        200,
        &format!(r#"{{"success":true,"errors":[],"messages":["fine"],"result":{result}}}"#),
    )
}

/// A refusal as Cloudflare writes it.
pub(super) fn refusal(status: u16, code: i64, text: &str) -> Reply {
    let error = serde_json::json!({ "code": code, "message": text });
    let body = serde_json::json!({ "success": false, "errors": [error], "result": null });
    json(status, &body.to_string())
}

pub(super) struct Server {
    pub(super) address: std::net::SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(super) async fn start(replies: impl IntoIterator<Item = Reply>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let replies: Vec<Reply> = replies.into_iter().collect();
        let seen = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            let mut open = Vec::new();
            let mut replies = replies.into_iter();
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some(request) = read(&mut stream).await else {
                    continue;
                };
                seen.lock()
                    .expect("no test panics while it holds this")
                    .push(request);
                let last = refusal(418, 0, "the test has no more answers");
                match replies.next().unwrap_or(last) {
                    Reply::Answer(status, headers, body) => {
                        let length = body.len();
                        let text = format!(
                            "HTTP/1.1 {status} x\r\ncf-ray: 8f-TST\r\nconnection: close\r\n\
                             content-length: {length}\r\n{headers}\r\n{body}"
                        );
                        let _ = stream.write_all(text.as_bytes()).await;
                    }
                    Reply::Truncated(body) => {
                        let length = body.len() + 100;
                        let text =
                            format!("HTTP/1.1 200 x\r\ncontent-length: {length}\r\n\r\n{body}");
                        let _ = stream.write_all(text.as_bytes()).await;
                    }
                    Reply::Close => {}
                    Reply::Silence => open.push(stream),
                }
            }
        });
        Server {
            address,
            requests,
            task,
        }
    }

    /// A client of this server that never really waits.
    pub(super) fn client(&self) -> Client {
        client(format!("http://{}/client/v4", self.address))
    }

    /// Everything it was asked: head and body, as they came.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests
            .lock()
            .expect("no test panics while it holds this")
            .clone()
    }

    /// The first lines of everything it was asked, without the prefix that all share.
    pub(super) fn asked(&self) -> Vec<String> {
        let line = |request: &String| {
            let line = request.lines().next().unwrap_or_default();
            line.replace(" HTTP/1.1", "").replace("/client/v4", "")
        };
        self.requests().iter().map(line).collect()
    }
}

pub(super) fn client(base_url: String) -> Client {
    let token = SecretString::from("t0p-secret".to_owned());
    let configuration = Configuration {
        base_url,
        credentials: Credentials::ApiToken(token),
        max_retries: 2,
        user_agent: "terraform-provider-cloudflare/test".to_owned(),
    };
    let zero = std::time::Duration::ZERO;
    let policy = Policy {
        first: zero,
        longest: zero,
        settle: zero,
        ..Policy::new(2)
    };
    Client::with_policy(configuration, policy).expect("a valid configuration")
}

pub(super) fn account() -> AccountId {
    AccountId::new("acc")
}

pub(super) fn script(name: &str) -> ScriptName {
    ScriptName::from_api(name)
}

async fn read(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .filter_map(|line| line.split_once(": "))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .map_or(0, |(_, value)| value.parse().expect("a number"));
            if body.len() >= length {
                return Some(text.into_owned());
            }
        }
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
        }
    }
}
