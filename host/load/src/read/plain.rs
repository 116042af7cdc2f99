//! The TOML that nearly all flows are written in, from the parser's events straight into the tree. Knows no dates, no lists of tables and no
//! errors, not even that there are some: whoever gets no answer asks the whole parser.
//!
//! Where it answers, it answers what the whole parser would, byte for byte of every place. A flow of 100,000 cells is read in a quarter of
//! the time and of the memory.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;
use std::ops::Range;

use polyloom_model::each;
use toml_parser::decoder::{Encoding, ScalarKind};
use toml_parser::lexer::{Token, TokenKind};
use toml_parser::parser::{EventReceiver, parse_document};
use toml_parser::{ErrorSink, Raw, Source, Span as At};

use crate::tree::{Data, Entry, Key, Map, Node};

/// Values within values, and the names that lead to them. What is deeper is left to the parser that says so.
const DEPTH: usize = 32;
/// A table that is named again is looked for among so many entries; names are compared one by one up to here.
const FEW: usize = 16;

/// A piece of a long text has about so many bytes.
const PIECE: usize = 512 << 10;

/// The document, if it is plain.
pub(super) fn read(text: &str) -> Option<Node> {
    read_by(text, PIECE)
}

/// The same by pieces of about so many bytes.
pub(super) fn read_by(text: &str, size: usize) -> Option<Node> {
    let pieces = pieces(text, size).into_iter();
    let mut pieces = each(pieces, || (), |(), piece| read_piece(text, piece)).into_iter();
    let mut root = pieces.next()??;
    for piece in pieces {
        join(&mut root, piece?, text)?;
    }
    let unique = has_unique_names(&root) && inner(&root).all(has_unique_names);
    unique.then_some(root)
}

/// Cuts a long text where a line begins with a header of two names. If what is before it is a whole document, which is found out when it is read,
/// it is one: no text and no list goes on there.
fn pieces(text: &str, size: usize) -> Vec<Range<usize>> {
    let header = |at: &usize| {
        let line = text[at + 1..].lines().next().unwrap_or_default();
        line.ends_with(']') && line.bytes().filter(|byte| *byte == b'.').count() == 1
    };
    let mut pieces = Vec::with_capacity(text.len() / size + 1);
    let mut start = 0;
    while let Some(rest) = text.as_bytes().get(start + size..) {
        // Brackets and line breaks are never within a character.
        let from = start + size;
        let cuts = rest.windows(2).enumerate().filter(|(_, two)| two == b"\n[");
        let Some(cut) = cuts.map(|(at, _)| from + at).find(header) else { break };
        pieces.push(start..cut + 1);
        start = cut + 1;
    }
    pieces.push(start..text.len());
    pieces
}

