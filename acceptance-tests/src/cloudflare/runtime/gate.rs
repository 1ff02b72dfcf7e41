//! The address users call. Chooses the Worker and passes the request on to its port; while a deploy replaces the
//! process behind it, requests wait here, so none is refused or cut off. A gate that is held tells when somebody waits.
//! Knows nothing about processes.
//!
//! A Worker is called, in this order,
//! - by any URL with the header `x-local-worker: <script>`,
//! - by path, at `/__worker/<script>/<path>`; the Worker sees `/<path>`,
//! - by host, at `<script>.localhost`,
//! - by a route or a custom domain of the account, or on workers.dev where that is enabled: for a name that does not
//!   resolve to here, send the request with its `Host` header, as `curl --connect-to` does.
//!
//! The Worker sees the host that the client has used.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::serve::ListenerExt as _;
use futures_util::StreamExt as _;
use hyper::upgrade::OnUpgrade;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::cloudflare::addresses::Addresses;

use super::visits::{self, Visits};

/// Chooses the Worker by name, for clients that cannot resolve `<script>.localhost`.
pub(super) const WORKER_HEADER: HeaderName = HeaderName::from_static("x-local-worker");

/// Chooses the Worker by path.
const WORKER_PATH: &str = "/__worker/";

/// How long requests in progress may hold up a deploy.
const PATIENCE: Duration = Duration::from_secs(3);

/// The listener, and what is behind it now.
pub(super) struct Gate {
    pub(super) address: SocketAddr,
    backend: watch::Sender<Option<Backend>>,
    addresses: watch::Sender<Addresses>,
    held: Mutex<Held>,
    /// Told when somebody waits.
    demand: Arc<Notify>,
    server: JoinHandle<()>,
}

/// The ports of one process, and what is going on at them.
#[derive(Clone, Default)]
struct Backend {
    ports: Arc<HashMap<String, u16>>,
    /// Why nobody can be served, if that is so.
    broken: Option<Arc<str>>,
    in_progress: TaskTracker,
    sockets: TaskTracker,
    replaced: CancellationToken,
}

/// A gate that makes requests wait.
#[derive(Default)]
struct Held {
    /// What is behind it, and may be again.
    backend: Option<Backend>,
    /// Whether it was held since its opening was last prepared.
    again: bool,
}

#[derive(Clone)]
struct Forwarder {
    backend: watch::Receiver<Option<Backend>>,
    addresses: watch::Receiver<Addresses>,
    demand: Arc<Notify>,
    client: Client<HttpConnector, Body>,
}

