//! How deep a parser would have to recurse in a source, told without recursion.
//!
//! The parser has no limit of its own, and a stack that overflows cannot be caught: it would end the provider in the middle of an
//! apply. What is counted here is never less than what nests, so that a source below the limit can be parsed.

/// Whether more brackets and operators nest in a source than `limit`.
pub fn exceeds(source: &[u8], limit: usize) -> bool {
    let mut scan = Scan {
        source,
        at: 0,
        levels: vec![Level::new(Opener::Block)],
        depth: 1,
        before: Before::Start,
    };
    while scan.at < source.len() {
        scan.step();
        if scan.depth > limit {
            return true;
        }
    }
    false
}

/// What opened a level.
#[derive(Clone, Copy, PartialEq)]
enum Opener {
    /// `{` of statements or of a class.
    Block,
    /// `{` of an object or a pattern.
    Object,
    /// `(` or `[` within an expression.
    Group,
    /// `(` after `if`, `for`, `while` or `with`: what follows it is a statement.
    Head,
    /// `${` in a template.
    Substitution,
}

/// One open bracket.
struct Level {
    opener: Opener,
    /// What nests in the current statement, as `else if` does.
    statements: usize,
    /// What nests in the current expression, as `a = b = c` does.
    operators: usize,
    /// `?` whose `:` is still to come.
    conditions: usize,
}

impl Level {
    fn new(opener: Opener) -> Level {
        Level {
            opener,
            statements: 0,
            operators: 0,
            conditions: 0,
        }
    }
}

/// What stands before a token.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    /// Nothing, or `;`.
    Start,
    /// `}` of a block, which may be followed by more of the same statement.
    BlockEnd,
    /// A value.
    Operand,
    /// Something that wants a value.
    Operator,
    /// `=>`.
    Arrow,
    /// A keyword that a block, a name or a statement follows.
    Keyword,
    /// A word that is a keyword in some places and a name in others.
    Name,
    /// A keyword that a head in parentheses follows.
    HeadKeyword,
    /// `.`: the next word is a name, whatever it is.
    Dot,
}

struct Scan<'a> {
    source: &'a [u8],
    at: usize,
    levels: Vec<Level>,
    /// The brackets that are open and what nests in each of them.
    depth: usize,
    before: Before,
}

/// Operators of more than one byte, longest first.
const OPERATORS: [&[u8]; 31] = [
    b">>>=", b"...", b"===", b"!==", b"**=", b"<<=", b">>=", b">>>", b"&&=", b"||=", b"??=", b"=>",
    b"==", b"!=", b"<=", b">=", b"&&", b"||", b"??", b"++", b"--", b"+=", b"-=", b"*=", b"/=",
    b"%=", b"&=", b"|=", b"^=", b"**", b"?.",
];

