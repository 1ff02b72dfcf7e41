//! Accepts connections. Each makes its handshake in a task of its own, so that a silent client keeps nobody waiting.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use super::socket::{Listener, Stream};

/// How long a client may take for its handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long to wait after a failed accept, which mostly means too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// Connections that are ready for HTTP/2.
pub fn connections(
    listener: Listener,
    tls: Option<TlsAcceptor>,
) -> ReceiverStream<io::Result<Connection>> {
    let (ready, connections) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let stream = tokio::select! {
                () = ready.closed() => return,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _peer)) => stream,
                    Err(error) => {
                        log::warn!("failed to accept a connection: {error}");
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                },
            };
            let ready = ready.clone();
            let tls = tls.clone();
            tokio::spawn(async move {
                match handshake(stream, tls).await {
                    // The server may be gone by now.
                    Ok(connection) => drop(ready.send(Ok(connection)).await),
                    Err(error) => log::warn!("refused a connection: {error}"),
                }
            });
        }
    });
    ReceiverStream::new(connections)
}

async fn handshake(stream: Stream, tls: Option<TlsAcceptor>) -> io::Result<Connection> {
    super::socket::prepare(&stream)?;
    let Some(tls) = tls else {
        return Ok(Connection::Plain(stream));
    };
    let stream = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await??;
    Ok(Connection::Tls(Box::new(stream)))
}

/// A connection with or without TLS.
pub enum Connection {
    Plain(Stream),
    Tls(Box<TlsStream<Stream>>),
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Connection::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Connection::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Connection::Plain(stream) => Pin::new(stream).poll_write(context, buffer),
            Connection::Tls(stream) => Pin::new(stream).poll_write(context, buffer),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Connection::Plain(stream) => Pin::new(stream).poll_flush(context),
            Connection::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Connection::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Connection::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