impl Gate {
    /// Listens on a port of the loopback interface, or on a free one if it is 0, with no Workers.
    pub(super) async fn open(port: u16, visits: Visits) -> io::Result<Self> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let (backend, receiver) = watch::channel(Some(Backend::default()));
        let (addresses, table) = watch::channel(Addresses::default());
        let demand = Arc::new(Notify::new());
        let forwarder = Forwarder {
            backend: receiver,
            addresses: table,
            demand: Arc::clone(&demand),
            client: client(),
        };
        let router = Router::new().fallback(forward).with_state(forwarder);
        let router = router.layer(axum::middleware::from_fn_with_state(visits, visits::note));
        // Small answers must not wait for an acknowledgement of the one before.
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                log::error!("local Workers can no longer be reached: {error}");
            }
        });
        Ok(Self {
            address,
            backend,
            addresses,
            held: Mutex::default(),
            demand,
            server,
        })
    }

    /// Makes new requests wait, and leaves those in progress alone.
    pub(super) fn hold(&self) {
        self.held().again = true;
        self.shut();
    }

    /// Forgets that the gate was held: what is led to from now on is what was asked for.
    pub(super) fn renew(&self) {
        self.held().again = false;
    }

    /// Whether requests wait.
    pub(super) fn is_shut(&self) -> bool {
        self.backend.borrow().is_none()
    }

    fn shut(&self) {
        if let Some(backend) = self.backend.send_replace(None) {
            let busy = !backend.in_progress.is_empty() || !backend.sockets.is_empty();
            self.held().backend = Some(backend);
            if busy {
                self.demand.notify_one();
            }
        }
    }

    /// Lets requests through to what was there before the gate was held.
    pub(super) fn resume(&self) {
        let backend = self.held().backend.take();
        if let Some(backend) = backend {
            self.lead_on(backend);
        }
    }

    /// Lets requests through, unless the gate was held again in the meantime; then they have to wait for more.
    fn lead_on(&self, backend: Backend) {
        let mut held = self.held();
        if held.again {
            held.backend = Some(backend);
            self.demand.notify_one();
        } else {
            self.backend.send_replace(Some(backend));
        }
    }

    /// Returns when a request waits, or somebody else wants the gate to be open.
    pub(super) async fn demanded(&self) {
        self.demand.notified().await;
    }

    /// Wants the gate to be open, as a request does.
    pub(super) fn demand(&self) {
        self.demand.notify_one();
    }

    /// Returns when the gate is open, as it is for a request.
    pub(super) async fn ready(&self) {
        let mut backend = self.backend.subscribe();
        if backend.borrow().is_none() {
            self.demand.notify_one();
        }
        // The sender lives as long as `self`.
        let _ = backend.wait_for(Option::is_some).await;
    }

    /// Makes new requests wait and returns when those in progress are done, or have had their time.
    pub(super) async fn close(&self) {
        self.shut();
        let held = self.held().backend.take();
        if let Some(backend) = held {
            backend.in_progress.close();
            if tokio::time::timeout(PATIENCE, backend.in_progress.wait())
                .await
                .is_err()
            {
                log::warn!("requests that took longer than {PATIENCE:?} are cut off by a deploy");
            }
            backend.replaced.cancel();
        }
    }

    /// Lets requests through, those that waited included.
    pub(super) fn lead_to(&self, ports: HashMap<String, u16>) {
        self.lead_on(Backend {
            ports: Arc::new(ports),
            ..Backend::default()
        });
    }

    /// Lets requests through to these ports, but not before the gate is opened for another reason.
    pub(super) fn lead_later(&self, ports: HashMap<String, u16>) {
        self.held().backend = Some(Backend {
            ports: Arc::new(ports),
            ..Backend::default()
        });
    }

    /// Answers all requests with a reason why there is no other answer.
    pub(super) fn lead_nowhere(&self, reason: &str) {
        self.lead_on(Backend {
            broken: Some(reason.into()),
            ..Backend::default()
        });
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("no holder panics")
    }

    /// Leads hosts and paths to Workers from now on.
    pub(super) fn lead(&self, addresses: Addresses) {
        self.addresses.send_replace(addresses);
    }

    /// Sends a request to one of the process's ports, as soon as there is one.
    pub(super) async fn post(&self, port: &str, body: String) -> io::Result<Bytes> {
        let (backend, _in_progress) = enter(&mut self.backend.subscribe(), &self.demand)
            .await
            .ok_or_else(|| io::Error::other("the runtime has stopped"))?;
        if let Some(reason) = &backend.broken {
            return Err(io::Error::other(reason.to_string()));
        }
        let number = backend.ports.get(port).copied();
        let number =
            number.ok_or_else(|| io::Error::other(format!("nothing listens at {port:?}")))?;
        let request = Request::post(format!("http://127.0.0.1:{number}/"))
            .body(Body::from(body))
            .map_err(io::Error::other)?;
        let response = client().request(request).await.map_err(io::Error::other)?;
        let status = response.status();
        let answer = axum::body::to_bytes(Body::new(response.into_body()), usize::MAX)
            .await
            .map_err(io::Error::other)?;
        if !status.is_success() {
            let text = String::from_utf8_lossy(&answer);
            return Err(io::Error::other(format!("the answer is {status}: {text}")));
        }
        Ok(answer)
    }
}

/// Waits until requests are let through, and is one of them as long as the token lives.
async fn enter(
    backend: &mut watch::Receiver<Option<Backend>>,
    demand: &Notify,
) -> Option<(Backend, TaskTrackerToken)> {
    if backend.borrow().is_none() {
        demand.notify_one();
    }
    // The token is taken while the channel is borrowed: `close` either makes us wait or waits for us.
    let backend = backend.wait_for(Option::is_some).await.ok()?;
    let backend = backend.as_ref()?;
    Some((backend.clone(), backend.in_progress.token()))
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Fetches `/` from a port.
pub(super) async fn get(port: u16) -> io::Result<Bytes> {
    let uri: Uri = format!("http://127.0.0.1:{port}/")
        .parse()
        .map_err(io::Error::other)?;
    let response = client().get(uri).await.map_err(io::Error::other)?;
    axum::body::to_bytes(Body::new(response.into_body()), usize::MAX)
        .await
        .map_err(io::Error::other)
}

pub(super) fn client() -> Client<HttpConnector, Body> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).build(connector)
}