fn read_piece(text: &str, piece: Range<usize>) -> Option<Node> {
    let failed = Cell::new(false);
    let mut tree = Tree::new(text, piece, &failed);
    // From header to header: there are never many tokens, and what is not plain ends it early.
    let mut tokens: Vec<Token> = Vec::new();
    let mut depth = 0_usize;
    for token in tree.source.lex() {
        match token.kind() {
            TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => {
                let new_line = tokens.last().is_some_and(|last| last.kind() == TokenKind::Newline);
                if depth == 0 && new_line {
                    tree.add(&tokens)?;
                    tokens.clear();
                }
                depth += 1;
            }
            TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket => {
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
        tokens.push(token);
    }
    tree.add(&tokens)?;
    tree.end_table()?;
    // What is further out is seen when all pieces are there.
    let unique = inner(&tree.root).flat_map(inner).all(is_unique);
    unique.then_some(tree.root)
}

/// Adds the tables of the next piece, as if it had been read on.
fn join(root: &mut Node, piece: Node, text: &str) -> Option<()> {
    let Data::Map(piece) = piece.data else { return None };
    let entries = entries(root)?;
    for mut entry in piece.entries {
        // Named only on the way to others.
        let implied = entry.node.span == entry.key.span;
        let from = entries.len().saturating_sub(FEW);
        let same = |own: &&mut Entry| own.key.text == entry.key.text;
        match entries[from..].iter_mut().rev().find(same).filter(|_| implied) {
            Some(own) => {
                is_open(&own.node, text).then_some(())?;
                self::entries(&mut own.node)?.append(self::entries(&mut entry.node)?);
            }
            None => entries.push(entry),
        }
    }
    Some(())
}

/// The document as far as it was read.
struct Tree<'t> {
    /// The piece that is read.
    source: Source<'t>,
    /// The whole text, and where in it the piece begins.
    text: &'t str,
    base: usize,
    /// Whether the text was found not to be plain: no event counts any more.
    failed: &'t Cell<bool>,
    /// All tables but the last.
    root: Node,
    /// The table of the last header, and what is open in it.
    open: Vec<Open>,
    /// The header's names, and those of each value that is not at its end.
    keys: Vec<Key>,
    /// Where tables were filled, for the next ones.
    rooms: Vec<Vec<Entry>>,
}

/// A table or a list that is being filled.
struct Open {
    node: Node,
    /// How many keys there are that do not name what is in it.
    keys: usize,
}

impl<'t> Tree<'t> {
    fn new(text: &'t str, piece: Range<usize>, failed: &'t Cell<bool>) -> Self {
        let root = Node { span: 0..0, data: Data::Map(Map::default()) };
        let open = vec![Open { node: root.clone(), keys: 0 }];
        let (base, source) = (piece.start, Source::new(&text[piece]));
        Self { source, text, base, failed, root, open, keys: Vec::new(), rooms: Vec::new() }
    }

    /// A place in the whole text.
    fn span(&self, at: At) -> Range<usize> {
        self.base + at.start()..self.base + at.end()
    }

    /// Takes a whole number of lines.
    fn add(&mut self, tokens: &[Token]) -> Option<()> {
        let failed = self.failed;
        parse_document(tokens, self, &mut |_| failed.set(true));
        (!failed.get()).then_some(())
    }

    /// Takes one event, unless it is too late for any.
    fn take(&mut self, take: impl FnOnce(&mut Self) -> Option<()>) {
        if !self.failed.get() && take(self).is_none() {
            self.failed.set(true);
        }
    }

    /// Begins what is filled from here on, if it is not too deep.
    fn begin(&mut self, at: At, data: Data) -> bool {
        self.take(|tree| {
            let node = Node { span: tree.span(at), data };
            tree.open.push(Open { node, keys: tree.keys.len() });
            (tree.open.len() < DEPTH).then_some(())
        });
        !self.failed.get()
    }

    fn begin_table(&mut self, at: At) -> bool {
        let entries = self.rooms.pop().unwrap_or_default();
        self.begin(at, Data::Map(Map { entries }))
    }

    fn end(&mut self) -> Option<Node> {
        let mut node = self.open.pop()?.node;
        // What is full has no room to spare.
        match &mut node.data {
            Data::List(items) => items.shrink_to_fit(),
            Data::Map(map) => {
                let mut room = std::mem::take(&mut map.entries);
                map.entries.reserve_exact(room.len());
                map.entries.append(&mut room);
                self.rooms.push(room);
            }
            _ => {}
        }
        Some(node)
    }

    /// Ends a list or a table in braces.
    fn end_at(&mut self, at: At) {
        self.take(|tree| {
            let mut node = tree.end()?;
            node.span.end = tree.span(at).end;
            tree.value(node)
        });
    }

    fn raw(&self, at: At, encoding: Option<Encoding>) -> Option<Raw<'t>> {
        let text = self.source.input().get(at.start()..at.end())?;
        Some(Raw::new_unchecked(text, encoding, at))
    }

    /// Puts the table that is full where its header says; what is before the first header is the root itself.
    fn end_table(&mut self) -> Option<()> {
        let node = self.end()?;
        if self.keys.is_empty() {
            self.root = node;
            return Some(());
        }
        put(&mut self.root, self.keys.drain(..), node, self.text)
    }

    fn value(&mut self, node: Node) -> Option<()> {
        let open = self.open.last_mut()?;
        if let Data::List(items) = &mut open.node.data {
            items.push(node);
            return Some(());
        }
        put(&mut open.node, self.keys.drain(open.keys..), node, self.text)
    }
}

