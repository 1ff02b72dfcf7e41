//! Asks for bundles: on as many threads at a time as there are cores, and for each once a run.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bundler::{Request, wire};
use bytes::Bytes;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use super::kept::{Kept, Shelf};
use super::process;
use super::{Bundle, Options, Problem};

/// How long a bundle may take. A large one takes a second.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// More threads make one bundle hardly faster.
const THREADS: usize = 4;

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

impl Failure {
    fn stopped(why: impl fmt::Display) -> Failure {
        Failure::Stopped(why.to_string())
    }
}

/// What makes a bundle another one: the entry file, canonical if it is there, and how it is bundled.
type Key = (PathBuf, Options);

/// What came of a request, for all who ask while it is under way and, if it is a bundle, for all who ask later.
type Outcome = OnceCell<Result<Kept, Failure>>;

/// What is kept until the next run begins.
#[derive(Default)]
struct Run {
    outcomes: HashMap<Key, Arc<Outcome>>,
    shelf: Arc<Shelf>,
}

/// Makes bundles, and keeps them until it is told to forget.
pub struct Bundler {
    /// The program that has the child mode; the provider's own if absent.
    program: Option<PathBuf>,
    time_limit: Duration,
    cores: Cores,
    run: Mutex<Run>,
}

impl fmt::Debug for Bundler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the options: what they define may be secret.
        f.debug_struct("Bundler").finish_non_exhaustive()
    }
}

impl Default for Bundler {
    fn default() -> Bundler {
        Bundler {
            program: None,
            time_limit: TIME_LIMIT,
            cores: Cores::new(std::thread::available_parallelism().map_or(1, usize::from)),
            run: Mutex::default(),
        }
    }
}

impl Bundler {
    /// With the child mode of another program; a test is not the provider.
    pub fn with_program(program: &Path) -> Bundler {
        Bundler {
            program: Some(program.to_owned()),
            ..Bundler::default()
        }
    }

    /// The same with another limit of the time that each bundle may take.
    pub fn with_time_limit(self, time_limit: Duration) -> Bundler {
        Bundler { time_limit, ..self }
    }

    /// The same as if the machine had so many cores.
    pub fn with_cores(self, cores: usize) -> Bundler {
        let cores = Cores::new(cores);
        Bundler { cores, ..self }
    }

    /// Forgets all bundles: another run begins, and sources may have changed.
    pub fn forget(&self) {
        *self.run() = Run::default();
    }

    fn run(&self) -> MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bundles an entry file; relative paths are relative to the working directory. Whoever asks for the same at the same time shares a
    /// child, and to ask again costs nothing. The child ends when the future that started it is dropped; if others wait, one of them
    /// starts another.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn bundle(&self, entry: &Path, options: &Options) -> Result<Bundle, Failure> {
        if cfg!(not(feature = "bundler")) {
            return Err(Failure::NoBundler);
        }
        let here = std::env::current_dir().map_err(|error| {
            Failure::Stopped(format!("Failed to find the working directory: {error}."))
        })?;
        let mut options = options.clone();
        options.tsconfig = options.tsconfig.map(|path| here.join(path));
        let entry = here.join(entry);
        // A file that is not there is for the child to tell.
        let canonical = std::fs::canonicalize(&entry);
        let key = (canonical.unwrap_or_else(|_| entry.clone()), options.clone());
        let (outcome, shelf) = {
            let mut run = self.run();
            let outcome = run.outcomes.entry(key.clone()).or_default().clone();
            (outcome, run.shelf.clone())
        };
        let request = Request {
            entry,
            shown_from: here,
            options,
            threads: 0,
        };
        let mut fresh = None;
        let kept = outcome.get_or_init(async || {
            let (answer, bundle) = self.ask(request).await?;
            fresh = Some(bundle);
            Ok(shelf.keep(&answer))
        });
        match (kept.await, fresh) {
            (Ok(_), Some(bundle)) => Ok(bundle),
            (Ok(kept), None) => read(&kept.read().map_err(|error| {
                Failure::Stopped(format!("Failed to read the finished bundle: {error}."))
            })?),
            (Err(failure), _) => {
                self.drop_failed(&key, &outcome);
                Err(failure.clone())
            }
        }
    }

    /// Lets the next who asks try again.
    fn drop_failed(&self, key: &Key, outcome: &Arc<Outcome>) {
        let mut run = self.run();
        let current = run.outcomes.get(key);
        if current.is_some_and(|current| Arc::ptr_eq(current, outcome)) {
            run.outcomes.remove(key);
        }
    }

    /// Has a child bundle: its answer, and what that is.
    async fn ask(&self, request: Request) -> Result<(Bytes, Bundle), Failure> {
        let cores = self.cores.take().await;
        let threads = cores.num_permits();
        let request = Request { threads, ..request };
        let started = Instant::now();
        let sent = wire::request(&request).map_err(|_| not_unicode(&request))?;
        let root = request.entry.ancestors().last();
        let directory = root.unwrap_or(&request.entry);
        let program = self.program.as_deref();
        let answer = process::answer(program, directory, &sent, self.time_limit)
            .await
            .map_err(Failure::stopped)?;
        let bundle = read(&answer)?;
        log::debug!(
            "bundled {} on {threads} threads in {} ms: {} modules, {} bytes",
            request.entry.display(),
            started.elapsed().as_millis(),
            bundle.modules.len(),
            answer.len(),
        );
        Ok((answer, bundle))
    }
}

