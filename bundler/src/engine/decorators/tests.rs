//! scratch
#[test]
fn scratch() {
    for file in std::fs::read_dir("/tmp/decorators/in").unwrap() {
        let path = file.unwrap().path();
        let code = std::fs::read_to_string(&path).unwrap();
        let out = match super::lower(&code) {
            Ok(Some(it)) => {
                let c = it.code();
                let _ = it.map();
                c
            }
            Ok(None) => "NONE\n".into(),
            Err(r) => r
                .iter()
                .map(|r| format!("//REFUSED {} {}\n// {}\n", r.at, r.message, r.help))
                .collect(),
        };
        std::fs::write(
            std::path::Path::new("/tmp/decorators/out").join(path.file_name().unwrap()),
            out,
        )
        .unwrap();
    }
}
