//! The account in files, so that it outlives the process: one for the account, and one for each different code, which
//! is written once. Knows neither the API nor the runtime.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::account::Account;
use super::runtime::ModuleFile;

/// The files of one account.
pub(super) struct Kept {
    folder: PathBuf,
    /// The hashes of the code that has a file.
    written: Mutex<BTreeSet<String>>,
}

const NAME: &str = "account.json";
const CODE: &str = "code";

impl Kept {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            written: Mutex::default(),
        }
    }

    /// The account as it was last written, if it ever was. Code that it has no version of any more is removed.
    pub(super) fn read(&self) -> io::Result<Option<Account>> {
        let mut account: Account = match File::open(self.folder.join(NAME)) {
            Ok(file) => serde_json::from_reader(BufReader::new(file))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut read: BTreeMap<String, Arc<[ModuleFile]>> = BTreeMap::new();
        account.try_for_each_code(|code| {
            if !read.contains_key(&code.hash) {
                let file = File::open(self.code_file(&code.hash))?;
                let modules = serde_json::from_reader(BufReader::new(file))?;
                read.insert(code.hash.clone(), modules);
            }
            code.modules = read[&code.hash].clone();
            Ok::<_, io::Error>(())
        })?;
        fs::create_dir_all(self.folder.join(CODE))?;
        for entry in fs::read_dir(self.folder.join(CODE))? {
            let entry = entry?;
            if !entry
                .file_name()
                .to_str()
                .is_some_and(|hash| read.contains_key(hash))
            {
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
