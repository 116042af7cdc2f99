//! A tolerant parser of declarations: what it does not understand it passes over, tells, and goes on behind.

use crate::declare::{Base, Declarations, Declared, Dim, Enum, Function, Place, Struct};
use crate::lex::{Kind, Lexed, Token};

/// Structs in structs, parentheses in parentheses.
const DEPTH: usize = 32;
/// More fields, names or parameters are not read.
const MOST: usize = 1024;

const PLAIN: [&str; 14] = [
    "void",
    "char",
    "short",
    "int",
    "long",
    "signed",
    "unsigned",
    "float",
    "double",
    "bool",
    "_Bool",
    "_Complex",
    "__signed__",
    "complex",
];
/// Words that say nothing of the type.
const PASSED: [&str; 17] = [
    "static",
    "extern",
    "inline",
    "__inline",
    "__inline__",
    "register",
    "volatile",
    "restrict",
    "__restrict",
    "__restrict__",
    "_Noreturn",
    "noreturn",
    "_Thread_local",
    "__extension__",
    "auto",
    "constexpr",
    "PL_API",
];
/// Words with a group behind them that says nothing of the type.
const WITH_GROUP: [&str; 6] =
    ["__attribute__", "__attribute", "_Alignas", "alignas", "__declspec", "__asm__"];

/// What a file declares. Any tokens will do.
pub(crate) fn parse(lexed: &Lexed) -> Declarations {
    let mut parser = Parser { lexed, at: 0, depth: 0, found: Declarations::default() };
    while parser.at < lexed.tokens.len() {
        let before = parser.at;
        parser.outer();
        // Whatever it was.
        parser.at = parser.at.max(before + 1);
    }
    parser.found
}

/// What stands before the names of a declaration.
struct Head {
    base: Option<Base>,
    is_const: bool,
    is_typedef: bool,
    /// The word behind the type, where it is no part of it.
    name: Option<(String, Place)>,
}

struct Parser<'l> {
    lexed: &'l Lexed,
    at: usize,
    depth: usize,
    found: Declarations,
}

