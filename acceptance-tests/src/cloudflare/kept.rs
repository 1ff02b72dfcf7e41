//! The account in a file, so that it outlives the process. Knows neither the API nor the runtime.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read as _, Seek as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::account::Account;

/// The file of one account, in a folder that is ours as long as this lives.
pub(super) struct Kept {
    folder: PathBuf,
    /// The operating system lets go of the lock when the process ends, however it ends.
    _lock: File,
}

const NAME: &str = "account.json";
const LOCK: &str = "lock";

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
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                lock.read_to_string(&mut holder)?;
                return Err(NotOurs::InUse(holder.trim().to_owned()));
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        lock.set_len(0)?;
        lock.rewind()?;
        writeln!(lock, "{}", std::process::id())?;
        Ok(Self {
            folder: folder.to_owned(),
            _lock: lock,
        })
    }

    /// The account as it was last written, if it ever was.
    pub(super) fn read(&self) -> io::Result<Option<Account>> {
        let path = self.folder.join(NAME);
        let explained =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        match File::open(&path) {
            Ok(file) => {
                let account = serde_json::from_reader(BufReader::new(file));
                Ok(Some(account.map_err(|error| explained(error.into()))?))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(explained(error)),
        }
    }

    /// Writes the account; the file is complete at every moment, whenever the process is killed.
    pub(super) fn write(&self, account: &Account) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(&serde_json::to_vec(account)?)?;
        file.persist(self.folder.join(NAME))?;
        Ok(())
    }
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
