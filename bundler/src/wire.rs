//! How a request and its answer cross from process to process: a head in JSON, then the bodies of the modules as they are.
//!
//! A frame is a mark, the length of the head, the head, and the bodies, whose lengths the head knows.

use std::io::{Read, Write};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::bundle::{BuiltinImport, Bundle, Module, ModuleKind, Problem, Request};

/// Begins every frame: what it is, and the version of the format.
const MARK: [u8; 8] = *b"bundle\x00\x01";

/// Where the head begins.
const HEAD: usize = MARK.len() + 4;

/// How long a request may be: as the messages that its options come in.
const LONGEST_REQUEST: u64 = 256 << 20;

/// Why a frame cannot be read.
#[derive(Debug, Error)]
pub enum Unreadable {
    /// It does not begin as a frame does.
    #[error("it does not begin with the mark")]
    Foreign,
    /// It is shorter or longer than it says.
    #[error("its length is wrong")]
    Length,
    /// It holds neither a module nor a problem.
    #[error("it says nothing")]
    Empty,
    /// The head is not what is expected.
    #[error("its head cannot be read: {0}")]
    Head(#[from] serde_json::Error),
    /// Reading failed.
    #[error("reading failed: {0}")]
    Io(#[from] std::io::Error),
}

/// What a bundling came to.
pub type Outcome = Result<Bundle, Vec<Problem>>;

#[derive(Serialize, Deserialize)]
enum AnswerHead {
    Bundle {
        modules: Vec<ModuleHead>,
        builtins: Vec<BuiltinImport>,
        warnings: Vec<Problem>,
    },
    Problems(Vec<Problem>),
}

#[derive(Serialize, Deserialize)]
struct ModuleHead {
    name: String,
    kind: ModuleKind,
    length: u64,
}

fn head(head: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut frame = MARK.to_vec();
    frame.extend([0; 4]);
    serde_json::to_writer(&mut frame, head)?;
    let length = u32::try_from(frame.len() - HEAD).unwrap_or(u32::MAX);
    frame[MARK.len()..HEAD].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}

/// The head of a frame and where its bodies begin.
fn read_head<T: DeserializeOwned>(frame: &[u8]) -> Result<(T, usize), Unreadable> {
    let rest = frame.strip_prefix(&MARK).ok_or(Unreadable::Foreign)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(Unreadable::Length)?;
    let length = u32::from_be_bytes(*length) as usize;
    let head = rest.get(..length).ok_or(Unreadable::Length)?;
    Ok((serde_json::from_slice(head)?, HEAD + length))
}

/// A request as a frame.
///
/// # Errors
/// A path that is not Unicode cannot cross.
pub fn request(request: &Request) -> Result<Vec<u8>, serde_json::Error> {
    head(request)
}

/// Reads a request, and nothing behind it.
///
/// # Errors
/// What comes is no request.
pub fn read_request(mut from: impl Read) -> Result<Request, Unreadable> {
    let mut frame = vec![0; HEAD];
    from.read_exact(&mut frame)?;
    let length = frame.strip_prefix(&MARK).ok_or(Unreadable::Foreign)?;
    let length = length.first_chunk::<4>().ok_or(Unreadable::Length)?;
    let length = u64::from(u32::from_be_bytes(*length));
    if length > LONGEST_REQUEST {
        return Err(Unreadable::Length);
    }
    from.take(length).read_to_end(&mut frame)?;
    Ok(read_head(&frame)?.0)
}

/// Writes what a bundling came to.
///
/// # Errors
/// The reader is gone.
pub fn write_answer(outcome: &Outcome, mut to: impl Write) -> std::io::Result<()> {
    let answer = match outcome {
        Ok(bundle) => AnswerHead::Bundle {
            modules: bundle.modules.iter().map(ModuleHead::of).collect(),
            builtins: bundle.builtins.clone(),
            warnings: bundle.warnings.clone(),
        },
        Err(problems) => AnswerHead::Problems(problems.clone()),
    };
    to.write_all(&head(&answer)?)?;
    for module in outcome.iter().flat_map(|bundle| &bundle.modules) {
        to.write_all(&module.body)?;
    }
    to.flush()
}

impl ModuleHead {
    fn of(module: &Module) -> ModuleHead {
        ModuleHead {
            name: module.name.clone(),
            kind: module.kind,
            length: module.body.len() as u64,
        }
    }
}

/// Reads what a bundling came to, without copying the bodies.
///
/// # Errors
/// What came is no answer, or not all of one.
pub fn read_answer(frame: &Bytes) -> Result<Outcome, Unreadable> {
    let (answer, mut at) = read_head::<AnswerHead>(frame)?;
    let (heads, builtins, warnings) = match answer {
        AnswerHead::Problems(problems) if problems.is_empty() => return Err(Unreadable::Empty),
        AnswerHead::Problems(_) if at != frame.len() => return Err(Unreadable::Length),
        AnswerHead::Problems(problems) => return Ok(Err(problems)),
        AnswerHead::Bundle {
            modules,
            builtins,
            warnings,
        } => (modules, builtins, warnings),
    };
    let mut modules = Vec::new();
    for head in heads {
        let length = usize::try_from(head.length).map_err(|_| Unreadable::Length)?;
        let end = at.checked_add(length).ok_or(Unreadable::Length)?;
        if end > frame.len() {
            return Err(Unreadable::Length);
        }
        modules.push(Module {
            name: head.name,
            kind: head.kind,
            body: frame.slice(at..end),
        });
        at = end;
    }
    if modules.is_empty() {
        return Err(Unreadable::Empty);
    }
    if at != frame.len() {
        return Err(Unreadable::Length);
    }
    Ok(Ok(Bundle {
        modules,
        builtins,
        warnings,
    }))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::collection::{btree_map, vec};
    use proptest::option;
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::bundle::{Options, Place};

    fn bundle() -> Bundle {
        let module = |name: &str, kind, body: &'static [u8]| Module {
            name: name.to_owned(),
            kind,
            body: Bytes::from_static(body),
        };
        Bundle {
            modules: vec![
                module("worker.js", ModuleKind::EsModule, b"export default 1"),
                module("0-a.bin", ModuleKind::Data, b"\x00\xff"),
                module("1-empty.txt", ModuleKind::Text, b""),
            ],
            builtins: vec![BuiltinImport {
                module: "node:fs".to_owned(),
                importer: "a.ts".to_owned(),
            }],
            warnings: Vec::new(),
        }
    }

    fn written(outcome: &Outcome) -> Bytes {
        let mut frame = Vec::new();
        write_answer(outcome, &mut frame).expect("a vector takes everything");
        frame.into()
    }

    #[test]
    fn a_request_is_read_and_what_follows_is_left() {
        let sent = Request {
            entry: "/a/worker.ts".into(),
            threads: 3,
            ..Request::default()
        };
        let mut stream = request(&sent).expect("it is Unicode");
        stream.extend(b"rest");
        let mut stream = stream.as_slice();
        assert_eq!(read_request(&mut stream).expect("it was written so"), sent);
        assert_eq!(stream, b"rest");
    }

    #[test]
    fn no_part_of_an_answer_passes_for_the_whole() {
        let problem = Problem {
            message: "Unexpected token".to_owned(),
            place: None,
            frame: String::new(),
            help: String::new(),
        };
        for whole in [written(&Ok(bundle())), written(&Err(vec![problem]))] {
            for length in 0..whole.len() {
                assert!(read_answer(&whole.slice(..length)).is_err(), "{length}");
            }
            let longer: Bytes = [&whole[..], b"x"].concat().into();
            assert!(read_answer(&longer).is_err());
        }
    }

    #[test]
    fn an_answer_that_says_nothing_is_none() {
        let modules = Vec::new();
        for outcome in [
            Err(Vec::new()),
            Ok(Bundle {
                modules,
                ..bundle()
            }),
        ] {
            let read = read_answer(&written(&outcome));
            assert!(matches!(read, Err(Unreadable::Empty)), "{read:?}");
        }
    }

    #[test]
    fn a_head_that_promises_more_than_comes_is_refused() {
        for length in ["18446744073709551615", "9223372036854775808", "-1", "1e99"] {
            let head = format!(
                r#"{{"Bundle":{{"modules":[{{"name":"a","kind":"Data","length":1}},{{"name":"b","kind":"Data","length":{length}}}],"builtins":[],"warnings":[]}}}}"#
            );
            let length = u32::try_from(head.len()).expect("it is short");
            let frame = [&MARK[..], &length.to_be_bytes(), head.as_bytes(), b"x"].concat();
            assert!(read_answer(&frame.into()).is_err(), "{head}");
        }
    }

    #[test]
    fn what_is_no_request_is_refused_before_it_is_kept() {
        let huge = [&MARK[..], &u32::MAX.to_be_bytes()].concat();
        for stream in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", &MARK, &huge] {
            assert!(read_request(stream).is_err());
        }
    }

