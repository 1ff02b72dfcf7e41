//! Why a decorator is not lowered, in words for its author.

use oxc::ast_visit::Visit;
use oxc_allocator::Allocator;
use oxc_ast::ast;
use oxc_parser::Parser;
use oxc_span::{GetSpan, SourceType, Span};

use super::{Frame, Pass};

/// How many characters of a source are quoted.
const QUOTED: usize = 40;

const LEGACY: &str = "If it is a decorator of TypeScript's older kind, set \"experimentalDecorators\": true in tsconfig.json.";

/// A use of decorators that cannot be lowered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Where it is in the text that was to be lowered, in bytes.
    pub(super) at: u32,
    /// One sentence without a full stop that names class and member.
    pub(super) message: String,
    /// What can be done instead, in sentences.
    pub(super) help: String,
    /// Class and member. The decorator itself may have another name in the source.
    subject: String,
}

impl Refusal {
    /// Where the same is in a source from which the text was made, in bytes.
    pub(super) fn find(&self, source: &str, source_type: SourceType) -> Option<u32> {
        let allocator = Allocator::default();
        let parsed = Parser::new(&allocator, source, source_type).parse();
        let mut pass = Pass::new(source);
        pass.visit_program(&parsed.program);
        let same = |it: &&Refusal| it.subject == self.subject;
        pass.refusals.iter().find(same).map(|it| it.at)
    }

    /// A decorated class.
    pub(super) fn class(code: &str, decorator: &ast::Decorator, frame: &Frame) -> Self {
        let (quoted, subject) = (quote(code, decorator), class(frame));
        Refusal {
            at: decorator.span.start,
            message: format!("The decorator {quoted} of {subject} is not supported"),
            help: format!(
                "Of standard decorators only those of public methods, getters and setters can be bundled. Call it by hand on the \
                 finished class instead. {LEGACY}"
            ),
            subject,
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
        let subject = format!("the {what} {} of {}", clip(code, key.span()), class(frame));
        let instead = match what {
            "field" => "Give the field its value in the constructor, through a function.",
            "private member" => "Wrap the function by hand, or make the member public.",
            _ => "Move what it does into the constructor.",
        };
        Refusal {
            at: decorator.span.start,
            message: format!("The decorator {quoted} of {subject} is not supported"),
            help: format!(
                "Of standard decorators only those of public methods, getters and setters can be bundled. {instead} {LEGACY}"
            ),
            subject,
        }
    }

    /// A member that is declared with `accessor`, decorated or not.
    pub(super) fn accessor(code: &str, it: &ast::AccessorProperty, frame: &Frame) -> Self {
        let subject = format!("{} of {}", clip(code, it.key.span()), class(frame));
        Refusal {
            at: it.span.start,
            message: format!("The keyword `accessor` in front of {subject} is not supported"),
            help:
                "Write a private field with a getter and a setter instead; those can be decorated."
                    .to_owned(),
            subject,
        }
    }

    /// A class with decorated members at a place where nothing can be declared.
    pub(super) fn place(at: u32, frame: &Frame) -> Self {
        let subject = class(frame);
        Refusal {
            at,
            message: format!(
                "Decorators in {subject} are not supported, as it is written inside a parameter, the value of a field or the head of a loop"
            ),
            help: "Declare the class in a statement of its own, and use its name here.".to_owned(),
            subject,
        }
    }
}

fn class(frame: &Frame) -> String {
    match &frame.name {
        Some(name) => format!("class `{name}`"),
        None => "a class without a name".to_owned(),
    }
}

/// A decorator without its arguments.
fn quote(code: &str, decorator: &ast::Decorator) -> String {
    let span = match &decorator.expression {
        ast::Expression::CallExpression(call) => call.callee.span(),
        other => other.span(),
    };
    clip(code, span).replacen('`', "`@", 1)
}

/// The beginning of a piece of source, as code.
fn clip(code: &str, span: Span) -> String {
    let text = &code[span.start as usize..span.end as usize];
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("`{}…`", &line[..end]),
        None => format!("`{line}`"),
    }
}
