//! Sources and what they export.

use super::*;

/// The exports of `main.js`, one a word: `Room` a class, `Room?` unknown, `Room:an_object`, with `!` what stops the Worker; `...` for
/// an open list.
fn told(modules: &[(&str, &str)]) -> String {
    let sources: Vec<Source<'_>> = modules
        .iter()
        .map(|(name, text)| Source {
            name,
            content: text.as_bytes(),
            is_es_module: name.ends_with(".js"),
        })
        .collect();
    let exports = exports(modules[0].0, &sources);
    let mut words: Vec<String> = exports
        .iter()
        .map(|Export { name, shape }| match shape {
            Shape::Class => name.clone(),
            Shape::NotClass { what, stops } => {
                format!(
                    "{name}:{}{}",
                    what.replace(' ', "_"),
                    if *stops { "!" } else { "" }
                )
            }
            Shape::Unknown => format!("{name}?"),
        })
        .collect();
    match exports.main() {
        Main::EsModule if exports.is_open() => words.push("...".into()),
        Main::EsModule => {}
        Main::Unread(why) => words.push(format!("unread: {why}")),
        Main::Broken(error) => words.push(format!(
            "{}:{}: {}",
            error.line, error.column, error.message
        )),
        Main::Other => words.push("other".into()),
    }
    words.join(" ")
}

#[track_caller]
fn check(source: &str, expect: &str) {
    assert_eq!(told(&[("main.js", source)]), expect, "{source}");
}

#[test]
fn what_is_declared_is_told() {
    for (source, expect) in [
        ("", ""),
        ("export class Room {}", "Room"),
        ("export default class Room {}", "default"),
        ("export default class {}", "default"),
        ("export default { fetch() {} }", "default:an_object"),
        ("export const Room = class {}", "Room"),
        ("export const Room = (0, class {})", "Room"),
        ("export const Room = a ? class {} : class {}", "Room"),
        ("export const Room = a ? class {} : () => {}", "Room?"),
        ("export let Room = Other = class {}", "Room"),
        ("class A {} export { A as Room }", "Room"),
        ("class A {} export { A as Room, A as Hall }", "Hall Room"),
        ("class A {} export { A as 'a room' }", "a room"),
        ("export { A as Room }; class A {}", "Room"),
        (
            "class A {} const B = A; const C = B; export { C as Room }",
            "Room",
        ),
        ("class A {} export default A;", "default"),
        ("class A {} export { A as default };", "default"),
        ("export const Room = () => {}", "Room:an_arrow_function"),
        (
            "export const Room = async () => {}",
            "Room:an_arrow_function",
        ),
        ("export async function Room() {}", "Room:an_async_function"),
        ("export function* Room() {}", "Room:a_generator_function"),
        ("export const Room = { a: 1 }", "Room:an_object"),
        (
            "export const Room = [], hall = /x/",
            "Room:an_array hall:a_regular_expression",
        ),
        (
            "import { DurableObject } from 'cloudflare:workers'; export class Room extends DurableObject {}",
            "Room",
        ),
    ] {
        check(source, expect);
    }
}

#[test]
fn what_depends_is_unknown() {
    for source in [
        "export const Room = wrap(class {})",
        "export const Room = new Proxy(class {}, {})",
        "export const Room = classes.Room",
        "export const Room = Outer",
        "export const Room = a || class {}",
        "export const Room = await load()",
        "export const { Room } = classes",
        "export const [Room] = classes",
        "export const { a: { Room = 1 } } = classes",
        // A function can be the constructor of a class of the old kind.
        "export function Room() {}",
        "export const Room = function () {}",
        "export { Room } from 'cloudflare:workers'",
        "import { Room } from 'a-package'; export { Room }",
        "import Room from './absent.js'; export { Room }",
        "if (a) { var Room = class {} } export { Room }",
        "var Room = 1; var Room = class {}; export { Room }",
        "const A = B, B = A; export { A as Room }",
    ] {
        check(source, "Room?");
    }
}

#[test]
fn what_is_assigned_later_is_unknown() {
    for assignment in [
        "var init = () => { Room = class {} }",
        "function init() { Room ||= class {} }",
        "Room = 1",
        "[Room] = a",
        "[...Room] = a",
        "({ Room } = a)",
        "({ Room = 1 } = a)",
        "({ a: Room } = a)",
        "({ a: Room = 1 } = a)",
        "for (Room of a) {}",
        "for (Room in a) {}",
        "Room++",
        "--Room",
    ] {
        check(
            &format!("var Room; {assignment}; export {{ Room }}"),
            "Room?",
        );
        check(
            &format!("export let Room = () => {{}}; {assignment}"),
            "Room?",
        );
    }
    check("var Room; f(Room); export { Room }", "Room:undefined!");
    check(
        "export const Room = () => {}; a.Room = 1",
        "Room:an_arrow_function",
    );
    check(
        "var a = 1, Room = 2; export { Room, a }",
        "Room:a_number! a:a_number!",
    );
    check(
        "class Room {} Room = decorate(Room); export { Room }",
        "Room?",
    );
}

