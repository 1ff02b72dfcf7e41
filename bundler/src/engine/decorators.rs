//! Standard decorators, for a runtime that has none: those of methods, getters and setters become code that does the same.
//!
//! Works on the finished text of a module, on which it inserts and never breaks or joins lines. The parser only reads it. What
//! cannot be lowered is refused: of classes, fields, `accessor` and private members.
//!
//! A decorated member gets a computed name, because a computed name is evaluated when, and where, a decorator is:
//! `@log("a") static m() {}` becomes `static [note(list = [], [log("a")], "m", "method", true)]() {}`. A static block in front of
//! all others then applies what was noted. Initializers for instances run in a private field in front of all others, so an object
//! that a constructor returns twice takes them only once. The list is a variable beside the statement that holds the class.

mod plugin;
mod refusal;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use oxc::ast_visit::{Visit, walk};
use oxc_allocator::{Allocator, Vec as ArenaVec};
use oxc_ast::ast;
use oxc_parser::Parser;
use oxc_span::{GetSpan, SourceType, Span};
use rolldown_sourcemap::SourceMap;
use string_wizard::{Hires, MagicString, SourceMapOptions};

pub(super) use plugin::Lowering;
use refusal::Refusal;

/// What does the work at run time; `$$` stands for what all names begin with.
const RUNTIME: &str = include_str!("decorators/runtime.js");

/// A module without decorators.
struct Lowered<'a>(MagicString<'a>);

impl Lowered<'_> {
    /// The module.
    fn code(&self) -> String {
        self.0.to_string()
    }

    /// From where in the text that was lowered each of it comes.
    fn map(&self) -> SourceMap {
        self.0.source_map(SourceMapOptions {
            include_content: false,
            source: Arc::from(""),
            hires: Hires::Boundary,
        })
    }
}

/// Lowers the decorators of a module. `None` means that there are none, or that it is no module that can be read: it stays as it is.
///
/// # Errors
/// Every use of decorators that cannot be lowered.
fn lower(code: &str) -> Result<Option<Lowered<'_>>, Vec<Refusal>> {
    if !is_suspect(code) {
        return Ok(None);
    }
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, code, SourceType::mjs()).parse();
    if parsed.diagnostics.errors().next().is_some() {
        return Ok(None);
    }
    let mut pass = Pass::new(code);
    pass.visit_program(&parsed.program);
    if !pass.refusals.is_empty() {
        return Err(pass.refusals);
    }
    Ok((pass.lists > 0).then(|| pass.finish()))
}

/// Whether there may be decorators; cheap, as most modules have none and are large.
fn is_suspect(code: &str) -> bool {
    // Not what is quoted, such as the name of a package, and not what a comment marks, such as `/* @__PURE__ */`.
    let is_decorator = |(at, _): (usize, &str)| {
        let before = &code[..at];
        let is_quoted = before.ends_with(['"', '\'', '`']);
        !is_quoted && !before.trim_end().ends_with('*')
    };
    code.match_indices('@').any(is_decorator) || code.contains("accessor ")
}

/// Text that takes the place of other text.
struct Edit {
    start: u32,
    end: u32,
    text: String,
}

/// Where variables can be declared so that they are new whenever the code around is evaluated.
struct Place {
    span: Span,
    kind: PlaceKind,
    lists: Vec<String>,
}

#[derive(Clone, Copy)]
enum PlaceKind {
    /// A statement in a list of such.
    Statement,
    /// The body of a loop, without braces.
    Body,
    /// The body of an arrow function that is an expression.
    Arrow,
}

/// A class that is being visited.
struct Frame {
    /// The variable of its list.
    list: String,
    /// Whether something has been noted in it.
    begun: bool,
    /// For messages.
    name: Option<String>,
}

struct Pass<'c> {
    code: &'c str,
    prefix: String,
    lists: usize,
    /// Around what is visited, innermost last; `None` where nothing can be declared.
    places: Vec<Option<Place>>,
    classes: Vec<Frame>,
    /// The variable that the next class without a name is given to, and so named for.
    variable: Option<String>,
    edits: Vec<Edit>,
    refusals: Vec<Refusal>,
}

impl<'c> Pass<'c> {
    fn new(code: &'c str) -> Self {
        // No name in the module so much as contains it, so nothing that begins with it can be taken.
        let mut prefix = "__decorators".to_owned();
        while code.contains(&prefix) {
            prefix.push('_');
        }
        Pass {
            code,
            prefix,
            lists: 0,
            places: Vec::new(),
            classes: Vec::new(),
            variable: None,
            edits: Vec::new(),
            refusals: Vec::new(),
        }
    }