    fn kinds() -> impl Strategy<Value = ModuleKind> {
        prop_oneof![
            Just(ModuleKind::EsModule),
            Just(ModuleKind::Wasm),
            Just(ModuleKind::Text),
            Just(ModuleKind::Data),
            Just(ModuleKind::SourceMap),
        ]
    }

    fn modules() -> impl Strategy<Value = Module> {
        (any::<String>(), kinds(), vec(any::<u8>(), 0..64)).prop_map(|(name, kind, body)| Module {
            name,
            kind,
            body: body.into(),
        })
    }

    fn problems() -> impl Strategy<Value = Problem> {
        let place = any::<(String, u32, u32)>();
        let place = place.prop_map(|(file, line, column)| Place { file, line, column });
        (any::<[String; 3]>(), option::of(place)).prop_map(|([message, frame, help], place)| {
            Problem {
                message,
                place,
                frame,
                help,
            }
        })
    }

    fn outcomes() -> impl Strategy<Value = Outcome> {
        let builtin = any::<(String, String)>();
        let builtin = builtin.prop_map(|(module, importer)| BuiltinImport { module, importer });
        let bundle = (
            vec(modules(), 1..4),
            vec(builtin, 0..3),
            vec(problems(), 0..3),
        );
        prop_oneof![
            bundle.prop_map(|(modules, builtins, warnings)| Ok(Bundle {
                modules,
                builtins,
                warnings,
            })),
            vec(problems(), 1..3).prop_map(Err),
        ]
    }

