//! Calls deployed Workers over HTTP, as a visitor does. Must not know how they were deployed.

use std::net::SocketAddr;

use crate::cloudflare::LocalCloudflare;

/// Somebody who opens the addresses of Workers.
#[derive(Clone, Debug)]
pub struct Visitor {
    client: reqwest::Client,
    workers: SocketAddr,
}

impl Visitor {
    /// A visitor of what is deployed on this local Cloudflare.
    pub fn new(cloudflare: &LocalCloudflare) -> Self {
        // The client is built with TLS support, which wants to know its cryptography even for plain HTTP.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Self {
            client: reqwest::Client::new(),
            workers: cloudflare.workers_address(),
        }
    }

    /// The status and the text that a Worker answers a GET of `path` with.
    pub async fn get(&self, script: &str, path: &str) -> Result<(u16, String), reqwest::Error> {
        let response = self
            .client
            .get(format!("http://{}{path}", self.workers))
            // Names below `localhost` do not resolve everywhere.
            .header("x-local-worker", script)
            .send()
            .await?;
        Ok((response.status().as_u16(), response.text().await?))
    }

    /// The text that a Worker answers with, without the line end; it must answer 200.
    ///
    /// # Panics
    /// With the answer, if it is another.
    pub async fn read(&self, script: &str, path: &str) -> String {
        let answer = self.get(script, path).await;
        let (status, text) =
            answer.unwrap_or_else(|error| panic!("`{script}` does not answer: {error}"));
        assert_eq!(status, 200, "`{script}` answers {path} with: {text}");
        text.trim_end().to_owned()
    }
}
