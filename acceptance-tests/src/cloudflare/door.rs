//! Who may ask, and who answers: the API, the switches or the status page.
//!
//! Everything listens on the loopback interface only, but a browser on this machine runs the pages of strangers. One
//! whose name resolves to this machine (DNS rebinding) is told apart by its `Host`, one that sends a form across by
//! its `Origin`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};

use super::api::{self, Closed};
use super::control;
use super::page;
use super::server::Cloud;

/// Answers one request of any kind.
pub(super) async fn answer(
    cloud: Arc<Cloud>,
    request: Request<Body>,
) -> Result<Response<Body>, Closed> {
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !is_loopback(host) {
        return Ok(refused(
            "Local Cloudflare answers to localhost, 127.0.0.1, [::1] and names that end in .localhost only. \
             Call it by one of these.\n",
        ));
    }
    let path = request.uri().path().to_owned();
    if let Some(answer) = page::answer(&cloud, request.method(), &path).await {
        return Ok(answer);
    }
    match path.strip_prefix("/__local") {
        Some(switch) if switch.is_empty() || switch.starts_with('/') => {
            let safe = [Method::GET, Method::HEAD].contains(request.method());
            let foreign =
                |origin: &HeaderValue| origin.as_bytes() != format!("http://{host}").as_bytes();
            if !safe && request.headers().get(header::ORIGIN).is_some_and(foreign) {
                return Ok(refused(
                    "Pages of another origin do not flip these switches.\n",
                ));
            }
            Ok(control::answer(&cloud, switch, request).await)
        }
        _ => api::answer(cloud, request).await,
    }
}

/// Whether a `Host` header, with or without a port, names this machine without asking anybody.
fn is_loopback(authority: &str) -> bool {
    let (host, port) = match authority.rfind(':') {
        Some(colon) if !authority.ends_with(']') => authority.split_at(colon),
        _ => (authority, ":0"),
    };
    if !port[1..].bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    if let Some(address) = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok_and(|it| it.is_loopback());
    }
    let host = host.to_ascii_lowercase();
    host == "localhost"
        || host
            .strip_suffix(".localhost")
            .is_some_and(|it| !it.is_empty())
        || host.parse::<Ipv4Addr>().is_ok_and(|it| it.is_loopback())
}

fn refused(text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::FORBIDDEN;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_answered() {
        for host in [
            "localhost",
            "LOCALHOST:8787",
            "127.0.0.1:8787",
            "127.0.0.1",
            "127.1.2.3:1",
            "[::1]",
            "[::1]:8787",
            "api.localhost:8787",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "example.com",
            "localhost.example.com",
            "notlocalhost",
            ".localhost",
            "192.168.0.1:8787",
            "0.0.0.0:8787",
            "[::]:8787",
            "::1",
            "127.0.0.1:8787@example.com",
            "127.0.0.1.example.com",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
