//! The plugin protocol: everything between the process that Terraform or OpenTofu starts and [`crate::tf`].
//!
//! Nothing outside this folder knows gRPC, protobuf or MessagePack, and nothing in it knows Cloudflare.

mod convert;
mod json;
mod lifecycle;
mod listener;
mod log;
mod msgpack;
mod plugin;
mod service;
mod side_services;
mod socket;
mod tls;

#[expect(clippy::allow_attributes, reason = "generated from `proto/`")]
mod pb {
    pub mod tfplugin6 {
        tonic::include_proto!("tfplugin6");
    }
    pub mod plugin {
        tonic::include_proto!("plugin");
    }
    pub mod health {
        tonic::include_proto!("grpc.health.v1");
    }
}

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::TlsAcceptor;
use tonic::transport::Server;

use crate::tf::Provider;

use self::lifecycle::Lifecycle;
use self::pb::health::health_server::HealthServer;
use self::pb::plugin::grpc_broker_server::GrpcBrokerServer;
use self::pb::plugin::grpc_controller_server::GrpcControllerServer;
use self::pb::plugin::grpc_stdio_server::GrpcStdioServer;
use self::pb::tfplugin6::provider_server::ProviderServer;
use self::plugin::Start;
use self::service::Service;
use self::side_services::SideServices;
use self::tls::{Tls, TlsError};

/// Where mistakes of the provider are reported.
const ISSUES: &str = "https://github.com/durable-objects/terraform-provider-cloudflare/issues";

/// The largest message in either direction. A plan of a large script carries the script four times.
const MAX_MESSAGE: usize = 256 << 20;

/// How much of a large message may be on its way: one MiB keeps a local socket busy.
const WINDOW: u32 = 1 << 20;

/// How long connections have to end after the last answer. Hosts kill a plugin two seconds after Shutdown.
const GOODBYE: Duration = Duration::from_millis(500);

/// How a provider is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// As the child of a core, which calls over mutual TLS.
    Plugin,
    /// By hand, for cores that are told to attach. Anybody with access to the socket can call: the user alone.
    Debug,
}

/// Why serving did not start, or ended badly.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("{}", plugin::NOT_A_PLUGIN)]
    NotAPlugin,
    #[error("failed to start: {0}")]
    Tls(#[from] TlsError),
    #[error("PLUGIN_CLIENT_CERT is not set, and there is no private socket on this system")]
    NoTls,
    #[error("failed to listen: {0}")]
    Listen(#[source] io::Error),
    #[error("failed to start: {0}")]
    Runtime(#[source] io::Error),
    #[error("failed to announce the socket: {0}")]
    Announce(#[source] io::Error),
    #[error("failed to serve: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves a provider until the core that uses it is done with it.
pub fn serve(provider: impl FnOnce() -> Arc<dyn Provider>, serving: Serving) -> ExitCode {
    match run(provider, serving) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if this fails.
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(provider: impl FnOnce() -> Arc<dyn Provider>, serving: Serving) -> Result<(), ServeError> {
    let tls = match (serving, plugin::start()) {
        (Serving::Debug, _) => None,
        (Serving::Plugin, None) => return Err(ServeError::NotAPlugin),
        (Serving::Plugin, Some(Start { client_certificate })) => client_certificate
            .map(|pem| Tls::with_client(&pem))
            .transpose()?,
    };
    if tls.is_none() && !socket::PRIVATE {
        return Err(ServeError::NoTls);
    }
    log::install();
    // The parent as it is now: a later look could already miss that it is gone.
    let watchdog = lifecycle::Watchdog::new();
    // Two threads at least: one large value must not keep the other calls waiting.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 4)))
        .enable_all()
        .build()
        .map_err(ServeError::Runtime)?;
    let served = runtime.block_on(async {
        let lifecycle = Arc::new(Lifecycle::default());
        let signals = lifecycle::Signals::install(serving).map_err(ServeError::Runtime)?;
        let socket = socket::bind().await.map_err(ServeError::Listen)?;
        match serving {
            Serving::Plugin => {
                plugin::announce(&socket.address, tls.as_ref().map(|tls| &tls.certificate))
                    .and_then(|()| plugin::detach_stdio())
                    .map_err(ServeError::Announce)?;
                tokio::spawn(watchdog.watch(lifecycle.clone()));
            }
            Serving::Debug => {
                plugin::announce_debug(&socket.address).map_err(ServeError::Announce)?;
            }
        }
        tokio::spawn(signals.watch(lifecycle.clone()));
        let acceptor = tls.map(|tls| TlsAcceptor::from(tls.config));
        let served = route(
            listener::connections(socket.listener, acceptor),
            Service::new(provider(), lifecycle.clone()),
            lifecycle.clone(),
        )
        .await;
        drop(socket.directory);
        served
    });
    // Whatever still runs has had its time.
    runtime.shutdown_background();
    served
}

async fn route(
    connections: tokio_stream::wrappers::ReceiverStream<io::Result<listener::Connection>>,
    service: Service,
    lifecycle: Arc<Lifecycle>,
) -> Result<(), ServeError> {
    let side = SideServices::new(lifecycle.clone());
    let provider = ProviderServer::new(service)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    let server = Server::builder()
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(4 * WINDOW)
        .add_service(provider)
        .add_service(GrpcControllerServer::new(side.clone()))
        .add_service(GrpcStdioServer::new(side.clone()))
        .add_service(GrpcBrokerServer::new(side.clone()))
        .add_service(HealthServer::new(side))
        .serve_with_incoming_shutdown(connections, lifecycle.exit());
    tokio::pin!(server);
    tokio::select! {
        served = &mut server => return Ok(served?),
        () = lifecycle.exit() => {}
    }
    match tokio::time::timeout(GOODBYE, server).await {
        Ok(served) => Ok(served?),
        // A client that does not hang up is left behind.
        Err(_) => Ok(()),
    }
}
