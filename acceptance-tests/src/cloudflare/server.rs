//! The running thing: a listener, the account, the runtime, and what tests hold in their hands.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::account::Account;
use super::api;
use super::assets::AssetStore;
use super::calls::{Answered, Call, Calls};
use super::control::Action;
use super::door;
use super::failure::ApiFailure;
use super::faults::{Fault, Faults};
use super::hosting::Hosting;
use super::kept::{Kept, NotOurs};
use super::runtime::{RuntimeError, Visits};
use super::triggers::{self, Trigger, Triggered};

/// How long calls that are being answered may take when everything ends.
const PATIENCE: Duration = Duration::from_secs(3);

/// How to start local Cloudflare.
#[derive(Clone, Debug)]
pub struct Options {
    /// The workerd binary.
    pub workerd: PathBuf,
    /// The API's port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// The port of all Workers on 127.0.0.1; 0 takes a free one.
    pub workers_port: u16,
    /// Where the account and the data of its Durable Objects are kept from one start to the next; a temporary folder,
    /// removed at the end, if absent.
    pub state_dir: Option<PathBuf>,
    /// The only API token that is accepted.
    pub token: String,
    /// The only account.
    pub account_id: String,
    /// Whether Workers are run when their schedules are due; else only when they are triggered.
    pub crons: bool,
}

impl Options {
    /// A free port, temporary data, and a token and an account of the usual shape.
    pub fn new(workerd: impl Into<PathBuf>) -> Self {
        Self {
            workerd: workerd.into(),
            port: 0,
            workers_port: 0,
            state_dir: None,
            token: "local-cloudflare-token-0123456789abcdefghi".into(),
            account_id: "0123456789abcdef0123456789abcdef".into(),
            crons: false,
        }
    }
}

