//! Exports inside of functions and blocks: TypeScript's parser lets them pass, and Rolldown panics or writes them as they are.

use oxc::ast::AstKind;
use oxc::ast_visit::Visit;
use oxc_ast::ast::Program;
use oxc_span::GetSpan;

/// Where the first one is, in bytes.
pub(super) fn find(program: &Program<'_>) -> Option<usize> {
    let mut search = Search::default();
    search.visit_program(program);
    search.found
}

#[derive(Default)]
struct Search {
    depth: usize,
    found: Option<usize>,
}

fn is_inside(kind: AstKind<'_>) -> bool {
    matches!(
        kind,
        AstKind::FunctionBody(_)
            | AstKind::BlockStatement(_)
            | AstKind::SwitchCase(_)
            | AstKind::StaticBlock(_)
    )
}

impl<'a> Visit<'a> for Search {
    fn enter_node(&mut self, kind: AstKind<'a>) {
        let is_export = matches!(
            kind,
            AstKind::ExportDeclaration(_)
                | AstKind::ExportNamedDeclaration(_)
                | AstKind::ExportFromDeclaration(_)
                | AstKind::ExportDefaultDeclaration(_)
                | AstKind::ExportAllDeclaration(_)
        );
        if is_export && self.depth > 0 {
            self.found.get_or_insert(kind.span().start as usize);
        }
        self.depth += usize::from(is_inside(kind));
    }

    fn leave_node(&mut self, kind: AstKind<'a>) {
        self.depth -= usize::from(is_inside(kind));
    }
}
