//! The account in files, so that it outlives the process: one for the account, and one for each different code, which
//! is written once. Knows neither the API nor the runtime.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read as _, Seek as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::account::Account;
use super::runtime::ModuleFile;

/// The files of one account, in a folder that is ours as long as this lives.
pub(super) struct Kept {
    folder: PathBuf,
    /// The hashes of the code that has a file.
    written: Mutex<BTreeSet<String>>,
    /// The operating system lets go of the lock when everybody ends who holds it, however they end.
    lock: Arc<File>,
}

const NAME: &str = "account.json";
const CODE: &str = "code";
const LOCK: &str = "lock";

/// How long a folder may be in use by a process that is ending or just starting.
const PATIENCE: Duration = Duration::from_millis(500);

/// Why a folder cannot be used.
pub(super) enum NotOurs {
    /// It cannot be created or written.
    Io(io::Error),
    /// Another process uses it; its id, if it could be read.
    InUse(String),
}

impl From<io::Error> for NotOurs {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Kept {
    /// Takes the folder, and creates it if it is not there. What it holds is nobody else's business.
    pub(super) fn open(folder: &Path) -> Result<Self, NotOurs> {
        if !folder.exists() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?;
            // It may well be in a repository, and there are secrets in it.
            fs::write(folder.join(".gitignore"), "*\n")?;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut lock = options.open(folder.join(LOCK))?;
        let began = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                // A process that somebody is just starting holds a copy of the lock until it runs its program.
                Err(TryLockError::WouldBlock) if began.elapsed() < PATIENCE => {
                    std::thread::sleep(PATIENCE / 50);
                }
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    lock.read_to_string(&mut holder)?;
                    return Err(NotOurs::InUse(holder.trim().to_owned()));
                }
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
        }
        lock.set_len(0)?;
        lock.rewind()?;
        writeln!(lock, "{}", std::process::id())?;
        Ok(Self {
            folder: folder.to_owned(),
            written: Mutex::default(),
            lock: Arc::new(lock),
        })
    }

    /// The lock, for those who write data on our behalf.
    pub(super) fn lock(&self) -> Arc<File> {
        Arc::clone(&self.lock)
    }

    /// The account as it was last written, if it ever was. Code that it has no version of any more is removed.
    pub(super) fn read(&self) -> io::Result<Option<Account>> {
        let path = self.folder.join(NAME);
        let explained = in_file(&path);
        let mut account: Account = match File::open(&path) {
            Ok(file) => serde_json::from_reader(BufReader::new(file))
                .map_err(|error| explained(error.into()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(explained(error)),
        };
        let mut read: BTreeMap<String, Arc<[ModuleFile]>> = BTreeMap::new();
        account.try_for_each_code(|code| {
            if !read.contains_key(&code.hash) {
                let path = self.code_file(&code.hash);
                let explained = in_file(&path);
                let file = File::open(&path).map_err(&explained)?;
                let modules = serde_json::from_reader(BufReader::new(file))
                    .map_err(|error| explained(error.into()))?;
                read.insert(code.hash.clone(), modules);
            }
            code.modules = read[&code.hash].clone();
            Ok::<_, io::Error>(())
        })?;
        fs::create_dir_all(self.folder.join(CODE))?;
        for entry in fs::read_dir(self.folder.join(CODE))? {
            let entry = entry?;
            let name = entry.file_name();
            if !name.to_str().is_some_and(|hash| read.contains_key(hash)) {
                fs::remove_file(entry.path())?;
            }
        }
        *self.written.lock().expect("no holder panics") = read.into_keys().collect();
        Ok(Some(account))
    }

    /// Writes the account; the files are complete at every moment, whenever the process is killed.
    pub(super) fn write(&self, account: &Account) -> io::Result<()> {
        fs::create_dir_all(self.folder.join(CODE))?;
        let mut written = self.written.lock().expect("no holder panics");
        for code in account.codes() {
            if !written.contains(&code.hash) {
                let modules = serde_json::to_vec(&code.modules)?;
                self.replace(&self.code_file(&code.hash), &modules)?;
                written.insert(code.hash.clone());
            }
        }
        self.replace(&self.folder.join(NAME), &serde_json::to_vec(account)?)
    }

    fn code_file(&self, hash: &str) -> PathBuf {
        self.folder.join(CODE).join(hash)
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(content)?;
        file.persist(path)?;
        Ok(())
    }
}

/// Says in which file something went wrong.
fn in_file(path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_used_by_one_at_a_time() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("new/state");
        let Ok(kept) = Kept::open(&folder) else {
            panic!("the folder is ours");
        };
        let Err(NotOurs::InUse(holder)) = Kept::open(&folder) else {
            panic!("the folder is in use");
        };
        assert_eq!(holder, std::process::id().to_string());
        drop(kept);
        assert!(Kept::open(&folder).is_ok());
    }
}
