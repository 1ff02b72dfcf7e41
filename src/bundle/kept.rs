//! Answers that wait to be asked for again. A plan may hold hundreds of them, and each may be megabytes, so they rest in a file.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// One file for all answers of a run, without a name: it is gone when nobody holds it any more, however that comes.
#[derive(Default)]
pub struct Shelf(Mutex<Option<File>>);

/// An answer at rest.
pub enum Kept {
    /// In a file, with its place there.
    File {
        shelf: Arc<Shelf>,
        at: u64,
        length: usize,
    },
    /// Where no file can be written.
    Memory(Bytes),
}

impl Shelf {
    /// Lays an answer to rest.
    pub fn keep(self: &Arc<Shelf>, answer: &Bytes) -> Kept {
        match self.append(answer) {
            Ok(at) => Kept::File {
                shelf: self.clone(),
                at,
                length: answer.len(),
            },
            Err(_) => Kept::Memory(answer.clone()),
        }
    }

    fn file(&self) -> MutexGuard<'_, Option<File>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes behind everything else, and says where that is.
    fn append(&self, answer: &[u8]) -> io::Result<u64> {
        let mut held = self.file();
        let file = match &mut *held {
            Some(file) => file,
            none => none.insert(tempfile::tempfile()?),
        };
        let at = file.seek(SeekFrom::End(0))?;
        file.write_all(answer)?;
        Ok(at)
    }

    fn read(&self, at: u64, length: usize) -> io::Result<Bytes> {
        let mut held = self.file();
        let file = held.as_mut().ok_or(io::ErrorKind::NotFound)?;
        file.seek(SeekFrom::Start(at))?;
        let mut answer = vec![0; length];
        file.read_exact(&mut answer)?;
        Ok(answer.into())
    }
}

impl Kept {
    /// The answer.
    pub fn read(&self) -> io::Result<Bytes> {
        match self {
            Kept::File { shelf, at, length } => shelf.read(*at, *length),
            Kept::Memory(answer) => Ok(answer.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_can_be_read_in_any_order_and_as_often_as_they_are_asked_for() {
        let shelf = Arc::new(Shelf::default());
        let answers = [&b"\x00first\xff"[..], b"", b"third"].map(Bytes::from_static);
        let mut kept: Vec<Kept> = answers.iter().map(|answer| shelf.keep(answer)).collect();
        assert!(kept.iter().all(|it| matches!(it, Kept::File { .. })));
        kept.push(Kept::Memory(answers[0].clone()));
        for at in [2, 0, 1, 0, 2, 3] {
            assert_eq!(kept[at].read().expect("it is there"), answers[at % 3]);
        }
    }
}
