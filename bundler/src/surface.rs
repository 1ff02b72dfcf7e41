//! The exports of one ES module by themselves: what it declares, and what it passes on from where.

use std::collections::{BTreeMap, HashMap, HashSet};

use oxc_allocator::Allocator;
use oxc_ast::ast;
use oxc_parser::config::TokensParserConfig;
use oxc_parser::{Kind, ParseOptions, Parser, Token};
use oxc_span::SourceType;

use crate::exports::{Shape, SyntaxError};

/// How many aliases are followed from a name to what it stands for.
const ALIASES: usize = 32;

/// What a module exports.
#[derive(Debug, Default)]
pub struct Surface {
    /// Every name that is exported explicitly.
    pub exports: BTreeMap<String, Target>,
    /// The modules of which everything but the default is passed on.
    pub stars: Vec<String>,
}

/// What stands behind an exported name.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// A value of this module.
    Here(Shape),
    /// An export of another module.
    There {
        /// The module, as it is written.
        specifier: String,
        /// What it is called there.
        name: String,
    },
}

/// Reads a module. Recurses: needs a stack that suits the depth of the source.
///
/// # Errors
/// The first thing that is no ES module syntax.
pub fn read(name: &str, text: &str) -> Result<Surface, SyntaxError> {
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, text, SourceType::mjs())
        .with_options(ParseOptions {
            preserve_parens: false,
            ..ParseOptions::default()
        })
        .with_config(TokensParserConfig)
        .parse();
    if let Some(error) = parsed.diagnostics.errors().next() {
        let offset = error
            .labels
            .first()
            .map_or(0, |label| label.offset() as usize);
        let before = text.get(..offset).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        return Err(SyntaxError {
            module: name.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: error.message.to_string(),
        });
    }
    let mut scope = Scope::default();
    for statement in &parsed.program.body {
        scope.declare(statement);
    }
    scope.note_assignments(text, &parsed.tokens);
    Ok(scope.surface(&parsed.program.body))
}

/// What a name at the top of a module is bound to.
enum Binding<'a> {
    Import {
        specifier: &'a str,
        name: Option<&'a str>,
    },
    Value {
        shape: Init<'a>,
        constant: bool,
    },
}

/// What a name is declared as.
#[derive(Clone, Copy)]
enum Init<'a> {
    Shape(Shape),
    Expression(&'a ast::Expression<'a>),
}

#[derive(Default)]
struct Scope<'a> {
    bindings: HashMap<&'a str, Binding<'a>>,
    /// Where names stand that are declared or exported there, and not assigned.
    mentions: HashSet<u32>,
    /// Names that may be assigned somewhere, in whatever scope.
    assigned: HashSet<&'a str>,
}

impl<'a> Scope<'a> {
    fn bind(
        &mut self,
        identifier: &'a ast::BindingIdentifier<'a>,
        shape: Init<'a>,
        constant: bool,
    ) {
        self.mentions.insert(identifier.span.start);
        let shape = match self.bindings.contains_key(identifier.name.as_str()) {
            true => Init::Shape(Shape::Unknown), // `var` twice.
            false => shape,
        };
        let binding = Binding::Value { shape, constant };
        self.bindings.insert(identifier.name.as_str(), binding);
    }

