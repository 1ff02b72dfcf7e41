//! An answer that waits to be asked for again.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// An answer at rest, in a file without a name: a plan may hold hundreds of them, and each may be megabytes.
pub enum Kept {
    /// Nobody else has the file. Only one can read it at a time, as it has one position.
    File(Mutex<File>),
    /// Where no file can be written.
    Memory(Bytes),
}

impl Kept {
    /// Lays an answer to rest.
    pub fn new(answer: &Bytes) -> Kept {
        let file = tempfile::tempfile().and_then(|mut file| {
            file.write_all(answer)?;
            Ok(file)
        });
        match file {
            Ok(file) => Kept::File(Mutex::new(file)),
            Err(_) => Kept::Memory(answer.clone()),
        }
    }

    /// The answer.
    pub fn read(&self) -> io::Result<Bytes> {
        match self {
            Kept::Memory(answer) => Ok(answer.clone()),
            Kept::File(file) => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.rewind()?;
                let mut answer = Vec::new();
                file.read_to_end(&mut answer)?;
                Ok(answer.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_can_be_read_as_often_as_it_is_asked_for() {
        let answer = Bytes::from_static(b"\x00answer\xff");
        let kept = Kept::new(&answer);
        assert!(matches!(kept, Kept::File(_)));
        for kept in [&kept, &kept, &Kept::Memory(answer.clone())] {
            assert_eq!(kept.read().expect("it is there"), answer);
        }
    }
}