async fn forward(State(mut forwarder): State<Forwarder>, mut request: Request) -> Response {
    let Some((backend, in_progress)) = enter(&mut forwarder.backend, &forwarder.demand).await
    else {
        return explain(StatusCode::SERVICE_UNAVAILABLE, "Local Cloudflare stopped.");
    };
    let target = target(&request, &forwarder.addresses.borrow());
    let Some(Target { script, path }) = target else {
        return explain(
            StatusCode::NOT_FOUND,
            "There is nothing here yet. Name a Worker: call http://<script>.localhost:<port>/ or \
             http://127.0.0.1:<port>/__worker/<script>/, or send the header `x-local-worker: <script>`.",
        );
    };
    if let Some(reason) = &backend.broken {
        return explain(StatusCode::INTERNAL_SERVER_ERROR, reason);
    }
    let Some(port) = backend.ports.get(&script).copied() else {
        return explain(
            StatusCode::NOT_FOUND,
            &format!("There is no Worker {script:?} here."),
        );
    };

    let Ok(uri) = format!("http://127.0.0.1:{port}{path}").parse() else {
        return explain(
            StatusCode::BAD_REQUEST,
            "The path of the request is not valid.",
        );
    };
    *request.uri_mut() = uri;
    request.headers_mut().remove(WORKER_HEADER);
    let client_side = request.extensions_mut().remove::<OnUpgrade>();
    let upgrade = request.headers().contains_key(header::UPGRADE);
    if !upgrade {
        remove_connection_headers(request.headers_mut());
    }
    let mut response = match forwarder.client.request(request).await {
        Ok(response) => response,
        Err(error) => {
            return explain(
                StatusCode::BAD_GATEWAY,
                &format!("The Worker {script:?} did not answer: {error}."),
            );
        }
    };

    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let server_side = hyper::upgrade::on(&mut response);
        if let Some(client_side) = client_side {
            // As in production, a deploy ends WebSockets; it does not wait for them.
            let replaced = backend.replaced;
            backend.sockets.spawn(async move {
                replaced
                    .run_until_cancelled(tunnel(client_side, server_side))
                    .await;
            });
        }
        return response.map(Body::new).into_response();
    }
    remove_connection_headers(response.headers_mut());
    response
        .map(|body| {
            if body.is_end_stream() {
                return Body::empty();
            }
            // The request is in progress until the last byte of the answer was passed on.
            Body::from_stream(Body::new(body).into_data_stream().map(move |chunk| {
                let _ = &in_progress;
                chunk
            }))
        })
        .into_response()
}

/// Where a request goes.
struct Target {
    script: String,
    /// The path and the query that the Worker sees.
    path: String,
}

/// Finds the Worker; nothing if the request names none and nothing is at its URL.
fn target(request: &Request, addresses: &Addresses) -> Option<Target> {
    let text = |name| request.headers().get(name)?.to_str().ok();
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    // What is not a Worker has a space in its name.
    let named = |script: &str| (!script.contains(' ')).then(|| script.to_owned());
    let at = |path: &str, script: Option<String>| {
        script.map(|script| Target {
            script,
            path: path.to_owned(),
        })
    };
    if let Some(script) = text(WORKER_HEADER) {
        return at(path, named(script));
    }
    if let Some(rest) = path.strip_prefix(WORKER_PATH) {
        let (script, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let path = match path.strip_prefix('/') {
            Some(_) => path.to_owned(),
            None => format!("/{path}"),
        };
        return at(&path, named(script));
    }
    let host = request.uri().host().or_else(|| text(header::HOST))?;
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let host = host.to_ascii_lowercase();
    match host.strip_suffix(".localhost") {
        Some(script) => at(path, named(script)),
        None => at(
            path,
            addresses
                .find(&host, request.uri().path())
                .map(str::to_owned),
        ),
    }
}

async fn tunnel(client_side: OnUpgrade, server_side: OnUpgrade) {
    if let (Ok(client), Ok(server)) = (client_side.await, server_side.await) {
        let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
        // Either side may go away at any time; that is how these connections end.
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    }
}

/// These speak about one connection, and there are two.
fn remove_connection_headers(headers: &mut HeaderMap) {
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::TE] {
        headers.remove(name);
    }
    headers.remove("keep-alive");
}

fn explain(status: StatusCode, text: &str) -> Response {
    (status, format!("{text}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_gate_that_is_held_during_a_deploy_stays_shut_until_the_next_one() {
        let gate = Gate::open(0, Visits::default()).await.expect("a free port");
        let deploy = async || {
            gate.close().await;
            gate.lead_to(HashMap::new());
        };
        gate.hold();
        gate.renew();
        deploy().await;
        assert!(!gate.is_shut(), "nothing has changed since");
        gate.renew();
        gate.hold();
        deploy().await;
        assert!(gate.is_shut(), "something has changed since");
        gate.demanded().await;
        gate.renew();
        gate.resume();
        assert!(!gate.is_shut());
    }
}