#[test]
fn what_stops_a_worker_is_told() {
    for (value, what) in [
        ("1", "a_number"),
        ("-1", "a_number"),
        ("'a'", "a_string"),
        ("`a${b}`", "a_string"),
        ("typeof a", "a_string"),
        ("true", "a_boolean"),
        ("!0", "a_boolean"),
        ("null", "null"),
        ("undefined", "undefined"),
        ("void 0", "undefined"),
        ("1n", "a_bigint"),
        ("Symbol()", "a_symbol"),
        ("Symbol.for('a')", "a_symbol"),
        ("'a' + b", "a_calculated_value"),
        ("a in b", "a_calculated_value"),
    ] {
        check(&format!("export const a = {value}"), &format!("a:{what}!"));
    }
    check("export let a", "a:undefined!");
    check("export * as a from './x.js'", "a:all_exports_of_a_module!");
    check(
        "import * as a from './x.js'; export { a }",
        "a:all_exports_of_a_module!",
    );
    check("class Symbol {} export const a = Symbol()", "a?");
    check("var undefined_ = wrap(); export const a = undefined_", "a?");
}

#[test]
fn exports_are_followed_through_the_modules() {
    let main = |main, others: &[(&'static str, &'static str)], expect| {
        let mut modules = vec![("main.js", main)];
        modules.extend(others);
        assert_eq!(told(&modules), expect, "{modules:?}");
    };
    let room = (
        "room.js",
        "export class Room {} export default class {} export const a = () => {}",
    );
    main("export { Room } from './room.js'", &[room], "Room");
    main(
        "export { Room as Hall, a } from './room.js'",
        &[room],
        "Hall a:an_arrow_function",
    );
    main(
        "export { default as Hall } from './room.js'",
        &[room],
        "Hall",
    );
    main(
        "import { Room } from './room.js'; export { Room as Hall }",
        &[room],
        "Hall",
    );
    main(
        "import Hall from './room.js'; export { Hall }",
        &[room],
        "Hall",
    );
    main(
        "export * from './room.js'",
        &[room],
        "Room a:an_arrow_function",
    );
    main(
        "export * from './room.js'; export const a = class {}",
        &[room],
        "Room a",
    );
    // What a module that was read does not have is an error of its own, but not ours.
    main("export { Hall } from './room.js'", &[room], "Hall?");
    main(
        "export * from './one.js'",
        &[("one.js", "export * from './room.js'"), room],
        "Room a:an_arrow_function",
    );
    main(
        "export * from './one.js'; export * from './room.js'",
        &[("one.js", "export class Room {} export class One {}"), room],
        "One Room? a:an_arrow_function",
    );
    main(
        "export * from './lib/one.js'",
        &[
            (
                "lib/one.js",
                "export { Room } from '../room.js'; export * from './two.js'",
            ),
            ("lib/two.js", "export class Two {}"),
            room,
        ],
        "Room Two",
    );
    // Who turns in a circle is not followed for ever.
    main(
        "export * from './one.js'",
        &[("one.js", "export * from './main.js'; export class One {}")],
        "One",
    );
    main(
        "export { a } from './one.js'",
        &[("one.js", "export { a } from './main.js'")],
        "a?",
    );
    // What cannot be read may have more.
    main(
        "export * from 'cloudflare:workers'; export class Room {}",
        &[],
        "Room ...",
    );
    main("export * from './absent.js'", &[], "...");
    main("export * from '../../absent.js'", &[], "...");
    main(
        "export * from './broken.js'",
        &[("broken.js", "export {")],
        "...",
    );
    main(
        "export * from './text.txt'",
        &[("text.txt", "export class Room {}")],
        "...",
    );
    main(
        "export { Room } from './text.txt'",
        &[("text.txt", "export class Room {}")],
        "Room?",
    );
}

#[test]
fn what_is_no_module_is_told_with_its_place() {
    check(
        "export class Room {\n  fetch( {\n}",
        "3:2: Expected `)` but found `EOF`",
    );
    check("const \u{e4}\u{f6} = 1; }", "1:15: Unexpected token");
    check(
        "class Room {} export { Room, Room }",
        "1:24: Duplicated export 'Room'",
    );
    check(
        "interface Room {}",
        "1:10: Expected a semicolon or an implicit semicolon after a statement, but found none",
    );
    assert_eq!(told(&[("main.py", "class Room")]), "other");
    assert!(exports("absent.js", &[]).exports_class("Room") == ClassExport::Unknown);
}

