//! Asks a child process for bundles: as many at a time as there are cores, and each once a run.

use std::collections::HashMap;
use std::fmt;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bundler::{Request, wire};
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::{OnceCell, Semaphore};

use super::{Bundle, CHILD_MODE, Options, Problem};

/// How long a bundle may take. A large one takes a second.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// More threads make one bundle hardly faster.
const THREADS: u32 = 4;

/// The longest answer that is read: several times what Cloudflare takes.
const LONGEST_ANSWER: u64 = 256 << 20;

/// How much of the child's stderr is looked at.
const LONGEST_STDERR: u64 = 64 << 10;

/// Why there is no bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The sources are wrong; at least one problem.
    Sources(Vec<Problem>),
    /// The bundler did not finish: it crashed, took too long or needed too much memory. Sentences that say which.
    Stopped(String),
    /// This build of the provider has no bundler.
    NoBundler,
}

/// An answer that waits to be asked for again. It rests in a file without a name: a plan may hold hundreds.
enum Kept {
    File(std::fs::File),
    /// Where no file can be written.
    Memory(Bytes),
}

impl Kept {
    fn new(answer: &Bytes) -> Kept {
        let file = tempfile::tempfile().and_then(|mut file| {
            file.write_all(answer)?;
            Ok(file)
        });
        file.map_or_else(|_| Kept::Memory(answer.clone()), Kept::File)
    }

    fn read(&self) -> std::io::Result<Bytes> {
        let mut file = match self {
            Kept::Memory(answer) => return Ok(answer.clone()),
            Kept::File(file) => file.try_clone()?,
        };
        let mut answer = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut answer)?;
        Ok(answer.into())
    }
}

type Key = (PathBuf, Options);

/// Makes bundles: at most as many at a time as there are cores, and each once until it is told to forget.
pub struct Bundler {
    /// The program that has the child mode; the provider's own if absent.
    program: Option<PathBuf>,
    time_limit: Duration,
    /// One for each core. A child works on as many threads as it holds.
    cores: Semaphore,
    kept: Mutex<HashMap<Key, Arc<OnceCell<Mutex<Kept>>>>>,
}

impl fmt::Debug for Bundler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundler").finish_non_exhaustive()
    }
}

impl Default for Bundler {
    fn default() -> Bundler {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Bundler {
            program: None,
            time_limit: TIME_LIMIT,
            cores: Semaphore::new(cores),
            kept: Mutex::default(),
        }
    }
}

impl Bundler {
    /// With the child mode of another program, such as a test's.
    pub fn with_program(program: &Path) -> Bundler {
        Bundler {
            program: Some(program.to_owned()),
            ..Bundler::default()
        }
    }

    /// The same with less time for each bundle.
    pub fn with_time_limit(self, time_limit: Duration) -> Bundler {
        Bundler { time_limit, ..self }
    }

    /// Forgets all bundles: another run begins, and sources may have changed.
    pub fn forget(&self) {
        self.kept().clear();
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<Key, Arc<OnceCell<Mutex<Kept>>>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bundles an entry file; relative paths are relative to the working directory. The same again costs nothing. Ends the child when
    /// the future is dropped.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn bundle(&self, entry: &Path, options: &Options) -> Result<Bundle, Failure> {
        if cfg!(not(feature = "bundler")) {
            return Err(Failure::NoBundler);
        }
        let stopped = |error: &dyn fmt::Display| Failure::Stopped(format!("{error}."));
        let shown_from = std::env::current_dir().map_err(|error| stopped(&error))?;
        let mut options = options.clone();
        options.tsconfig = options.tsconfig.map(|path| shown_from.join(path));
        let key = (shown_from.join(entry), options);
        let cell = self.kept().entry(key.clone()).or_default().clone();
        let mut fresh = None;
        let kept = cell.get_or_try_init(|| async {
            let (answer, bundle) = self.ask(key, shown_from).await?;
            fresh = Some(bundle);
            Ok(Mutex::new(Kept::new(&answer)))
        });
        let kept = kept.await?;
        if let Some(bundle) = fresh {
            return Ok(bundle);
        }
        let answer = kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .read()
            .map_err(|error| stopped(&error))?;
        let outcome = wire::read_answer(&answer).map_err(|error| stopped(&error))?;
        outcome.map_err(Failure::Sources)
    }

