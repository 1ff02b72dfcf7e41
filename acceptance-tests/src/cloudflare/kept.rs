//! The account in a file, so that it outlives the process. Knows neither the API nor the runtime.

use std::fs::File;
use std::io::{self, BufReader, Write as _};
use std::path::{Path, PathBuf};

use super::account::Account;

/// The file of one account.
pub(super) struct Kept {
    folder: PathBuf,
}

const NAME: &str = "account.json";

impl Kept {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// The account as it was last written, if it ever was.
    pub(super) fn read(&self) -> io::Result<Option<Account>> {
        match File::open(self.folder.join(NAME)) {
            Ok(file) => Ok(Some(serde_json::from_reader(BufReader::new(file))?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
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
