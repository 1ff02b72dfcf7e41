//! What becomes of decorators, by text. That the text does the same is tested where it runs.

use oxc_span::SourceType;
use rolldown_sourcemap::SourceMap;

use super::lower;
use crate::bundle::{Bundle, Options, Problem, Request};

/// The module without what is added at its end.
fn lowered(code: &str) -> String {
    let lowered = match lower(code) {
        Ok(Some(lowered)) => lowered.code(),
        Ok(None) => panic!("untouched: {code}"),
        Err(refusals) => panic!("{refusals:?}"),
    };
    let (module, runtime) = lowered
        .split_once("\nfunction __decorators")
        .expect("the runtime part is there");
    assert_eq!(runtime.matches("_apply(target, list) {").count(), 1);
    module.to_owned()
}

fn refused(code: &str) -> Vec<String> {
    match lower(code) {
        Err(refusals) => refusals.into_iter().map(|it| it.message).collect(),
        Ok(_) => panic!("not refused: {code}"),
    }
}

#[test]
fn decorators_are_evaluated_in_a_computed_name_and_applied_in_a_static_block() {
    assert_eq!(
        lowered("class Chat { @log(\"a\") static say() {} }"),
        "let __decorators_1; class Chat { static { __decorators_apply(this, __decorators_1); } \
         ;static [__decorators_note(__decorators_1 = [], [log(\"a\")], \"say\", \"method\", true)]() {} }"
    );
}

#[test]
fn instances_run_initializers_before_their_fields() {
    assert_eq!(
        lowered("class Chat { x = 1; @a @b get say() {} }"),
        "let __decorators_1; class Chat { static { __decorators_apply(this, __decorators_1); } \
         #__decorators = __decorators_start(this, __decorators_1); x = 1; \
         ;get [__decorators_note(__decorators_1 = [], [a, b], \"say\", \"getter\", false)]() {} }"
    );
}

#[test]
fn decorators_see_the_name_that_was_kept() {
    assert_eq!(
        lowered("var C = class { static { __name(this, \"Chat\"); } @a static m() {} };"),
        "let __decorators_1; var C = class { static { __name(this, \"Chat\"); } static { __decorators_apply(this, __decorators_1); } \
         ;static [__decorators_note(__decorators_1 = [], [a], \"m\", \"method\", true)]() {} };"
    );
}

#[test]
fn names_keep_their_meaning() {
    for (member, head) in [
        ("@a 'b c'() {}", "[N([a], 'b c', \"method\", false)]() {}"),
        ("@a 12() {}", "[N([a], 12, \"method\", false)]() {}"),
        ("@a [key()]() {}", "[N([a], key(), \"method\", false)]() {}"),
        (
            "@a async m() {}",
            "async [N([a], \"m\", \"method\", false)]() {}",
        ),
        ("@a *m() {}", "*[N([a], \"m\", \"method\", false)]() {}"),
        (
            "@a set m(v) {}",
            "set [N([a], \"m\", \"setter\", false)](v) {}",
        ),
        ("@a get() {}", "[N([a], \"get\", \"method\", false)]() {}"),
    ] {
        let text = lowered(&format!("class C {{ {member} }}"));
        let text = text.replace("__decorators_note(__decorators_1 = [], ", "N(");
        assert!(text.ends_with(&format!(" ;{head} }}")), "{text}");
    }
}

#[test]
fn a_decorator_that_is_a_method_keeps_its_object() {
    let text = lowered("class C { @a.b.c @(d[e]) @f.g() m() {} }");
    assert!(
        text.contains("[__decorators_bound(a.b, \"c\"), (__decorators_bound(d, e)), f.g()]"),
        "{text}"
    );
}

