//! The address users call. Chooses the Worker and passes the request on to its port; while a deploy replaces the
//! process behind it, requests wait here, so none is refused or cut off. Knows nothing about processes.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
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
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::visits::{self, Visits};

/// Chooses the Worker by name, for clients that cannot resolve `<script>.localhost`.
pub(super) const WORKER_HEADER: HeaderName = HeaderName::from_static("x-local-worker");

/// How long requests in progress may hold up a deploy.
const PATIENCE: Duration = Duration::from_secs(3);

/// The listener, and what is behind it now.
pub(super) struct Gate {
    pub(super) address: SocketAddr,
    backend: watch::Sender<Option<Backend>>,
    server: JoinHandle<()>,
}

/// The ports of one process, and what is going on at them.
#[derive(Clone, Default)]
struct Backend {
    ports: Arc<HashMap<String, u16>>,
    in_progress: TaskTracker,
    replaced: CancellationToken,
}

#[derive(Clone)]
struct Forwarder {
    backend: watch::Receiver<Option<Backend>>,
    client: Client<HttpConnector, Body>,
}

impl Gate {
    /// Listens on a port of the loopback interface, or on a free one if it is 0, with no Workers.
    pub(super) async fn open(port: u16, visits: Visits) -> io::Result<Self> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let (backend, receiver) = watch::channel(Some(Backend::default()));
        let forwarder = Forwarder {
            backend: receiver,
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
            server,
        })
    }

    /// Makes new requests wait and returns when those in progress are done, or have had their time.
    pub(super) async fn close(&self) {
        if let Some(backend) = self.backend.send_replace(None) {
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
        self.backend.send_replace(Some(Backend {
            ports: Arc::new(ports),
            ..Backend::default()
        }));
    }
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

fn client() -> Client<HttpConnector, Body> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).build(connector)
}

async fn forward(State(mut forwarder): State<Forwarder>, mut request: Request) -> Response {
    let Some(script) = script(&request) else {
        return explain(
            StatusCode::NOT_FOUND,
            "Name a Worker: call http://<script>.localhost:<port>/, or send the header `x-local-worker: <script>`.",
        );
    };
    let (backend, in_progress) = match forwarder.backend.wait_for(Option::is_some).await {
        // The token is taken while the channel is borrowed: `close` either makes us wait or waits for us.
        Ok(backend) => match backend.as_ref() {
            Some(backend) => (backend.clone(), backend.in_progress.token()),
            None => return explain(StatusCode::SERVICE_UNAVAILABLE, "Local Cloudflare stopped."),
        },
        Err(_) => return explain(StatusCode::SERVICE_UNAVAILABLE, "Local Cloudflare stopped."),
    };
    let Some(port) = backend.ports.get(&script).copied() else {
        return explain(
            StatusCode::NOT_FOUND,
            &format!("There is no Worker {script:?} here."),
        );
    };

    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
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
            tokio::spawn(async move {
                backend
                    .replaced
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

/// The script a request is for: the header names it, or the host is `<script>.<anything>`.
fn script(request: &Request) -> Option<String> {
    let text = |name| request.headers().get(name)?.to_str().ok();
    if let Some(script) = text(WORKER_HEADER) {
        return Some(script.into());
    }
    let host = request.uri().host().or_else(|| text(header::HOST))?;
    host.split_once('.').map(|(script, _)| script.into())
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
