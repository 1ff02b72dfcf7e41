//! Why a decorator is not lowered, in words for its author.

use oxc_ast::ast;
use oxc_span::GetSpan;

use super::Frame;

/// How much of a decorator is quoted.
const QUOTED: usize = 40;

/// A use of decorators that cannot be lowered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Where it is in the text, in bytes.
    pub(crate) at: u32,
    /// One sentence without a full stop that names class and member.
    pub(crate) message: String,
    /// What can be done instead, in sentences.
    pub(crate) help: String,
}

impl Refusal {
    /// A decorated class.
    pub(super) fn class(code: &str, decorator: &ast::Decorator, frame: &Frame) -> Self {
        let quoted = quote(code, decorator);
        Refusal {
            at: decorator.span.start,
            message: format!(
                "the decorator {quoted} of {} is not supported",
                class(frame)
            ),
            help: format!(
                "The runtime has no decorators, and the bundler replaces those of methods, getters and setters only. Call the decorator \
                 by hand on the finished class instead. {LEGACY}"
            ),
        }
    }

    /// A decorated member that is not public or not a method, getter or setter.
    pub(super) fn member(
        code: &str,
        decorator: &ast::Decorator,
        key: &ast::PropertyKey,
        frame: &Frame,
        what: &str,
    ) -> Self {
        let quoted = quote(code, decorator);
        let name = member(code, key);
        let instead = match what {
            "field" => {
                "Set the field in the constructor, with a function in place of the decorator."
            }
            "private member" => "Wrap the function by hand, or make the member public.",
            _ => "Move what it does into the constructor.",
        };
        Refusal {
            at: decorator.span.start,
            message: format!(
                "the decorator {quoted} of the {what} {name} of {} is not supported",
                class(frame)
            ),
            help: format!(
                "The runtime has no decorators, and the bundler replaces those of public methods, getters and setters only. {instead} {LEGACY}"
            ),
        }
    }

    /// A member that is declared with `accessor`, decorated or not.
    pub(super) fn accessor(code: &str, it: &ast::AccessorProperty, frame: &Frame) -> Self {
        let name = member(code, &it.key);
        Refusal {
            at: it.span.start,
            message: format!("the keyword `accessor` of {name} of {} is not supported", class(frame)),
            help: "The runtime does not know it. Write a private field with a getter and a setter instead; those can be decorated.".to_owned(),
        }
    }

    /// A class with decorated members at a place where nothing can be declared.
    pub(super) fn place(at: u32, frame: &Frame) -> Self {
        Refusal {
            at,
            message: format!(
                "decorators in {} are not supported, as the class is written inside a parameter, the value of a field or the head of a loop",
                class(frame)
            ),
            help: "Declare the class in a statement of its own, and use its name here.".to_owned(),
        }
    }
}

const LEGACY: &str = "If it is a decorator for TypeScript's older kind, set \"experimentalDecorators\": true in tsconfig.json.";

fn class(frame: &Frame) -> String {
    match &frame.name {
        Some(name) => format!("class `{name}`"),
        None => "a class without a name".to_owned(),
    }
}

fn member(code: &str, key: &ast::PropertyKey) -> String {
    let span = key.span();
    format!("`{}`", clip(&code[span.start as usize..span.end as usize]))
}

/// A decorator without its arguments.
fn quote(code: &str, decorator: &ast::Decorator) -> String {
    let span = match &decorator.expression {
        ast::Expression::CallExpression(call) => call.callee.span(),
        other => other.span(),
    };
    format!("`@{}`", clip(&code[span.start as usize..span.end as usize]))
}

fn clip(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