    /// Has a child bundle: its answer, and what that is.
    async fn ask(&self, key: Key, shown_from: PathBuf) -> Result<(Bytes, Bundle), Failure> {
        let stopped = |error: &dyn fmt::Display| Failure::Stopped(format!("{error}."));
        let mut permit = self
            .cores
            .acquire()
            .await
            .map_err(|error| stopped(&error))?;
        let mut threads = 1;
        while threads < THREADS
            && let Ok(another) = self.cores.try_acquire()
        {
            permit.merge(another);
            threads += 1;
        }
        let (entry, options) = key;
        let request = Request {
            entry,
            shown_from,
            options,
            threads: threads as usize,
        };
        let request = wire::request(&request).map_err(|error| stopped(&error))?;
        let child = self.command().spawn().map_err(|error| {
            Failure::Stopped(format!(
                "The process that bundles could not be started: {error}."
            ))
        })?;
        let exchange = tokio::time::timeout(self.time_limit, exchange(child, &request));
        let Ok(exchanged) = exchange.await else {
            let seconds = self.time_limit.as_secs();
            return Err(Failure::Stopped(format!(
                "It took longer than {seconds} seconds."
            )));
        };
        let exchanged = exchanged.map_err(|error| stopped(&error))?;
        if !exchanged.status.success() {
            return Err(Failure::Stopped(exchanged.why()));
        }
        match wire::read_answer(&exchanged.answer) {
            Ok(Ok(bundle)) => Ok((exchanged.answer, bundle)),
            Ok(Err(problems)) => Err(Failure::Sources(problems)),
            Err(error) => Err(Failure::Stopped(format!(
                "Its answer cannot be read: {error}."
            ))),
        }
    }

    /// The child: it gets nothing of the provider's but the request.
    fn command(&self) -> Command {
        let program = self.program.clone().unwrap_or_else(own_program);
        let root = program.ancestors().last().unwrap_or(&program).to_owned();
        let mut command = Command::new(&program);
        command
            .arg(CHILD_MODE)
            .env_clear()
            .current_dir(root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        // An interrupt of the terminal is for core, which tells the provider.
        #[cfg(unix)]
        command.process_group(0);
        command
    }
}

/// The running program, even if its file has been replaced.
fn own_program() -> PathBuf {
    let link = Path::new("/proc/self/exe");
    match link.exists() {
        true => link.to_owned(),
        false => std::env::current_exe().unwrap_or_default(),
    }
}

/// What a child left.
struct Exchanged {
    answer: Bytes,
    stderr: String,
    status: ExitStatus,
}

/// Tells the child what to do, and reads until it ends. Its stdin stays open until then: it ends when that is closed.
async fn exchange(mut child: Child, request: &[u8]) -> std::io::Result<Exchanged> {
    let mut stdin = child.stdin.take();
    let write = async {
        if let Some(stdin) = &mut stdin {
            // A child that is gone says why on stderr.
            let _ = stdin.write_all(request).await;
            let _ = stdin.flush().await;
        }
    };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let ((), answer, stderr) = tokio::join!(
        write,
        read_all(stdout, LONGEST_ANSWER),
        read_all(stderr, LONGEST_STDERR)
    );
    let status = child.wait().await?;
    Ok(Exchanged {
        answer: answer?.into(),
        stderr: String::from_utf8_lossy(&stderr?).into_owned(),
        status,
    })
}

/// Reads to the end, and keeps no more than `most`.
async fn read_all(from: Option<impl AsyncRead + Unpin>, most: u64) -> std::io::Result<Vec<u8>> {
    let mut read = Vec::new();
    if let Some(mut from) = from {
        (&mut from).take(most).read_to_end(&mut read).await?;
        tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    }
    Ok(read)
}

impl Exchanged {
    /// Why the child did not answer, in sentences.
    fn why(&self) -> String {
        if self.stderr.contains("overflowed its stack") {
            return "Its stack overflowed: a source nests expressions too deeply.".to_owned();
        }
        if self.stderr.contains("memory allocation of") {
            return "It needed more memory than it may have.".to_owned();
        }
        if let Some((_, place)) = self.stderr.split_once("panicked at ") {
            let place = place.lines().next().unwrap_or_default();
            return format!("It failed by a fault of its own, at {place}.");
        }
        format!("The process that bundles ended early: {}.", self.status)
    }
}