    fn requests() -> impl Strategy<Value = Request> {
        let texts = || vec(any::<String>(), 0..3);
        let options = (
            any::<(bool, bool)>(),
            texts(),
            btree_map(any::<String>(), any::<String>(), 0..3),
            option::of(texts()),
            option::of(any::<String>()),
        );
        (any::<(String, String, usize)>(), options).prop_map(
            |(
                (entry, shown_from, threads),
                ((minify, source_map), external, define, conditions, tsconfig),
            )| Request {
                entry: entry.into(),
                shown_from: shown_from.into(),
                threads,
                options: Options {
                    minify,
                    source_map,
                    external,
                    define,
                    conditions,
                    tsconfig: tsconfig.map(PathBuf::from),
                },
            },
        )
    }

    proptest! {
        #[test]
        fn answers_come_back_as_they_went(outcome in outcomes()) {
            prop_assert_eq!(read_answer(&written(&outcome)).expect("it was written so"), outcome);
        }

        #[test]
        fn requests_come_back_as_they_went(sent in requests()) {
            let frame = request(&sent).expect("it is Unicode");
            prop_assert_eq!(read_request(frame.as_slice()).expect("it was written so"), sent);
        }

        #[test]
        fn whatever_comes_is_read_or_refused(
            outcome in outcomes(),
            changes in vec(any::<(Index, u8)>(), 0..4),
            end in any::<Index>(),
        ) {
            let mut frame = written(&outcome).to_vec();
            for (at, byte) in changes {
                let at = at.index(frame.len());
                frame[at] = byte;
            }
            frame.truncate(end.index(frame.len() + 1));
            let _ = read_request(frame.as_slice());
            if let Ok(Ok(bundle)) = read_answer(&frame.clone().into()) {
                let bodies: usize = bundle.modules.iter().map(|module| module.body.len()).sum();
                prop_assert!(bodies < frame.len());
            }
        }
    }
}