    fn declare(&mut self, statement: &'a ast::Statement<'a>) {
        match statement {
            ast::Statement::ImportDeclaration(import) => self.declare_import(import),
            ast::Statement::VariableDeclaration(variables) => self.declare_variables(variables),
            ast::Statement::FunctionDeclaration(function) => self.declare_function(function),
            ast::Statement::ClassDeclaration(class) => self.declare_class(class),
            ast::Statement::ExportDeclaration(export) => match &export.declaration {
                ast::Declaration::VariableDeclaration(variables) => {
                    self.declare_variables(variables)
                }
                ast::Declaration::FunctionDeclaration(function) => self.declare_function(function),
                ast::Declaration::ClassDeclaration(class) => self.declare_class(class),
                _ => {}
            },
            ast::Statement::ExportDefaultDeclaration(export) => match &export.declaration {
                ast::ExportDefaultDeclarationKind::FunctionDeclaration(function) => {
                    self.declare_function(function)
                }
                ast::ExportDefaultDeclarationKind::ClassDeclaration(class) => {
                    self.declare_class(class)
                }
                _ => {}
            },
            ast::Statement::ExportNamedDeclaration(export) => {
                let locals = export
                    .specifiers
                    .iter()
                    .map(|specifier| specifier.span.start);
                self.mentions.extend(locals);
            }
            _ => {}
        }
    }

    fn declare_import(&mut self, import: &'a ast::ImportDeclaration<'a>) {
        for specifier in import.specifiers.iter().flatten() {
            let (local, name) = match specifier {
                ast::ImportDeclarationSpecifier::ImportSpecifier(it) => {
                    (&it.local, Some(it.imported.name().as_str()))
                }
                ast::ImportDeclarationSpecifier::ImportDefaultSpecifier(it) => {
                    (&it.local, Some("default"))
                }
                ast::ImportDeclarationSpecifier::ImportNamespaceSpecifier(it) => (&it.local, None),
            };
            let specifier = import.source.value.as_str();
            let binding = Binding::Import { specifier, name };
            self.bindings.insert(local.name.as_str(), binding);
        }
    }

    fn declare_variables(&mut self, variables: &'a ast::VariableDeclaration<'a>) {
        let constant = !matches!(
            variables.kind,
            ast::VariableDeclarationKind::Var | ast::VariableDeclarationKind::Let
        );
        for variable in &variables.declarations {
            if let ast::BindingPattern::BindingIdentifier(identifier) = &variable.id {
                let undefined = Init::Shape(Shape::value("undefined"));
                let init = variable.init.as_ref().map_or(undefined, Init::Expression);
                self.bind(identifier, init, constant);
            } else {
                for identifier in variable.id.get_binding_identifiers() {
                    self.bind(identifier, Init::Shape(Shape::Unknown), constant);
                }
            }
        }
    }

    fn declare_function(&mut self, function: &'a ast::Function<'a>) {
        if let Some(identifier) = &function.id {
            self.bind(identifier, Init::Shape(function_shape(function)), false);
        }
    }

    fn declare_class(&mut self, class: &'a ast::Class<'a>) {
        if let Some(identifier) = &class.id {
            self.bind(identifier, Init::Shape(Shape::Class), false);
        }
    }

    /// Bundlers declare some classes as `var C;` and assign them in a function. Which names are assigned is told from the tokens, so
    /// that no tree has to be walked; a name that only might be assigned counts, too.
    fn note_assignments(&mut self, text: &'a str, tokens: &[Token]) {
        for (at, token) in tokens.iter().enumerate() {
            let before = at
                .checked_sub(1)
                .map_or(Kind::Semicolon, |at| tokens[at].kind());
            let after = tokens.get(at + 1).map_or(Kind::Eof, Token::kind);
            let alone = matches!(after, Kind::Comma | Kind::RCurly | Kind::RBrack);
            let in_pattern = matches!(
                before,
                Kind::LCurly | Kind::LBrack | Kind::Comma | Kind::Colon | Kind::Dot3
            ) && alone;
            let assigned = after.is_assignment_operator()
                || after.is_update_operator()
                || before.is_update_operator()
                || matches!(after, Kind::Of | Kind::In)
                || in_pattern;
            if assigned
                && token.kind().is_identifier_name()
                && !self.mentions.contains(&token.start())
            {
                let name = &text[token.start() as usize..token.end() as usize];
                self.assigned.insert(name);
            }
        }
    }

