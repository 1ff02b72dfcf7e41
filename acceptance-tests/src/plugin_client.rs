//! A host for the provider's process, in the place of a core: starts it, shakes hands, and calls it.
//!
//! Unlike a core it can also do all of that wrongly.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, PKCS_ECDSA_P521_SHA512};
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme, SupportedProtocolVersion};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

use wire::plugin::Empty;
use wire::plugin::grpc_controller_client::GrpcControllerClient;
use wire::tfplugin6::provider_client::ProviderClient;

#[expect(missing_docs, reason = "generated from the provider's `.proto` files")]
pub mod wire {
    //! Messages and clients of the plugin protocol.
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

/// What both cores set to show that they start a plugin.
pub const COOKIE: (&str, &str) = (
    "TF_PLUGIN_MAGIC_COOKIE",
    "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2",
);

/// The largest message that cores accept.
const MAX_MESSAGE: usize = i32::MAX as usize;

/// A host's certificate and key, of the kind that go-plugin makes: a self-signed CA on P-521.
#[derive(Clone)]
pub struct Identity {
    /// What the plugin gets to see in advance.
    pub certificate: CertificateDer<'static>,
    pem: String,
    key: Vec<u8>,
}

impl Identity {
    /// A new one.
    pub fn new() -> Identity {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512).expect("P-521 is supported");
        let mut params =
            CertificateParams::new(vec!["localhost".to_owned()]).expect("a valid name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("signs");
        Identity {
            pem: certificate.pem(),
            certificate: certificate.der().clone(),
            key: key.serialize_der(),
        }
    }

    /// The certificate of this with the key of another.
    #[must_use]
    pub fn with_key_of(mut self, other: &Identity) -> Identity {
        self.key.clone_from(&other.key);
        self
    }
}

impl Default for Identity {
    fn default() -> Identity {
        Identity::new()
    }
}

/// Shows an identity without asking whether certificate and key belong together.
#[derive(Debug)]
struct Show(Arc<CertifiedKey>);

impl ResolvesClientCert for Show {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A running provider after its handshake line.
pub struct Plugin {
    /// The process. Killed when dropped.
    pub child: Child,
    /// The rest of what it prints.
    pub stdout: BufReader<ChildStdout>,
    /// The socket.
    pub socket: PathBuf,
    /// The handshake line.
    pub line: String,
    identity: Identity,
    server: CertificateDer<'static>,
}

impl Plugin {
    /// Starts a provider as a core does, with `directory` for its temporary files.
    pub async fn start(binary: &Path, directory: &Path) -> Plugin {
        let mut command = Command::new(binary);
        command.env("TMPDIR", directory);
        Plugin::start_command(command).await
    }

    /// Starts a command that becomes a provider. Cookie, certificate and streams are set here.
    pub async fn start_command(mut command: Command) -> Plugin {
        let identity = Identity::new();
        let mut child = command
            .env(COOKIE.0, COOKIE.1)
            .env("PLUGIN_PROTOCOL_VERSIONS", "6,5")
            .env("PLUGIN_CLIENT_CERT", &identity.pem)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).await.expect("reads");
        let fields: Vec<&str> = line.trim_end().split('|').collect();
        let [_, _, _, address, _, certificate] = fields[..] else {
            panic!("not a handshake line: {line:?}");
        };
        let server = STANDARD_NO_PAD.decode(certificate).expect("is base64");
        Plugin {
            child,
            stdout,
            socket: address.into(),
            identity,
            server: server.into(),
            line,
        }
    }

    /// The host's identity that the plugin knows.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// A client as a core has it.
    pub async fn client(&self) -> ProviderClient<Channel> {
        let config = self.tls(Some(&self.identity), &rustls::version::TLS13);
        let channel = self.channel(config).await.expect("connects");
        ProviderClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    /// TLS as a client that shows an identity or none.
    pub fn tls(
        &self,
        identity: Option<&Identity>,
        version: &'static SupportedProtocolVersion,
    ) -> ClientConfig {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.server.clone()).expect("is a certificate");
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[version])
            .expect("is supported")
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key.clone()));
                let key = provider.key_provider.load_private_key(key);
                let key = CertifiedKey::new(
                    vec![identity.certificate.clone()],
                    key.expect("is a private key"),
                );
                builder.with_client_cert_resolver(Arc::new(Show(Arc::new(key))))
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }

    /// A gRPC channel over TLS. With TLS 1.3 a refusal shows only in the first call.
    pub async fn channel(&self, tls: ClientConfig) -> Result<Channel, tonic::transport::Error> {
        let connector = TlsConnector::from(Arc::new(tls));
        let socket = self.socket.clone();
        let connect = tower::service_fn(move |_| {
            let (connector, socket) = (connector.clone(), socket.clone());
            async move {
                let name = ServerName::try_from("localhost").expect("is a name");
                let stream = UnixStream::connect(socket).await?;
                Ok::<_, io::Error>(TokioIo::new(connector.connect(name, stream).await?))
            }
        });
        Endpoint::from_static("http://localhost")
            .connect_with_connector(connect)
            .await
    }

    /// Ends the provider as a core does.
    pub async fn shut_down(&self) {
        let config = self.tls(Some(&self.identity), &rustls::version::TLS13);
        let channel = self.channel(config).await.expect("connects");
        let answer = GrpcControllerClient::new(channel).shutdown(Empty {}).await;
        answer.expect("answers before it goes");
    }
}

/// A client without TLS, for a provider that runs with `-debug`.
pub async fn attach(socket: PathBuf) -> Result<ProviderClient<Channel>, tonic::transport::Error> {
    let connect = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { Ok::<_, io::Error>(TokioIo::new(UnixStream::connect(socket).await?)) }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    Ok(ProviderClient::new(
        endpoint.connect_with_connector(connect).await?,
    ))
}