    fn finish(mut self) -> Lowered<'c> {
        // Stable: what was inserted first at a place stays first.
        self.edits.sort_by_key(|edit| edit.start);
        let mut text = MagicString::new(self.code);
        for edit in self.edits {
            if edit.start == edit.end {
                text.append_left(edit.start, edit.text)
                    .expect("a place in the text");
            } else {
                text.update(edit.start, edit.end, edit.text)
                    .expect("edits do not overlap");
            }
        }
        if !self.code.ends_with('\n') {
            text.append("\n");
        }
        text.append(RUNTIME.replace("$$", &self.prefix));
        Lowered(text)
    }

    fn insert(&mut self, at: u32, text: impl Into<String>) {
        self.edits.push(Edit {
            start: at,
            end: at,
            text: text.into(),
        });
    }

    /// Puts text in the place of other text, and keeps the lines.
    fn replace(&mut self, start: u32, end: u32, text: &str) {
        let lines = self.code[start as usize..end as usize]
            .matches('\n')
            .count();
        self.edits.push(Edit {
            start,
            end,
            text: text.to_owned() + &"\n".repeat(lines),
        });
    }

    fn within(&mut self, place: Option<(Span, PlaceKind)>, visit: impl FnOnce(&mut Self)) {
        self.places.push(place.map(|(span, kind)| Place {
            span,
            kind,
            lists: Vec::new(),
        }));
        visit(self);
        let Some(Some(place)) = self.places.pop() else {
            return;
        };
        if place.lists.is_empty() {
            return;
        }
        let (open, close) = match place.kind {
            PlaceKind::Statement => ("", ""),
            PlaceKind::Body => ("{ ", " }"),
            PlaceKind::Arrow => ("{ ", "; }"),
        };
        let returns = match place.kind {
            PlaceKind::Arrow => "return ",
            PlaceKind::Statement | PlaceKind::Body => "",
        };
        let lists = place.lists.join(", ");
        self.insert(place.span.start, format!("{open}let {lists}; {returns}"));
        if !close.is_empty() {
            self.insert(place.span.end, close);
        }
    }

    /// Visits what is evaluated where nothing can be declared.
    fn nowhere(&mut self, visit: impl FnOnce(&mut Self)) {
        self.within(None, visit);
    }

    fn visit_loop_body<'a>(&mut self, body: &ast::Statement<'a>) {
        if matches!(body, ast::Statement::BlockStatement(_)) {
            self.visit_statement(body);
        } else {
            let place = (body.span(), PlaceKind::Body);
            self.within(Some(place), |pass| pass.visit_statement(body));
        }
    }

    /// Declares the list of a class, and lets the class apply it.
    fn begin_class(&mut self, class: &ast::Class, frame: &mut Frame) {
        let decorated = class.body.body.iter().filter_map(|element| match element {
            ast::ClassElement::MethodDefinition(method) if !method.decorators.is_empty() => {
                Some(method)
            }
            _ => None,
        });
        let statics: Vec<bool> = decorated.map(|method| method.r#static).collect();
        if statics.is_empty() {
            return;
        }
        let Some(Some(place)) = self.places.last_mut() else {
            self.refusals.push(Refusal::place(class.span.start, frame));
            return;
        };
        self.lists += 1;
        frame.list = format!("{}_{}", self.prefix, self.lists);
        place.lists.push(frame.list.clone());
        let (prefix, list) = (&self.prefix, &frame.list);
        let mut text = format!(" static {{ {prefix}_apply(this, {list}); }}");
        if statics.contains(&false) {
            text.push_str(&format!(" #{prefix} = {prefix}_start(this, {list});"));
        }
        let at = match class.body.body.first() {
            Some(first) if kept_name(first).is_some() => first.span().end,
            _ => class.body.span.start + 1,
        };
        self.insert(at, text);
    }

    /// Lowers what is in front of the parameters of a method.
    fn lower_method(&mut self, method: &ast::MethodDefinition, frame: &Frame) {
        let (Some(first), Some(last)) = (method.decorators.first(), method.decorators.last())
        else {
            return;
        };
        let kind = match method.kind {
            ast::MethodDefinitionKind::Get => "getter",
            ast::MethodDefinitionKind::Set => "setter",
            ast::MethodDefinitionKind::Method | ast::MethodDefinitionKind::Constructor => "method",
        };
        let words = [
            (method.r#static, "static "),
            (method.kind == ast::MethodDefinitionKind::Get, "get "),
            (method.kind == ast::MethodDefinitionKind::Set, "set "),
            (method.value.r#async, "async "),
            (method.value.generator, "*"),
        ];
        let words: String = words
            .into_iter()
            .filter_map(|(is, word)| is.then_some(word))
            .collect();
        let list = if frame.begun {
            frame.list.clone()
        } else {
            format!("{} = []", frame.list)
        };
        // The semicolon ends a field in front, which would take the bracket for its own.
        let open = format!(";{words}[{}_note({list}, [", self.prefix);
        self.replace(first.span.start, first.expression.span().start, &open);
        for pair in method.decorators.windows(2) {
            self.replace(
                pair[0].expression.span().end,
                pair[1].expression.span().start,
                ", ",
            );
        }
        for decorator in &method.decorators {
            self.bind(&decorator.expression);
        }
        let (after, key) = (last.expression.span().end, method.key.span());
        let close = format!(", \"{kind}\", {})]", method.r#static);
        let parameters = method.value.params.span.start;
        match &method.key {
            _ if method.computed => {
                self.replace(after, key.start, "], ");
                self.replace(key.end, parameters, &close);
            }
            ast::PropertyKey::StaticIdentifier(name) => {
                self.replace(after, parameters, &format!("], \"{}\"{close}", name.name));
            }
            // A string or a number, as it is written.
            _ => {
                let text = &self.code[key.start as usize..key.end as usize];
                self.replace(after, parameters, &format!("], {text}{close}"));
            }
        }
    }

    /// A decorator that is a method is called on its object.
    fn bind(&mut self, expression: &ast::Expression) {
        let member = expression.get_inner_expression();
        let (object, end) = match member {
            ast::Expression::StaticMemberExpression(it) if !it.optional => {
                (&it.object, it.span.end)
            }
            ast::Expression::ComputedMemberExpression(it) if !it.optional => {
                (&it.object, it.span.end)
            }
            _ => return,
        };
        if matches!(object, ast::Expression::Super(_)) {
            return;
        }
        self.insert(object.span().start, format!("{}_bound(", self.prefix));
        match member {
            ast::Expression::StaticMemberExpression(it) => {
                self.replace(
                    object.span().end,
                    end,
                    &format!(", \"{}\")", it.property.name),
                );
            }
            ast::Expression::ComputedMemberExpression(it) => {
                let key = it.expression.span();
                self.replace(object.span().end, key.start, ", ");
                self.replace(key.end, end, ")");
            }
            _ => {}
        }
    }

    /// What says why a member cannot be lowered, if so.
    fn judge(&self, element: &ast::ClassElement, frame: &Frame) -> Option<Refusal> {
        match element {
            ast::ClassElement::MethodDefinition(it) => {
                let decorator = it.decorators.first()?;
                if it.kind == ast::MethodDefinitionKind::Constructor {
                    return Some(Refusal::member(
                        self.code,
                        decorator,
                        &it.key,
                        frame,
                        "constructor",
                    ));
                }
                let is_private = matches!(it.key, ast::PropertyKey::PrivateIdentifier(_));
                is_private.then(|| {
                    Refusal::member(self.code, decorator, &it.key, frame, "private member")
                })
            }
            ast::ClassElement::PropertyDefinition(it) => {
                let decorator = it.decorators.first()?;
                Some(Refusal::member(
                    self.code, decorator, &it.key, frame, "field",
                ))
            }
            ast::ClassElement::AccessorProperty(it) => {
                Some(Refusal::accessor(self.code, it, frame))
            }
            ast::ClassElement::StaticBlock(_) | ast::ClassElement::TSIndexSignature(_) => None,
        }
    }
}

impl<'a> Visit<'a> for Pass<'_> {
    fn visit_class(&mut self, class: &ast::Class<'a>) {
        let kept = class.body.body.first().and_then(kept_name);
        let id = class.id.as_ref().map(|id| id.name.as_str());
        let variable = self.variable.take();
        let mut frame = Frame {
            list: String::new(),
            begun: false,
            name: kept.or(id).map(str::to_owned).or(variable),
        };
        if let Some(decorator) = class.decorators.first() {
            self.refusals
                .push(Refusal::class(self.code, decorator, &frame));
        }
        for element in &class.body.body {
            self.refusals.extend(self.judge(element, &frame));
        }
        self.begin_class(class, &mut frame);
        self.classes.push(frame);
        walk::walk_class(self, class);
        self.classes.pop();
    }

    fn visit_variable_declarator(&mut self, it: &ast::VariableDeclarator<'a>) {
        if let Some(ast::Expression::ClassExpression(_)) = &it.init {
            self.variable = it.id.get_identifier_name().map(|name| name.to_string());
        }
        walk::walk_variable_declarator(self, it);
    }

    fn visit_assignment_expression(&mut self, it: &ast::AssignmentExpression<'a>) {
        if let ast::Expression::ClassExpression(_) = &it.right {
            self.variable = it.left.get_identifier_name().map(str::to_owned);
        }
        walk::walk_assignment_expression(self, it);
    }

    fn visit_method_definition(&mut self, method: &ast::MethodDefinition<'a>) {
        if !method.decorators.is_empty()
            && let Some(mut frame) = self.classes.pop()
        {
            self.lower_method(method, &frame);
            frame.begun = true;
            self.classes.push(frame);
        }
        walk::walk_method_definition(self, method);
    }

    fn visit_statements(&mut self, statements: &ArenaVec<'a, ast::Statement<'a>>) {
        for statement in statements {
            let place = (statement.span(), PlaceKind::Statement);
            self.within(Some(place), |pass| pass.visit_statement(statement));
        }
    }

    fn visit_arrow_function_body(&mut self, body: &ast::ArrowFunctionBody<'a>) {
        match body.as_expression() {
            Some(expression) => {
                let place = (expression.span(), PlaceKind::Arrow);
                self.within(Some(place), |pass| pass.visit_expression(expression));
            }
            None => walk::walk_arrow_function_body(self, body),
        }
    }

    fn visit_formal_parameters(&mut self, parameters: &ast::FormalParameters<'a>) {
        self.nowhere(|pass| walk::walk_formal_parameters(pass, parameters));
    }

    fn visit_property_definition(&mut self, field: &ast::PropertyDefinition<'a>) {
        self.visit_property_key(&field.key);
        if let Some(value) = &field.value {
            self.nowhere(|pass| pass.visit_expression(value));
        }
    }

    fn visit_for_statement(&mut self, it: &ast::ForStatement<'a>) {
        self.nowhere(|pass| {
            it.init
                .iter()
                .for_each(|init| pass.visit_for_statement_init(init));
            it.test.iter().for_each(|test| pass.visit_expression(test));
            it.update
                .iter()
                .for_each(|update| pass.visit_expression(update));
        });
        self.visit_loop_body(&it.body);
    }

    fn visit_for_in_statement(&mut self, it: &ast::ForInStatement<'a>) {
        self.nowhere(|pass| {
            pass.visit_for_statement_left(&it.left);
            pass.visit_expression(&it.right);
        });
        self.visit_loop_body(&it.body);
    }

    fn visit_for_of_statement(&mut self, it: &ast::ForOfStatement<'a>) {
        self.nowhere(|pass| {
            pass.visit_for_statement_left(&it.left);
            pass.visit_expression(&it.right);
        });
        self.visit_loop_body(&it.body);
    }

    fn visit_while_statement(&mut self, it: &ast::WhileStatement<'a>) {
        self.nowhere(|pass| pass.visit_expression(&it.test));
        self.visit_loop_body(&it.body);
    }

    fn visit_do_while_statement(&mut self, it: &ast::DoWhileStatement<'a>) {
        self.visit_loop_body(&it.body);
        self.nowhere(|pass| pass.visit_expression(&it.test));
    }
}

/// The name in `static { __name(this, "Name"); }`, with which a bundler keeps the name of a class. Decorators see the name kept.
fn kept_name<'a>(element: &ast::ClassElement<'a>) -> Option<&'a str> {
    let ast::ClassElement::StaticBlock(block) = element else {
        return None;
    };
    let [ast::Statement::ExpressionStatement(statement)] = block.body.as_slice() else {
        return None;
    };
    let ast::Expression::CallExpression(call) = &statement.expression else {
        return None;
    };
    match (&call.callee, call.arguments.as_slice()) {
        (
            ast::Expression::Identifier(_),
            [
                ast::Argument::ThisExpression(_),
                ast::Argument::StringLiteral(name),
            ],
        ) => Some(name.value.as_str()),
        _ => None,
    }
}
