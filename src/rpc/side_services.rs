//! The services that a go-plugin host expects beside the provider.

use std::future::ready;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::lifecycle::Lifecycle;
use super::pb::health::health_check_response::ServingStatus;
use super::pb::health::health_server::Health;
use super::pb::health::{HealthCheckRequest, HealthCheckResponse};
use super::pb::plugin::grpc_broker_server::GrpcBroker;
use super::pb::plugin::grpc_controller_server::GrpcController;
use super::pb::plugin::grpc_stdio_server::GrpcStdio;
use super::pb::plugin::{ConnInfo, Empty, StdioData};

type BoxStream<T> = std::pin::Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Controller, stdio, broker and health.
#[derive(Clone)]
pub struct SideServices(Arc<Lifecycle>);

impl SideServices {
    pub fn new(lifecycle: Arc<Lifecycle>) -> SideServices {
        SideServices(lifecycle)
    }

    /// A stream that says nothing and ends with the process.
    fn silence<T: Send + 'static>(&self) -> BoxStream<T> {
        Box::pin(stream::once(self.0.exit()).filter_map(|()| ready(None)))
    }
}

#[tonic::async_trait]
impl GrpcController for SideServices {
    async fn shutdown(&self, _: Request<Empty>) -> Result<Response<Empty>, Status> {
        // The server still sends the answers of running calls, this one among them.
        self.0.shut_down();
        Ok(Response::new(Empty {}))
    }
}

#[tonic::async_trait]
impl GrpcStdio for SideServices {
    async fn stream_stdio(&self, _: Request<()>) -> Result<Response<BoxStream<StdioData>>, Status> {
        Ok(Response::new(self.silence()))
    }
}

#[tonic::async_trait]
impl GrpcBroker for SideServices {
    async fn start_stream(
        &self,
        _: Request<Streaming<ConnInfo>>,
    ) -> Result<Response<BoxStream<ConnInfo>>, Status> {
        Ok(Response::new(self.silence()))
    }
}

#[tonic::async_trait]
impl Health for SideServices {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match request.get_ref().service.as_str() {
            "" | "plugin" => Ok(Response::new(HealthCheckResponse {
                status: ServingStatus::Serving.into(),
            })),
            _ => Err(Status::not_found("no such service")),
        }
    }
}