#[test]
fn every_evaluation_of_a_class_has_a_list_of_its_own() {
    for (code, begin, end) in [
        (
            "for (;;) { class C { @a m() {} } }",
            "for (;;) { let __decorators_1; class C {",
            "} }",
        ),
        (
            "for (;;) f(class { @a m() {} });",
            "for (;;) { let __decorators_1; f(class {",
            "}); }",
        ),
        (
            "const f = () => class { @a m() {} };",
            "const f = () => { let __decorators_1; return class {",
            "}; };",
        ),
        (
            "switch (x) { case 1: class C { @a m() {} } }",
            "switch (x) { case 1: let __decorators_1; class C {",
            "} }",
        ),
        (
            "export default class { @a m() {} }",
            "let __decorators_1; export default class {",
            "} }",
        ),
        (
            "f(class { @a m() {} }, class { @a m() {} });",
            "let __decorators_1, __decorators_2; f(class {",
            "});",
        ),
    ] {
        let text = lowered(code);
        assert!(text.starts_with(begin) && text.ends_with(end), "{text}");
    }
}

#[test]
fn lines_stay_where_they_are() {
    let code = "class C {\n  x = 1\n  @a({\n    b: 1,\n  })\n  // why\n  @c\n  async /* how */ m\n  (\n  ) {\n    return 1;\n  }\n}\nlast();";
    let text = lowered(code);
    assert_eq!(text.lines().count(), code.lines().count());
    for line in ["    b: 1,", "    return 1;", "last();"] {
        assert_eq!(
            text.lines().position(|it| it == line),
            code.lines().position(|it| it == line),
            "{text}"
        );
    }
}

#[test]
fn the_map_leads_back_to_the_same_word() {
    let code = "/*é*/ class C { x = 1; @log(first) async talk() { return second; } }\nthird();";
    let Ok(Some(lowered)) = lower(code) else {
        panic!("not lowered");
    };
    let (text, map) = (lowered.code(), lowered.map());
    for word in ["first", "second", "third"] {
        let (line, column) = position(&text, word);
        assert_eq!(origin(&map, line, column), position(code, word), "{word}");
    }
}

fn position(text: &str, word: &str) -> (u32, u32) {
    let before = &text[..text.find(word).expect("the word is there")];
    let line = before.matches('\n').count();
    let column = before
        .rsplit('\n')
        .next()
        .map_or(0, |it| it.encode_utf16().count());
    (line as u32, column as u32)
}

fn origin(map: &SourceMap, line: u32, column: u32) -> (u32, u32) {
    let token = map
        .get_tokens()
        .filter(|it| it.get_dst_line() == line && it.get_dst_col() <= column)
        .last()
        .expect("the line is mapped");
    (
        token.get_src_line(),
        token.get_src_col() + column - token.get_dst_col(),
    )
}

#[test]
fn names_that_are_taken_are_not_used() {
    let Ok(Some(lowered)) = lower("let __decorators, __decorators__1; class C { @a m() {} }")
    else {
        panic!("not lowered");
    };
    assert!(lowered.code().contains("function __decorators____apply("));
}

#[test]
fn code_without_decorators_and_code_that_is_none_stay_as_they_are() {
    for code in [
        "",
        "class C {}",
        "f(\"@\", \"@a/b\") // @a m() {}",
        "/** @a m() {} */ f(/* @__PURE__ */ g());",
        "const accessor = 1;",
        "class C { @a m() {",
    ] {
        assert!(matches!(lower(code), Ok(None)), "{code}");
    }
}

