//! Tells of every request to a Worker. Knows neither which Worker it is for nor what it answers with.

use std::sync::{Arc, RwLock};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderName, header};
use axum::middleware::Next;
use axum::response::Response;

use super::super::clock;
use super::gate::WORKER_HEADER;

/// One request to a Worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// When it came, as `2026-11-01T10:00:00.000000Z`.
    pub at: String,
    /// The HTTP method.
    pub method: String,
    /// The Worker's name as the header gives it, or the host that was called, without the port.
    pub host: String,
    /// The path, without the query, which may hold secrets.
    pub path: String,
    /// The HTTP status of the answer.
    pub status: u16,
    /// Microseconds until the answer began.
    pub micros: u64,
}

type Follower = Arc<dyn Fn(Visit) + Send + Sync>;

/// Who wants to be told. Nobody does at first.
#[derive(Clone, Default)]
pub struct Visits(Arc<RwLock<Option<Follower>>>);

impl Visits {
    /// Tells `follower` of every request from now on, and nobody else.
    pub fn follow(&self, follower: impl Fn(Visit) + Send + Sync + 'static) {
        *self.0.write().expect("no holder panics") = Some(Arc::new(follower));
    }

    fn follower(&self) -> Option<Follower> {
        self.0.read().expect("no holder panics").clone()
    }
}

impl std::fmt::Debug for Visits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Visits")
            .field(&self.follower().is_some())
            .finish()
    }
}

/// Around the answer to a request.
pub(super) async fn note(State(visits): State<Visits>, request: Request, next: Next) -> Response {
    let Some(follower) = visits.follower() else {
        return next.run(request).await;
    };
    let mut visit = coming(&request);
    let started = Instant::now();
    let response = next.run(request).await;
    visit.status = response.status().as_u16();
    visit.micros = started.elapsed().as_micros().try_into().unwrap_or(u64::MAX);
    follower(visit);
    response
}

fn coming(request: &Request) -> Visit {
    let text = |name: &HeaderName| request.headers().get(name)?.to_str().ok();
    let host = text(&WORKER_HEADER).or_else(|| text(&header::HOST));
    let host = host.unwrap_or_default();
    Visit {
        at: clock::now(),
        method: request.method().to_string(),
        host: host.split_once(':').map_or(host, |(host, _)| host).into(),
        path: request.uri().path().into(),
        status: 0,
        micros: 0,
    }
}
