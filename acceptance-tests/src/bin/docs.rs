//! Writes `docs/` from the schemas and the examples.

use std::fs;
use std::io;

use acceptance_tests::docs::{pages, repository};

fn main() -> io::Result<()> {
    for page in pages()? {
        let path = repository().join(&page.path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, page.text)?;
    }
    Ok(())
}