impl EventReceiver for Tree<'_> {
    fn std_table_open(&mut self, at: At, _: &mut dyn ErrorSink) {
        self.take(Tree::end_table);
        self.begin_table(at);
    }

    fn std_table_close(&mut self, at: At, _: &mut dyn ErrorSink) {
        self.take(|tree| {
            let end = tree.span(at).end;
            let table = tree.open.last_mut()?;
            table.node.span.end = end;
            table.keys = tree.keys.len();
            Some(())
        });
    }

    fn array_table_open(&mut self, _: At, _: &mut dyn ErrorSink) {
        self.take(|_| None);
    }

    fn inline_table_open(&mut self, at: At, _: &mut dyn ErrorSink) -> bool {
        self.begin_table(at)
    }

    fn inline_table_close(&mut self, at: At, _: &mut dyn ErrorSink) {
        self.end_at(at);
    }

    fn array_open(&mut self, at: At, _: &mut dyn ErrorSink) -> bool {
        self.begin(at, Data::List(Vec::new()))
    }

    fn array_close(&mut self, at: At, _: &mut dyn ErrorSink) {
        self.end_at(at);
    }

    fn simple_key(&mut self, at: At, encoding: Option<Encoding>, error: &mut dyn ErrorSink) {
        self.take(|tree| {
            let mut text = Cow::Borrowed("");
            tree.raw(at, encoding)?.decode_key(&mut text, error);
            tree.keys.push(Key { text: (&*text).into(), span: tree.span(at) });
            (tree.keys.len() < DEPTH).then_some(())
        });
    }

    fn scalar(&mut self, at: At, encoding: Option<Encoding>, error: &mut dyn ErrorSink) {
        self.take(|tree| {
            let mut text = Cow::Borrowed("");
            let data = match tree.raw(at, encoding)?.decode_scalar(&mut text, error) {
                ScalarKind::String => Data::Str((&*text).into()),
                ScalarKind::Boolean(flag) => Data::Bool(flag),
                ScalarKind::Integer(radix) => {
                    Data::Int(i64::from_str_radix(&text, radix.value()).ok()?)
                }
                ScalarKind::Float => Data::Float(text.parse().ok()?),
                ScalarKind::DateTime => return None,
            };
            tree.value(Node { span: tree.span(at), data })
        });
    }

    fn comment(&mut self, at: At, error: &mut dyn ErrorSink) {
        self.take(|tree| tree.raw(at, None).map(|raw| raw.decode_comment(error)));
    }

    fn newline(&mut self, at: At, error: &mut dyn ErrorSink) {
        self.take(|tree| tree.raw(at, None).map(|raw| raw.decode_newline(error)));
    }
}

/// Puts a value where its names say, from that table on. Whether it is the only one there is seen at the end.
fn put(
    mut table: &mut Node,
    mut keys: std::vec::Drain<'_, Key>,
    node: Node,
    text: &str,
) -> Option<()> {
    let last = keys.next_back()?;
    for key in keys {
        let entries = entries(table)?;
        let from = entries.len().saturating_sub(FEW);
        let there = entries[from..].iter().rposition(|entry| entry.key.text == key.text);
        let at = there.map_or(entries.len(), |at| from + at);
        if there.is_none() {
            let node = Node { span: key.span.clone(), data: Data::Map(Map::default()) };
            entries.push(Entry { key, node });
        }
        table = &mut entries[at].node;
        is_open(table, text).then_some(())?;
    }
    entries(table)?.push(Entry { key: last, node });
    Some(())
}

fn entries(table: &mut Node) -> Option<&mut Vec<Entry>> {
    match &mut table.data {
        Data::Map(map) => Some(&mut map.entries),
        _ => None,
    }
}

/// Nothing is added to a table in braces.
fn is_open(table: &Node, text: &str) -> bool {
    text.as_bytes().get(table.span.start) != Some(&b'{')
}

/// Whether no table in it has a name twice.
fn is_unique(node: &Node) -> bool {
    has_unique_names(node) && inner(node).all(is_unique)
}

/// The values in a table or a list.
fn inner(node: &Node) -> impl Iterator<Item = &Node> {
    let (items, entries) = match &node.data {
        Data::Map(map) => (&[][..], &map.entries[..]),
        Data::List(items) => (&items[..], &[][..]),
        _ => (&[][..], &[][..]),
    };
    items.iter().chain(entries.iter().map(|entry| &entry.node))
}

fn has_unique_names(node: &Node) -> bool {
    let Data::Map(Map { entries }) = &node.data else { return true };
    let mut names = entries.iter().map(|entry| entry.key.text.as_str());
    if entries.len() <= FEW {
        let before = |at: usize| entries[..at].iter().map(|entry| entry.key.text.as_str());
        names.enumerate().all(|(at, name)| before(at).all(|other| other != name))
    } else {
        let mut seen = HashSet::with_capacity(entries.len());
        names.all(|name| seen.insert(name))
    }
}
