//! Writes the pages in `docs/`. Run with `cargo run -p acceptance-tests --bin docs` after a change of a schema or an example.

use std::process::ExitCode;
use std::{fs, io};

use acceptance_tests::docs;

fn main() -> ExitCode {
    match write() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = io::Write::write_fmt(&mut io::stderr(), format_args!("error: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

fn write() -> Result<(), io::Error> {
    for page in docs::pages()? {
        let path = docs::root().join(page.path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, page.text)?;
    }
    Ok(())
}