/// What an answer says.
fn read(answer: &Bytes) -> Result<Bundle, Failure> {
    match wire::read_answer(answer) {
        Ok(outcome) => outcome.map_err(Failure::Sources),
        Err(error) => Err(Failure::Stopped(format!(
            "Its answer cannot be read: {error}. The provider's program may have been replaced while it ran; then it helps to run again."
        ))),
    }
}

/// Text is all that crosses to the child.
fn not_unicode(request: &Request) -> Failure {
    let mut paths = [Some(&request.entry), request.options.tsconfig.as_ref()]
        .into_iter()
        .flatten();
    let path = paths
        .find(|path| path.to_str().is_none())
        .unwrap_or(&request.shown_from);
    Failure::Sources(vec![Problem {
        message: format!("The path `{}` is not valid Unicode", path.display()),
        place: None,
        frame: String::new(),
        help: "Rename the file, or the directory on its way whose name is not Unicode.".to_owned(),
    }])
}

/// The cores of the machine, which the children share: each works on as many threads as it holds cores.
struct Cores(Semaphore);

impl Cores {
    fn new(cores: usize) -> Cores {
        Cores(Semaphore::new(cores.max(1)))
    }

    /// Waits for one, and takes some of those that are free then.
    async fn take(&self) -> SemaphorePermit<'_> {
        let first = self.0.acquire().await;
        let mut taken = first.expect("nobody closes it");
        while taken.num_permits() < THREADS
            && let Ok(another) = self.0.try_acquire()
        {
            taken.merge(another);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::StreamExt as _;
    use futures_util::stream::FuturesUnordered;

    use super::*;

    #[cfg(not(feature = "bundler"))]
    #[tokio::test]
    async fn a_build_without_the_bundler_says_so() {
        let (bundler, options) = (Bundler::default(), Options::default());
        let bundle = bundler.bundle(Path::new("worker.ts"), &options).await;
        assert_eq!(bundle, Err(Failure::NoBundler));
    }

    #[tokio::test]
    async fn one_works_on_some_cores_and_many_on_one_each() {
        let cores = Cores::new(6);
        let first = cores.take().await;
        assert_eq!(first.num_permits(), THREADS);
        let second = cores.take().await;
        assert_eq!(second.num_permits(), 2);
        let in_use = Cell::new(6);
        let done = Cell::new(0);
        let work = async || {
            let taken = cores.take().await;
            in_use.set(in_use.get() + taken.num_permits());
            assert!(in_use.get() <= 6);
            tokio::task::yield_now().await;
            in_use.set(in_use.get() - taken.num_permits());
            done.set(done.get() + 1);
        };
        let many: FuturesUnordered<_> = (0..50).map(|_| work()).collect();
        let release = async {
            assert_eq!(done.get(), 0);
            in_use.set(in_use.get() - 2);
            drop(second);
        };
        tokio::join!(biased; many.count(), release);
        assert_eq!(done.get(), 50);
    }
}