impl Scan<'_> {
    fn step(&mut self) {
        let byte = self.source[self.at];
        match byte {
            b'/' if self.follows(b"//") => self.skip_past(b"\n"),
            b'/' if self.follows(b"/*") => {
                self.at += 2;
                self.skip_past(b"*/");
            }
            _ if byte.is_ascii_whitespace() => self.at += 1,
            _ if is_word(byte) => self.word(),
            _ => {
                if self.before == Before::Start {
                    self.end_statement();
                }
                self.sign(byte);
            }
        }
    }

    fn sign(&mut self, byte: u8) {
        match byte {
            b'/' if !matches!(self.before, Before::Operand | Before::Name) => {
                self.skip_regular_expression();
            }
            b'"' | b'\'' => {
                self.skip_string(byte);
                self.before = Before::Operand;
            }
            b'`' => {
                self.at += 1;
                self.template();
            }
            b'(' => {
                let opener = match self.before {
                    Before::HeadKeyword => Opener::Head,
                    _ => Opener::Group,
                };
                self.open(opener);
            }
            b'[' => self.open(Opener::Group),
            b'{' => {
                let opener = match self.before {
                    Before::Operator => Opener::Object,
                    _ => Opener::Block,
                };
                self.open(opener);
            }
            b')' | b']' | b'}' => self.close(),
            b';' => {
                self.at += 1;
                self.before = Before::Start;
            }
            b',' => {
                self.at += 1;
                self.end_expression();
                self.before = Before::Operator;
            }
            _ => self.operator(),
        }
    }

    fn follows(&self, text: &[u8]) -> bool {
        self.source[self.at..].starts_with(text)
    }

    fn level(&mut self) -> &mut Level {
        self.levels
            .last_mut()
            .expect("the outermost level is never closed")
    }

    fn open(&mut self, opener: Opener) {
        self.at += 1;
        self.levels.push(Level::new(opener));
        self.depth += 1;
        self.before = match opener {
            Opener::Block => Before::Start,
            _ => Before::Operator,
        };
    }

    fn close(&mut self) {
        self.at += 1;
        if self.levels.len() == 1 {
            return; // The parser will refuse it.
        }
        let Some(level) = self.levels.pop() else {
            return;
        };
        self.depth -= 1 + level.statements + level.operators;
        self.before = match level.opener {
            Opener::Block => Before::BlockEnd,
            Opener::Head => Before::Keyword,
            Opener::Object | Opener::Group => Before::Operand,
            Opener::Substitution => return self.template(),
        };
    }

    fn nest_operator(&mut self) {
        self.level().operators += 1;
        self.depth += 1;
    }

    fn nest_statement(&mut self) {
        self.level().statements += 1;
        self.depth += 1;
    }

    fn end_expression(&mut self) {
        self.level().conditions = 0;
        let ended = std::mem::take(&mut self.level().operators);
        self.depth -= ended;
    }

    fn end_statement(&mut self) {
        self.end_expression();
        let ended = std::mem::take(&mut self.level().statements);
        self.depth -= ended;
    }

    fn word(&mut self) {
        let start = self.at;
        let number = self.source[start].is_ascii_digit();
        let belongs = |byte: &u8| is_word(*byte) || (number && *byte == b'.');
        while self.source.get(self.at).is_some_and(belongs) {
            self.at += 1;
        }
        if self.before == Before::Dot {
            self.before = Before::Operand;
            return;
        }
        let word = &self.source[start..self.at];
        let continues = matches!(
            word,
            b"else"
                | b"while"
                | b"catch"
                | b"finally"
                | b"in"
                | b"of"
                | b"instanceof"
                | b"extends"
                | b"as"
                | b"from"
        );
        // Two values side by side are two statements, or an error at which the parser stops.
        let ended = matches!(
            self.before,
            Before::Start | Before::BlockEnd | Before::Operand
        );
        if (ended && !continues) || word == b"case" {
            self.end_statement();
        }
        self.before = match word {
            b"if" | b"for" | b"while" | b"with" => {
                self.nest_statement();
                Before::HeadKeyword
            }
            // `for await (`
            b"await" if self.before == Before::HeadKeyword => Before::HeadKeyword,
            b"else" | b"do" => {
                self.nest_statement();
                Before::Keyword
            }
            b"class" | b"extends" | b"function" => {
                self.nest_operator();
                Before::Keyword
            }
            b"async" => {
                self.nest_operator();
                Before::Name
            }
            b"get" | b"set" | b"of" | b"as" | b"from" => Before::Name,
            b"try" | b"finally" | b"static" | b"let" | b"const" | b"var" => Before::Keyword,
            b"typeof" | b"void" | b"delete" | b"await" | b"yield" | b"new" => {
                self.nest_operator();
                Before::Operator
            }
            b"in" | b"instanceof" | b"return" | b"throw" | b"case" | b"default" | b"import"
            | b"export" => Before::Operator,
            _ => Before::Operand,
        };
    }

    fn operator(&mut self) {
        let long = OPERATORS.iter().find(|operator| self.follows(operator));
        let operator: &[u8] = match long {
            Some(operator) => operator,
            None => &self.source[self.at..=self.at],
        };
        self.at += operator.len();
        let after_value = self.before == Before::Operand;
        self.before = match operator {
            b"." | b"?." => Before::Dot,
            b"++" | b"--" if after_value => Before::Operand,
            b"+" | b"-" if after_value => Before::Operator,
            b":" => {
                self.nest_operator();
                let level = self.level();
                if level.conditions > 0 {
                    level.conditions -= 1;
                } else if level.opener == Opener::Block {
                    self.nest_statement(); // A label.
                }
                Before::Operator
            }
            b"=>" => {
                self.nest_operator();
                Before::Arrow
            }
            b"?" => {
                self.nest_operator();
                self.level().conditions += 1;
                Before::Operator
            }
            b"==" | b"===" | b"!=" | b"!==" | b"<=" | b">=" => Before::Operator,
            b"+" | b"-" | b"++" | b"--" | b"!" | b"~" | b"**" => {
                self.nest_operator();
                Before::Operator
            }
            _ if operator.ends_with(b"=") => {
                self.nest_operator();
                Before::Operator
            }
            _ => Before::Operator,
        };
    }

    fn skip_past(&mut self, end: &[u8]) {
        let rest = &self.source[self.at..];
        let found = rest.windows(end.len()).position(|window| window == end);
        self.at = found.map_or(self.source.len(), |found| self.at + found + end.len());
    }

    fn skip_string(&mut self, quote: u8) {
        self.at += 1;
        while let Some(byte) = self.source.get(self.at) {
            self.at += 1;
            match byte {
                b'\\' => self.at += 1,
                b'\n' => return,
                byte if *byte == quote => return,
                _ => {}
            }
        }
    }

    fn skip_regular_expression(&mut self) {
        self.at += 1;
        let mut in_class = false;
        while let Some(byte) = self.source.get(self.at) {
            self.at += 1;
            match byte {
                b'\\' => self.at += 1,
                b'[' => in_class = true,
                b']' => in_class = false,
                b'\n' => break,
                b'/' if !in_class => break,
                _ => {}
            }
        }
        while self.source.get(self.at).is_some_and(|byte| is_word(*byte)) {
            self.at += 1;
        }
        self.before = Before::Operand;
    }

    /// Goes on in the text of a template, up to its end or its next substitution.
    fn template(&mut self) {
        while let Some(byte) = self.source.get(self.at) {
            self.at += 1;
            match byte {
                b'\\' => self.at += 1,
                b'`' => {
                    self.before = Before::Operand;
                    return;
                }
                b'$' if self.source.get(self.at) == Some(&b'{') => {
                    return self.open(Opener::Substitution);
                }
                _ => {}
            }
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'#' | b'\\') || byte >= 0x80
}