#[test]
fn what_cannot_be_lowered_is_named() {
    assert_eq!(
        refused(
            "@tag('x') class Chat { @observe text = 1; @lib.log(1) #send() {} @a @b accessor open = 1; static accessor all; @c constructor() {} @ok m() {} }"
        ),
        [
            "The decorator `@tag` of class `Chat` is not supported",
            "The decorator `@observe` of the field `text` of class `Chat` is not supported",
            "The decorator `@lib.log` of the private member `#send` of class `Chat` is not supported",
            "The keyword `accessor` in front of `open` of class `Chat` is not supported",
            "The keyword `accessor` in front of `all` of class `Chat` is not supported",
            "The decorator `@c` of the constructor `constructor` of class `Chat` is not supported",
        ]
    );
    for code in [
        "function f(x = class Chat { @a m() {} }) {}",
        "class D { x = class Chat { @a m() {} } }",
        "while (f(class Chat { @a m() {} })) ;",
    ] {
        assert_eq!(
            refused(code),
            [
                "Decorators in class `Chat` are not supported, as it is written inside a parameter, the value of a field or the head of a loop"
            ]
        );
    }
}

#[test]
fn a_refusal_is_found_in_its_source() {
    let Err(refusals) =
        lower("var C = class { static { __name(this, \"Chat\"); } @x$1.observe text = 1 };")
    else {
        panic!("not refused");
    };
    let source = "class Other { @observe text: string }\nexport class Chat { private id!: number; @observe() text: string = '' }";
    let at = refusals[0].find(source, SourceType::ts());
    assert_eq!(
        at.map(|at| &source[at as usize..][..10]),
        Some("@observe()")
    );
    assert_eq!(
        refusals[0].find("export class Chat {}", SourceType::ts()),
        None
    );
}

/// Bundles one source, with a map.
fn bundled(source: &str, minify: bool) -> Result<Bundle, Vec<Problem>> {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path().canonicalize().expect("it is there");
    let entry = root.join("worker.ts");
    std::fs::write(&entry, source).expect("it is written");
    crate::bundle(&Request {
        entry,
        shown_from: root,
        options: Options {
            minify,
            source_map: true,
            ..Options::default()
        },
        threads: 1,
    })
}

#[test]
fn decorators_are_found_behind_whatever_is_in_front() {
    for before in [
        "",
        ";",
        "/* a */",
        "/** a *\n */",
        "// a\n",
        "x = '';",
        "@b ",
        "@b",
    ] {
        let code = format!("class C {{ {before}@a m() {{}} }}");
        assert!(matches!(lower(&code), Ok(Some(_))), "{code}");
    }
}

#[test]
fn a_refusal_has_its_place_in_the_source() {
    let source = "type Text = string;\n\nexport class Chat {\n  @observe text: Text = '';\n}\nfunction observe() {}\nexport default {};\n";
    let problems = bundled(source, false).expect_err("it is refused");
    assert_eq!(problems.len(), 1);
    let problem = &problems[0];
    assert_eq!(
        problem.message,
        "The decorator `@observe` of the field `text` of class `Chat` is not supported"
    );
    let place = problem.place.as_ref().expect("it has a place");
    assert_eq!(
        (place.file.as_str(), place.line, place.column),
        ("worker.ts", 4, 3)
    );
    assert!(
        problem.frame.contains("@observe text: Text"),
        "{}",
        problem.frame
    );
    assert!(problem.help.contains("experimentalDecorators"));
}

#[test]
fn the_map_of_a_bundle_leads_through_decorators_to_the_source() {
    let source = "type A = 1;\nexport class Chat {\n  @log(\"first\")\n  async talk(): Promise<string> { return \"second\"; }\n}\nfunction log(_: string) { return () => {}; }\nexport default {};\n";
    for minify in [false, true] {
        let bundle = bundled(source, minify).expect("it is bundled");
        let text = str::from_utf8(&bundle.modules[0].body).expect("it is text");
        let map = String::from_utf8(bundle.modules[1].body.to_vec()).expect("it is text");
        let map = SourceMap::from_json_string(map.leak()).expect("it is a map");
        for word in ["first", "second"] {
            // The token of a string is its quote.
            let (line, column) = position(text, word);
            let (source_line, source_column) = position(source, word);
            assert_eq!(
                origin(&map, line, column - 1),
                (source_line, source_column - 1),
                "{word}"
            );
        }
    }
}