impl Parser<'_> {
    fn token(&self) -> Option<&Token> {
        self.lexed.tokens.get(self.at)
    }

    fn mark(&self) -> Option<char> {
        match self.token()?.kind {
            Kind::Mark(c) => Some(c),
            _ => None,
        }
    }

    fn word(&self) -> Option<&str> {
        match &self.token()?.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }

    fn eat(&mut self, mark: char) -> bool {
        let found = self.mark() == Some(mark);
        self.at += usize::from(found);
        found
    }

    fn place(&self) -> Place {
        let token = self.token().or(self.lexed.tokens.last());
        token.map_or(Place::default(), |it| {
            let length = match &it.kind {
                Kind::Word(word) | Kind::Number(word) => word.chars().count(),
                Kind::Text | Kind::Mark(_) => 1,
            };
            let end_col = it.col.saturating_add(u32::try_from(length).unwrap_or(u32::MAX));
            Place { line: it.line, col: it.col, end_col }
        })
    }

    /// Goes behind what closes the group that begins here.
    fn pass_group(&mut self) {
        let mut open = 0_usize;
        while let Some(token) = self.token() {
            match token.kind {
                Kind::Mark('(' | '[' | '{') => open += 1,
                Kind::Mark(')' | ']' | '}') => open = open.saturating_sub(1),
                _ => {}
            }
            self.at += 1;
            if open == 0 {
                return;
            }
        }
    }

    /// Goes behind the declaration: its `;`, or a body.
    fn pass_declaration(&mut self) {
        while let Some(mark) = self.token().map(|_| self.mark()) {
            match mark {
                Some(';') => {
                    self.at += 1;
                    return;
                }
                Some('{') => {
                    self.pass_group();
                    self.eat(';');
                    return;
                }
                Some('}') => return,
                Some('(' | '[') => self.pass_group(),
                _ => self.at += 1,
            }
        }
    }

    /// The comment that ends on the line before, or stands behind it on the same.
    fn doc(&self, line: u32) -> String {
        let end = self.lexed.comments.partition_point(|it| it.last < line);
        let above = end.checked_sub(1).and_then(|at| self.lexed.comments.get(at));
        let above = above.filter(|it| it.last + 1 == line);
        let beside = self.lexed.comments.get(end).filter(|it| it.first == line);
        above.or(beside).map(|it| it.text.clone()).unwrap_or_default()
    }

    /// One declaration of a file.
    fn outer(&mut self) {
        if self.eat(';') || self.eat('}') {
            return;
        }
        if self.word() == Some("extern")
            && self.lexed.tokens.get(self.at + 1).is_some_and(|it| it.kind == Kind::Text)
        {
            // `extern "C" {`: what is in it counts as it stands.
            self.at += 2;
            self.eat('{');
            return;
        }
        if self.word() == Some("_Static_assert") || self.word() == Some("static_assert") {
            return self.pass_declaration();
        }
        let start = self.place();
        let head = self.head();
        if self.mark() == Some('(')
            && head.name.is_none()
            && matches!(head.base, Some(Base::Named(_)))
        {
            // A macro's call, which may have no `;`.
            self.pass_group();
            self.eat(';');
            return;
        }
        let Some(base) = head.base else {
            if self.mark() != Some('#') {
                self.found.lost.push((start, "no declaration begins here"));
            }
            return self.pass_declaration();
        };
        if head.name.is_none() && self.eat(';') {
            return;
        }
        let mut name = head.name;
        loop {
            let (declared, is_function) = self.declarator(&base, head.is_const, name.take());
            if head.is_typedef {
                let odd = is_function.then_some("a type of functions");
                let odd = declared.odd.or(odd);
                if is_function {
                    self.pass_group();
                }
                self.found.typedefs.push(Declared { odd, ..declared });
            } else if is_function && !declared.name.is_empty() {
                let (takes, is_open) = self.parameters();
                let (name, place) = (declared.name.clone(), declared.place);
                let doc = self.doc(start.line);
                let function = Function { name, gives: declared, takes, is_open, doc, place };
                self.found.functions.push(function);
            }
            if !self.eat(',') {
                return self.pass_declaration();
            }
        }
    }

    /// The words before the first name. A name that is no type of the language is the type, or the declared name if a type stands before it, or a macro.
    fn head(&mut self) -> Head {
        let mut head = Head { base: None, is_const: false, is_typedef: false, name: None };
        let mut plain: Vec<String> = Vec::new();
        let mut names: Vec<(String, Place)> = Vec::new();
        while let Some(word) = self.word().map(str::to_owned) {
            let place = self.place();
            match word.as_str() {
                "const" => head.is_const = true,
                "typedef" => head.is_typedef = true,
                word if PASSED.contains(&word) => {}
                word if WITH_GROUP.contains(&word) => {
                    self.at += 1;
                    if self.mark() == Some('(') {
                        self.pass_group();
                    }
                    continue;
                }
                "struct" | "union" | "enum" => {
                    self.at += 1;
                    head.base = Some(self.tagged(&word));
                    names.clear();
                    continue;
                }
                plainly if PLAIN.contains(&plainly) => {
                    plain.push(word);
                    // What stood before was a macro.
                    names.clear();
                }
                _ => names.push((word, place)),
            }
            self.at += 1;
        }
        if !plain.is_empty() {
            head.base = Some(Base::Plain(plain));
        }
        match head.base {
            Some(_) => head.name = names.pop(),
            None => {
                let last = names.pop();
                let is_behind = names.last().is_some() && self.mark() != Some('*');
                match (is_behind, last) {
                    (true, last) => {
                        head.name = last;
                        head.base = names.pop().map(|(name, _)| Base::Named(name));
                    }
                    (false, last) => head.base = last.map(|(name, _)| Base::Named(name)),
                }
            }
        }
        head
    }

    /// What follows `struct`, `union` or `enum`.
    fn tagged(&mut self, word: &str) -> Base {
        while self.word().is_some_and(|word| WITH_GROUP.contains(&word)) {
            self.at += 1;
            self.pass_group();
        }
        let place = self.place();
        let mut tag = None;
        if let Some(name) = self.word() {
            tag = Some(name.to_owned());
            self.at += 1;
        }
        let count = self.found.structs.len() + self.found.enums.len();
        let name = tag.unwrap_or_else(|| format!("unnamed {count} {}", self.at));
        if self.mark() == Some('{') {
            self.depth += 1;
            match word {
                _ if self.depth > DEPTH => self.pass_group(),
                "struct" => {
                    let doc = self.doc(place.line);
                    let fields = self.fields();
                    self.found.structs.push((name.clone(), Struct { fields, doc, place }));
                }
                "enum" => {
                    let doc = self.doc(place.line);
                    let names = self.constants();
                    self.found.enums.push((name.clone(), Enum { names, doc, place }));
                }
                _ => self.pass_group(),
            }
            self.depth -= 1;
        }
        match word {
            "struct" => Base::Struct(name),
            "enum" => Base::Enum(name),
            _ => Base::Odd("a union: which of its members it is, nothing says"),
        }
    }

    fn fields(&mut self) -> Vec<Declared> {
        let mut fields = Vec::new();
        self.eat('{');
        while self.token().is_some() && !self.eat('}') {
            let before = self.at;
            let head = self.head();
            let base = head.base.unwrap_or(Base::Odd("no type"));
            let mut name = head.name;
            loop {
                let (mut declared, is_function) =
                    self.declarator(&base, head.is_const, name.take());
                if self.mark() == Some(':') {
                    declared.odd = Some("a field of bits");
                }
                if is_function {
                    declared.odd = Some("a function");
                }
                if fields.len() < MOST {
                    fields.push(declared);
                }
                while !matches!(self.mark(), Some(',' | ';' | '}')) && self.token().is_some() {
                    match self.mark() {
                        Some('(' | '[' | '{') => self.pass_group(),
                        _ => self.at += 1,
                    }
                }
                if !self.eat(',') {
                    break;
                }
            }
            self.eat(';');
            self.at = self.at.max(before + 1);
        }
        fields
    }

    fn constants(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        self.eat('{');
        while self.token().is_some() && !self.eat('}') {
            if let Some(name) = self.word()
                && names.len() < MOST
            {
                names.push(name.to_owned());
            }
            while !matches!(self.mark(), Some(',' | '}')) && self.token().is_some() {
                match self.mark() {
                    Some('(' | '[' | '{') => self.pass_group(),
                    _ => self.at += 1,
                }
            }
            self.eat(',');
        }
        names
    }

    /// Pointers, a name and what stands behind it, and whether parameters come next.
    fn declarator(
        &mut self,
        base: &Base,
        is_const: bool,
        name: Option<(String, Place)>,
    ) -> (Declared, bool) {
        let mut it = Declared {
            name: String::new(),
            base: base.clone(),
            is_const,
            pointers: 0,
            dims: Vec::new(),
            odd: None,
            place: self.place(),
        };
        let mut named = name;
        loop {
            if named.is_none() && self.eat('*') {
                it.pointers += 1;
            } else if named.is_none() && self.mark() == Some('(') {
                // `(*f)(…)`, `(*rows)[3]`; or, without a name, parameters.
                if matches!(
                    self.lexed.tokens.get(self.at + 1).map(|it| &it.kind),
                    Some(Kind::Mark('*' | '^'))
                ) {
                    it.odd = Some("a pointer to a function or to an array");
                    self.pass_group();
                    while matches!(self.mark(), Some('(' | '[')) {
                        self.pass_group();
                    }
                }
                break;
            } else if let Some(word) = self.word() {
                if WITH_GROUP.contains(&word) {
                    self.at += 1;
                    self.pass_group();
                    continue;
                }
                if word != "const" && !PASSED.contains(&word) {
                    // The last word is the name: those before are macros.
                    named = Some((word.to_owned(), self.place()));
                }
                self.at += 1;
            } else {
                break;
            }
        }
        if let Some((name, place)) = named {
            (it.name, it.place) = (name, place);
        }
        while self.eat('[') {
            it.dims.push(self.dim());
        }
        (it, self.mark() == Some('('))
    }

    /// What stands between brackets, and the closing one.
    fn dim(&mut self) -> Dim {
        let mut dim = Dim::Unknown;
        let mut parts = 0;
        while self.token().is_some() && !self.eat(']') {
            let found = match self.token().map(|it| &it.kind) {
                Some(Kind::Number(number)) => {
                    let digits = number.trim_end_matches(['u', 'U', 'l', 'L']);
                    digits.parse().map_or(Dim::Unknown, Dim::Number)
                }
                Some(Kind::Word(word)) if word == "const" || PASSED.contains(&word.as_str()) => {
                    self.at += 1;
                    continue;
                }
                Some(Kind::Word(word)) => Dim::Name(word.clone()),
                _ => Dim::Unknown,
            };
            parts += 1;
            dim = if parts == 1 { found } else { Dim::Unknown };
            match self.mark() {
                Some('(' | '[' | '{') => self.pass_group(),
                _ => self.at += 1,
            }
        }
        dim
    }

    /// What stands between parentheses, and the closing one; and whether it ends with `...`.
    fn parameters(&mut self) -> (Vec<Declared>, bool) {
        let (mut takes, mut is_open) = (Vec::new(), false);
        self.eat('(');
        while self.token().is_some() && !self.eat(')') {
            let before = self.at;
            if self.mark() == Some('.') {
                is_open = true;
            } else if takes.len() < MOST {
                let place = self.place();
                let head = self.head();
                let base = head.base.unwrap_or(Base::Odd("no type"));
                let (mut declared, is_function) = self.declarator(&base, head.is_const, head.name);
                if is_function {
                    declared.odd = Some("a function");
                }
                if declared.name.is_empty() {
                    declared.place = place;
                }
                takes.push(declared);
            }
            while !matches!(self.mark(), Some(',' | ')' | ';' | '}')) && self.token().is_some() {
                match self.mark() {
                    Some('(' | '[' | '{') => self.pass_group(),
                    _ => self.at += 1,
                }
            }
            if matches!(self.mark(), Some(';' | '}')) {
                break;
            }
            self.eat(',');
            self.at = self.at.max(before + 1);
        }
        let is_nothing = |it: &Declared| {
            it.base == Base::Plain(vec!["void".to_owned()])
                && it.pointers == 0
                && it.name.is_empty()
                && it.odd.is_none()
        };
        takes.retain(|it| !is_nothing(it));
        (takes, is_open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lex::lex;

    fn read(text: &str) -> Declarations {
        parse(&lex(text))
    }

    #[test]
    fn functions_have_their_types_names_and_comments() {
        let found = read(
            "/* Adds. */\nMYLIB_API extern const char *MYCALL add(unsigned long a, foo_t const b, const struct s *c, double d[a][3], int (*f)(int), ...) __attribute__((pure));\n\
             MACRO(x)\nstatic inline foo_t *g(void) { return h(1); } int x = 3; int y(int);",
        );
        let [add, g, y] = found.functions.as_slice() else { panic!("{found:?}") };
        assert_eq!((add.name.as_str(), add.doc.as_str(), add.is_open), ("add", "Adds.", true));
        assert!(add.gives.is_const && add.gives.pointers == 1);
        let names: Vec<_> = add.takes.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names[..4], ["a", "b", "c", "d"]);
        assert_eq!(add.takes[0].base, Base::Plain(vec!["unsigned".into(), "long".into()]));
        assert_eq!(add.takes[1].base, Base::Named("foo_t".into()));
        assert_eq!(add.takes[3].dims, [Dim::Name("a".into()), Dim::Number(3)]);
        assert!(add.takes[4].odd.is_some());
        assert_eq!((g.name.as_str(), g.takes.len(), g.gives.pointers), ("g", 0, 1));
        assert_eq!((y.name.as_str(), y.takes.len()), ("y", 1));
    }

    #[test]
    fn types_are_found_wherever_they_stand() {
        let found = read(
            "#ifndef A\n#define A\n/* How. */\ntypedef enum { LOUD, PLAIN = 1 << 3, } mode;\n\
             typedef struct { double x, y; char label[8]; struct { int n; } in; unsigned bits : 3; } point, *ref;\n\
             struct box { point *p; enum side { LEFT } side; };\ntypedef double real;\n#endif\n",
        );
        let names: Vec<_> = found.typedefs.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["mode", "point", "ref", "real"]);
        let names: Vec<_> = found.enums.iter().flat_map(|(_, it)| it.names.clone()).collect();
        assert_eq!(names, ["LOUD", "PLAIN", "LEFT"]);
        let (_, point) = &found.structs[1];
        let names: Vec<_> = point.fields.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["x", "y", "label", "in", "bits"]);
        assert!(point.fields[4].odd.is_some());
        assert!(found.lost.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in "(struct|enum|typedef|const|int|char|x|out_y|[0-9]{1,3}|[-(){}\\[\\];,*\"'#/.:=\\\\\n ]|\\PC){0,80}") {
            read(&text);
        }
    }
}