#[test]
fn whether_a_class_is_exported_is_answered() {
    let read = |source: &str, is_es_module| {
        exports(
            "main.js",
            &[Source {
                name: "main.js",
                content: source.as_bytes(),
                is_es_module,
            }],
        )
    };
    let closed = read(
        "export class Room {} export const a = 1, b = () => {}, c = f(); export default {}",
        true,
    );
    assert_eq!(closed.exports_class("Room"), ClassExport::Fine);
    assert_eq!(closed.exports_class("Hall"), ClassExport::Missing);
    assert_eq!(
        closed.exports_class("b"),
        ClassExport::NotClass("an arrow function")
    );
    assert_eq!(closed.exports_class("c"), ClassExport::Unknown);
    assert_eq!(closed.names().collect::<Vec<_>>(), ["Room", "a", "b", "c"]);
    assert_eq!(closed.that_stop().collect::<Vec<_>>(), [("a", "a number")]);
    assert_eq!(closed.has_default(), Some(true));
    assert!(closed.is_es_module() && !closed.is_open());
    let open = read("export class Room {} export * from 'elsewhere'", true);
    assert_eq!(open.exports_class("Hall"), ClassExport::Unknown);
    assert_eq!(open.has_default(), Some(false));
    let other = read("module.exports = {}", false);
    assert_eq!(other.exports_class("Hall"), ClassExport::Unknown);
    assert_eq!((other.has_default(), other.is_es_module()), (None, false));
}

/// Everything that makes a parser recurse: what opens, what is innermost, what closes.
const NESTING: [(&str, &str, &str); 43] = [
    ("x = [", "", "]"),
    ("x = (", "a", ")"),
    ("x = {a:", "1", "}"),
    ("f(", "", ")"),
    ("a[", "1", "]"),
    ("{", "", "}"),
    ("a:", "b", ""),
    ("x = (function(){", "", "})"),
    ("x = ()=>{", "", "}"),
    ("x = a=>", "1", ""),
    ("x = async a=>", "1", ""),
    ("x = (a=", "1", ")=>1"),
    ("x = (a=(", "1", "))"),
    ("x = (a,", "1", ")"),
    ("x = async(", "1", ")"),
    ("x = a?(b):c=>", "1", ""),
    ("x = `${", "1", "}`"),
    ("a`${", "1", "}`"),
    ("x = !", "a", ""),
    ("x = - ", "a", ""),
    ("x = typeof ", "a", ""),
    ("x = await ", "a", ""),
    ("x = new ", "a", ""),
    ("x = new (", "a", ")"),
    ("x = a?b:", "c", ""),
    ("x = a?", "b", ":c"),
    ("a=", "b", ""),
    ("a**", "b", ""),
    ("if(a)", "b", ""),
    ("if(a)b;else ", "c", ""),
    ("if(a){b}else ", "c", ""),
    ("if(a)b,c;else ", "d", ""),
    ("if(a)b\nelse ", "c", ""),
    ("if(a)do b;while(c)else ", "d", ""),
    ("for(;;)", "a", ""),
    ("for(;;){", "a", "}"),
    ("do ", "a", ";while(b)"),
    ("while(a)", "b", ""),
    ("x = class A extends ", "B", "{}"),
    ("x = class{a=", "1", "}"),
    ("x = class extends (()=>{return ", "1", "}){}"),
    ("try{", "", "}finally{}"),
    ("switch(a){case 1:", "", "}"),
];

fn nested((open, innermost, close): (&str, &str, &str), times: usize) -> String {
    let (start, open) = match open.strip_prefix("x = ") {
        Some(open) => ("x = ", open),
        None => ("", open),
    };
    let (opened, closed) = (open.repeat(times), close.repeat(times));
    format!("{start}{opened}{innermost}{closed};export class Room {{}}")
}

#[test]
fn a_source_that_nests_endlessly_is_not_read() {
    for kind in NESTING {
        let source = nested(kind, (10 << 20) / (kind.0.len() + kind.2.len()));
        assert_eq!(
            told(&[("main.js", &source)]),
            "unread: it nests too deeply",
            "{kind:?}"
        );
    }
}

#[test]
fn what_is_just_not_too_deep_is_read() {
    for kind in NESTING {
        let (mut fits, mut exceeds) = (1, DEPTH);
        while exceeds - fits > 1 {
            let middle = (fits + exceeds) / 2;
            match depth::exceeds(nested(kind, middle).as_bytes(), DEPTH) {
                true => exceeds = middle,
                false => fits = middle,
            }
        }
        assert!(fits > DEPTH / 8, "{kind:?}: {fits}");
        assert_eq!(
            told(&[("main.js", &nested(kind, fits))]),
            "Room",
            "{kind:?}: {fits}"
        );
    }
}

#[test]
fn what_is_long_but_flat_is_read() {
    for part in [
        "a+",
        "a||b&&",
        "a().b.",
        "a??",
        "a,",
        "a=b,",
        "a?b:c,",
        "a;",
        "a=b;",
        "a=b\n",
        "f({a:1,b:[2]});",
        "if(a){b}else if(c){d}",
        "if(a)b;else c;",
        "var a=1;",
        "const f_=async a=>b=>c;",
        "function f(){return 1}",
        "switch(a){case 1:case 2:b}",
        "a=/[/'\"`(]/;",
        "a=(b)/2;c=\"(\";",
        "a='(';",
        "a=`(${b}(`;",
        "/*(*/a;//(\n",
        "a=1./2;b=as/c;c='/(';",
        "for(a of b)c=d;",
        "do{a}while(b);",
    ] {
        let mut source = String::new();
        for at in 0..20_000 {
            source.push_str(&part.replace('_', &at.to_string()));
        }
        source.push_str("a;export class Room {}");
        assert_eq!(told(&[("main.js", &source)]), "Room", "{part}");
    }
}