/// Why local Cloudflare did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The API's port cannot be listened on.
    #[error("cannot listen on 127.0.0.1:{port}")]
    Listen {
        /// The port that was asked for.
        port: u16,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no place for the data of Durable Objects.
    #[error("cannot create the data folder")]
    Folder(#[source] io::Error),
    /// Another local Cloudflare uses the folder.
    #[error("{} is in use by another local Cloudflare{holder}", .folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// ` (process <id>)`, or nothing if the id is not known.
        holder: String,
    },
    /// What an earlier run has kept cannot be used.
    #[error("cannot read the account that an earlier run has kept; nothing was changed")]
    Account(#[source] io::Error),
    /// The Workers runtime does not start.
    #[error("the Workers runtime does not start")]
    Runtime(#[from] RuntimeError),
}

/// A running local Cloudflare. Dropping it ends everything and removes temporary data.
pub struct LocalCloudflare {
    cloud: Arc<Cloud>,
    server: JoinHandle<()>,
    _clock: Option<AbortOnDropHandle<()>>,
    _shutdown: DropGuard,
}

impl LocalCloudflare {
    /// Starts with the account that the folder holds, or an empty one.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let port = options.port;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .map_err(|source| StartError::Listen { port, source })?;
        let address = listener
            .local_addr()
            .map_err(|source| StartError::Listen { port, source })?;
        let (folder, temporary) = match &options.state_dir {
            Some(folder) => (folder.clone(), None),
            None => {
                let folder = tempfile::Builder::new()
                    .prefix("local-cloudflare-")
                    .tempdir()
                    .map_err(StartError::Folder)?;
                (folder.path().to_owned(), Some(folder))
            }
        };
        // Before anything in the folder is looked at.
        let kept = match &options.state_dir {
            Some(folder) => Some(Kept::open(folder).map_err(|error| not_ours(folder, error))?),
            None => None,
        };
        let disk = folder.join("durable-objects");
        tokio::fs::create_dir_all(&disk)
            .await
            .map_err(StartError::Folder)?;
        let visits = Visits::default();
        let hosting = Hosting::start(
            options.workerd,
            disk,
            folder.join("assets"),
            options.workers_port,
            visits.clone(),
            kept.as_ref().map(Kept::lock),
        )
        .await?;
        let account = match kept.as_ref().map(Kept::read).transpose() {
            Ok(account) => account.flatten(),
            Err(error) => return Err(StartError::Account(error)),
        };
        let mut account = account.unwrap_or_else(|| {
            let mut seed = [0; 16];
            getrandom::fill(&mut seed).expect("the operating system has random numbers");
            Account::new(&options.account_id, hex::encode(seed))
        });
        // The folder says what there is, the options how it is reached.
        account.id.clone_from(&options.account_id);
        if let Some(kept) = &kept {
            kept.write(&account).map_err(StartError::Folder)?;
        }
        let account = Arc::new(account);
        hosting
            .forget_deleted(&account)
            .map_err(StartError::Folder)?;
        if account.serving > 0 {
            hosting.changed(&account);
        }
        hosting.lead(&account);
        let cloud = Arc::new(Cloud {
            hosting,
            account: Mutex::new(account),
            kept,
            assets: AssetStore::new(folder.join("assets")),
            faults: Faults::default(),
            calls: Calls::default(),
            visits,
            answering: TaskTracker::new(),
            token: options.token,
            account_id: options.account_id,
            address,
            _folder: temporary,
        });
        let shutdown = CancellationToken::new();
        let clock = options
            .crons
            .then(|| tokio::spawn(triggers::keep_time(Arc::downgrade(&cloud))))
            .map(AbortOnDropHandle::new);
        let server = tokio::spawn(run(listener, cloud.clone(), shutdown.clone()));
        Ok(Self {
            cloud,
            server,
            _clock: clock,
            _shutdown: shutdown.drop_guard(),
        })
    }

    /// The base of the API, ending in `/client/v4`.
    pub fn api_url(&self) -> String {
        format!("http://{}/client/v4", self.cloud.address)
    }

    /// The base of the switches, ending in `/__local`.
    pub fn control_url(&self) -> String {
        format!("http://{}/__local", self.cloud.address)
    }

    /// Where a deployed Worker answers. The name resolves where `*.localhost` does; elsewhere send the request to
    /// [`Self::workers_address`] with the header `x-local-worker: <script>`.
    pub fn worker_url(&self, script: &str) -> String {
        format!(
            "http://{script}.localhost:{}",
            self.workers_address().port()
        )
    }

    /// Where all Workers listen.
    pub fn workers_address(&self) -> SocketAddr {
        self.cloud.hosting.address()
    }

    /// The API token.
    pub fn token(&self) -> &str {
        &self.cloud.token
    }

    /// The account id.
    pub fn account_id(&self) -> &str {
        &self.cloud.account_id
    }

    /// Every API call so far.
    pub fn calls(&self) -> Vec<Call> {
        self.cloud.calls.all()
    }

    /// Everything that is answered from now on: calls of the API, and visits to Workers. The last who asks gets it.
    pub fn follow(&self) -> UnboundedReceiver<Answered> {
        let (sender, receiver) = self.cloud.calls.follow();
        self.cloud.visits.follow(move |visit| {
            // Nobody has to listen until the end.
            let _ = sender.send(Answered::Visit(visit));
        });
        receiver
    }

    /// Forgets the calls so far.
    pub fn clear_calls(&self) {
        self.cloud.calls.clear();
    }

    /// Latency, rate limit, and clearing of faults.
    pub fn faults(&self) -> &Faults {
        &self.cloud.faults
    }

    /// Makes calls misbehave.
    pub fn add_fault(&self, fault: Fault) {
        self.cloud.faults.add(fault, self.account());
    }

    /// The account as it is now.
    pub fn account(&self) -> Arc<Account> {
        self.cloud.account()
    }

    /// Does something to the account as another tool would.
    pub async fn act(&self, action: Action) -> Result<(), ApiFailure> {
        self.cloud.change(|account| action.apply(account)).await
    }

    /// Runs the `scheduled` handler of a Worker now and waits for its end.
    pub async fn trigger(&self, trigger: Trigger) -> Result<Triggered, ApiFailure> {
        self.cloud.trigger(trigger).await
    }

    /// The process id of the Workers runtime; none runs without Workers.
    pub async fn runtime_process(&self) -> Option<u32> {
        self.cloud.hosting.process().await
    }

    /// Ends the server and the runtime and waits for them.
    pub async fn stop(self) {
        let Self {
            cloud,
            server,
            _shutdown,
            _clock,
            ..
        } = self;
        drop(_shutdown);
        drop(_clock);
        // The task ends by itself; a panic in it has been reported already.
        let _ = server.await;
        cloud.faults.clear();
        cloud.answering.close();
        if tokio::time::timeout(PATIENCE, cloud.answering.wait())
            .await
            .is_err()
        {
            log::warn!("calls that took longer than {PATIENCE:?} are cut off by the end");
        }
        if let Ok(cloud) = Arc::try_unwrap(cloud) {
            cloud.hosting.stop().await;
        }
    }
}

/// What all calls share. The runtime is dropped before its data folder.
pub(super) struct Cloud {
    pub(super) hosting: Hosting,
    pub(super) assets: AssetStore,
    account: Mutex<Arc<Account>>,
    kept: Option<Kept>,
    pub(super) faults: Faults,
    pub(super) calls: Calls,
    visits: Visits,
    /// The calls that are being answered.
    answering: TaskTracker,
    pub(super) token: String,
    pub(super) account_id: String,
    /// Where the API listens.
    pub(super) address: SocketAddr,
    _folder: Option<tempfile::TempDir>,
}

impl Cloud {
    /// The account as it is now.
    pub(super) fn account(&self) -> Arc<Account> {
        self.lock().clone()
    }

    /// Changes the account, all or nothing. Who calls a Worker from now on sees the change.
    pub(super) async fn change<T>(
        &self,
        change: impl FnOnce(&mut Account) -> Result<T, ApiFailure>,
    ) -> Result<T, ApiFailure> {
        let mut account = self.lock();
        let mut next = Account::clone(&account);
        let result = change(&mut next)?;
        if let Some(kept) = &self.kept {
            kept.write(&next).map_err(|error| {
                ApiFailure::new(500, 10013, format!("The account cannot be kept: {error}"))
            })?;
        }
        let changed = next.serving != account.serving;
        *account = Arc::new(next);
        if changed {
            self.hosting.changed(&account);
        }
        self.hosting.lead(&account);
        Ok(result)
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Account>> {
        self.account.lock().expect("no change panics")
    }
}

/// Answers API calls, and serves Workers when somebody calls one.
async fn run(listener: TcpListener, cloud: Arc<Cloud>, shutdown: CancellationToken) {
    let serve = async {
        loop {
            cloud.hosting.demanded().await;
            cloud.hosting.serve(|| cloud.account()).await;
        }
    };
    tokio::join!(
        accept(listener, cloud.clone(), shutdown.clone()),
        shutdown.run_until_cancelled(serve)
    );
}

fn not_ours(folder: &Path, error: NotOurs) -> StartError {
    match error {
        NotOurs::Io(error) => StartError::Folder(error),
        NotOurs::InUse(holder) => StartError::InUse {
            folder: folder.to_owned(),
            holder: match holder.as_str() {
                "" => String::new(),
                id => format!(
                    " (process {id}; if that is gone, end the workerd that it has left behind)"
                ),
            },
        },
    }
}

async fn accept(listener: TcpListener, cloud: Arc<Cloud>, shutdown: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(converse(stream, cloud.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
    connections.shutdown().await;
}

async fn converse(stream: TcpStream, cloud: Arc<Cloud>) {
    // Small answers must not wait for the client's acknowledgement.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let cloud = cloud.clone();
        async move {
            // A client that goes away does not interrupt what Cloudflare does.
            let answering = cloud.answering.clone();
            answering
                .spawn(door::answer(cloud, request.map(Body::new)))
                .await
                .unwrap_or_else(|_| Ok(api::failed(&ApiFailure::internal())))
        }
    });
    // An error here is a closed connection, by the client or by a fault.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