    fn surface(&self, statements: &'a [ast::Statement<'a>]) -> Surface {
        let mut surface = Surface::default();
        let mut export = |name: &str, target| surface.exports.insert(name.to_owned(), target);
        for statement in statements {
            match statement {
                ast::Statement::ExportDeclaration(it) => {
                    for name in declared_names(&it.declaration) {
                        export(name, self.resolve(name));
                    }
                }
                ast::Statement::ExportNamedDeclaration(it) => {
                    for specifier in &it.specifiers {
                        let local = specifier.local.name();
                        export(
                            specifier.exported.name().as_str(),
                            self.resolve(local.as_str()),
                        );
                    }
                }
                ast::Statement::ExportFromDeclaration(it) => {
                    for specifier in &it.specifiers {
                        let target = Target::There {
                            specifier: it.source.value.to_string(),
                            name: specifier.local.name().to_string(),
                        };
                        export(specifier.exported.name().as_str(), target);
                    }
                }
                ast::Statement::ExportDefaultDeclaration(it) => {
                    export("default", self.default_export(&it.declaration));
                }
                ast::Statement::ExportAllDeclaration(it) => {
                    if let Some(name) = &it.exported {
                        export(name.name().as_str(), Target::Here(Shape::value(NAMESPACE)));
                    }
                }
                _ => {}
            }
        }
        for statement in statements {
            if let ast::Statement::ExportAllDeclaration(it) = statement
                && it.exported.is_none()
            {
                surface.stars.push(it.source.value.to_string());
            }
        }
        surface
    }

    fn default_export(&self, declaration: &'a ast::ExportDefaultDeclarationKind<'a>) -> Target {
        Target::Here(match declaration {
            ast::ExportDefaultDeclarationKind::FunctionDeclaration(function) => {
                match &function.id {
                    Some(id) => return self.resolve(id.name.as_str()),
                    None => function_shape(function),
                }
            }
            ast::ExportDefaultDeclarationKind::ClassDeclaration(_) => Shape::Class,
            // Its value is taken here; what a name is assigned later does not matter. Which one it has by now is hard to tell.
            other => match other.as_expression() {
                Some(ast::Expression::Identifier(identifier)) => {
                    return self.resolve(identifier.name.as_str());
                }
                Some(expression) => self.shape(expression, ALIASES),
                None => Shape::Unknown,
            },
        })
    }

    fn resolve(&self, name: &str) -> Target {
        self.follow(name, ALIASES)
    }

    fn follow(&self, name: &str, aliases: usize) -> Target {
        match self.bindings.get(name) {
            Some(Binding::Import {
                specifier,
                name: Some(name),
            }) => Target::There {
                specifier: (*specifier).to_owned(),
                name: (*name).to_owned(),
            },
            Some(Binding::Import { name: None, .. }) => Target::Here(Shape::value(NAMESPACE)),
            Some(Binding::Value {
                constant: false, ..
            }) if self.assigned.contains(name) => Target::Here(Shape::Unknown),
            Some(Binding::Value {
                shape: Init::Shape(shape),
                ..
            }) => Target::Here(*shape),
            Some(Binding::Value {
                shape: Init::Expression(expression),
                ..
            }) => match expression {
                ast::Expression::Identifier(other)
                    if aliases > 0 && self.bindings.contains_key(other.name.as_str()) =>
                {
                    self.follow(other.name.as_str(), aliases - 1)
                }
                expression => Target::Here(self.shape(expression, aliases)),
            },
            None => Target::Here(Shape::Unknown),
        }
    }

    fn shape(&self, expression: &ast::Expression<'a>, aliases: usize) -> Shape {
        match expression {
            ast::Expression::ClassExpression(_) => Shape::Class,
            ast::Expression::ArrowFunctionExpression(_) => Shape::not_class("an arrow function"),
            ast::Expression::FunctionExpression(function) => function_shape(function),
            ast::Expression::ObjectExpression(_) => Shape::not_class("an object"),
            ast::Expression::ArrayExpression(_) => Shape::not_class("an array"),
            ast::Expression::RegExpLiteral(_) => Shape::not_class("a regular expression"),
            ast::Expression::StringLiteral(_) | ast::Expression::TemplateLiteral(_) => {
                Shape::value("a string")
            }
            ast::Expression::NumericLiteral(_) | ast::Expression::UpdateExpression(_) => {
                Shape::value("a number")
            }
            ast::Expression::BigIntLiteral(_) => Shape::value("a bigint"),
            ast::Expression::BooleanLiteral(_) => Shape::value("a boolean"),
            ast::Expression::NullLiteral(_) => Shape::value("null"),
            ast::Expression::UnaryExpression(unary) => match unary.operator {
                ast::UnaryOperator::LogicalNot | ast::UnaryOperator::Delete => {
                    Shape::value("a boolean")
                }
                ast::UnaryOperator::Typeof => Shape::value("a string"),
                ast::UnaryOperator::Void => Shape::value("undefined"),
                _ => Shape::value("a number"),
            },
            // All of them give numbers, texts or truth values.
            ast::Expression::BinaryExpression(_) => Shape::value("a calculated value"),
            ast::Expression::PrivateInExpression(_) => Shape::value("a boolean"),
            ast::Expression::CallExpression(call) if self.is_symbol(&call.callee) => {
                Shape::value("a symbol")
            }
            ast::Expression::AssignmentExpression(it)
                if it.operator == ast::AssignmentOperator::Assign =>
            {
                self.shape(&it.right, aliases)
            }
            ast::Expression::SequenceExpression(it) => it
                .expressions
                .last()
                .map_or(Shape::Unknown, |last| self.shape(last, aliases)),
            ast::Expression::ConditionalExpression(it) => {
                let (one, other) = (
                    self.shape(&it.consequent, aliases),
                    self.shape(&it.alternate, aliases),
                );
                if one == other { one } else { Shape::Unknown }
            }
            ast::Expression::Identifier(it) if aliases > 0 => {
                self.name_shape(it.name.as_str(), aliases - 1)
            }
            _ => Shape::Unknown,
        }
    }

    fn name_shape(&self, name: &str, aliases: usize) -> Shape {
        if name == "undefined" && !self.bindings.contains_key(name) {
            return Shape::value("undefined");
        }
        match self.follow(name, aliases) {
            Target::Here(shape) => shape,
            Target::There { .. } => Shape::Unknown,
        }
    }

    /// `Symbol` or `Symbol.for`.
    fn is_symbol(&self, callee: &ast::Expression<'a>) -> bool {
        let name = match callee {
            ast::Expression::Identifier(it) => it.name.as_str(),
            ast::Expression::StaticMemberExpression(it) if it.property.name == "for" => {
                match &it.object {
                    ast::Expression::Identifier(it) => it.name.as_str(),
                    _ => return false,
                }
            }
            _ => return false,
        };
        name == "Symbol" && !self.bindings.contains_key(name)
    }
}

const NAMESPACE: &str = "all exports of a module";

/// Plain functions can be what classes were before there were any.
fn function_shape(function: &ast::Function<'_>) -> Shape {
    match (function.r#async, function.generator) {
        (false, false) => Shape::Unknown,
        (true, false) => Shape::not_class("an async function"),
        (_, true) => Shape::not_class("a generator function"),
    }
}

fn declared_names<'a>(declaration: &'a ast::Declaration<'a>) -> Vec<&'a str> {
    let identifiers = match declaration {
        ast::Declaration::VariableDeclaration(variables) => variables
            .declarations
            .iter()
            .flat_map(|variable| variable.id.get_binding_identifiers())
            .collect(),
        ast::Declaration::FunctionDeclaration(function) => function.id.iter().collect(),
        ast::Declaration::ClassDeclaration(class) => class.id.iter().collect(),
        _ => Vec::new(),
    };
    identifiers
        .into_iter()
        .map(|identifier| identifier.name.as_str())
        .collect()
}
