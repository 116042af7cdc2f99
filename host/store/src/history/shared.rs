//! What the steps of a run have in common, written once for all of them: how they were confined, and with what programs. It is more than half of what is
//! kept of a short cell.
//!
//! A text is kept without such pieces, with where they go. Whatever is cut out, and by whatever rule, all of it together is the text again.

use std::collections::HashMap;

use rusqlite::{Connection, Row, Transaction};

/// Members of a result and of a key that are often the same.
const OFTEN_SAME: [&str; 6] =
    ["enforcement", "executor", "libraries", "policy", "schema", "toolchain"];
/// A shorter piece is no shorter as a number.
const WORTH: usize = 64;
/// So many pieces are of a run, and so many of a step, at most: an index may be anybody's.
const MOST: usize = 64;
const MOST_OF_ONE: usize = 8;

/// The pieces of one run.
pub(super) struct Pieces<'i> {
    index: &'i Transaction<'i>,
    run: &'i str,
    known: HashMap<String, u32>,
}

/// A step's two texts as they are in its row.
pub(super) struct Cut {
    pub(super) parts: String,
    pub(super) meta: String,
    /// Where each piece goes and which one it is, four bytes each, little endian: offsets in the first text, then in the second behind it.
    pub(super) shared: Vec<u8>,
}

impl<'i> Pieces<'i> {
    pub(super) fn of(index: &'i Transaction<'i>, run: &'i str) -> Result<Self, rusqlite::Error> {
        let known = texts(index, run)?.into_iter().map(|(id, text)| (text, id)).collect();
        Ok(Self { index, run, known })
    }

    pub(super) fn cut(&mut self, parts: &str, meta: &str) -> Result<Cut, rusqlite::Error> {
        let mut shared = Vec::new();
        let parts = self.cut_one(parts, 0, &mut shared)?;
        let meta = self.cut_one(meta, parts.len(), &mut shared)?;
        Ok(Cut { parts, meta, shared })
    }

    fn cut_one(
        &mut self,
        text: &str,
        before: usize,
        shared: &mut Vec<u8>,
    ) -> Result<String, rusqlite::Error> {
        let mut own = String::with_capacity(text.len());
        let mut from = 0;
        for (start, end) in pieces(text) {
            let Some(id) = self.id(&text[start..end])? else { continue };
            own.push_str(&text[from..start]);
            from = end;
            let at = u32::try_from(before + own.len()).unwrap_or(u32::MAX);
            shared.extend(at.to_le_bytes());
            shared.extend(id.to_le_bytes());
        }
        own.push_str(&text[from..]);
        Ok(own)
    }

    /// The number of a piece; none where there are too many.
    fn id(&mut self, text: &str) -> Result<Option<u32>, rusqlite::Error> {
        if let Some(id) = self.known.get(text) {
            return Ok(Some(*id));
        }
        let next = self.known.values().max().map_or(0, |last| last.saturating_add(1));
        if self.known.len() >= MOST || text.len() > u32::MAX as usize / 2 {
            return Ok(None);
        }
        let mut add =
            self.index.prepare_cached("INSERT INTO shared (run, id, text) VALUES (?1, ?2, ?3)")?;
        add.execute((self.run, next, text))?;
        self.known.insert(text.to_owned(), next);
        Ok(Some(next))
    }
}

/// The pieces of a run by their numbers.
fn texts(index: &Connection, run: &str) -> Result<HashMap<u32, String>, rusqlite::Error> {
    let mut statement = index.prepare_cached("SELECT id, text FROM shared WHERE run = ?1")?;
    statement.query_map([run], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Puts texts together again.
pub(super) struct Whole(HashMap<u32, String>);

impl Whole {
    pub(super) fn of(index: &Connection, run: &str) -> Result<Self, rusqlite::Error> {
        texts(index, run).map(Self)
    }

    /// The two texts of a row, of which the column `at` says what is shared.
    pub(super) fn texts(
        &self,
        row: &Row<'_>,
        (parts, meta): (String, String),
        at: usize,
    ) -> Result<(String, String), rusqlite::Error> {
        let Some(shared) = row.get_ref(at)?.as_blob_or_null()? else { return Ok((parts, meta)) };
        let (places, _) = shared.as_chunks::<8>();
        let places = places.iter().take(MOST_OF_ONE).map(|[a, b, c, d, id @ ..]| {
            (u32::from_le_bytes([*a, *b, *c, *d]) as usize, u32::from_le_bytes(*id))
        });
        let (first, second): (Vec<_>, Vec<_>) = places.partition(|(at, _)| *at <= parts.len());
        let second = second.into_iter().map(|(at, id)| (at - parts.len(), id));
        Ok((self.put(&parts, first.into_iter()), self.put(&meta, second)))
    }

    /// What is out of place, or not there, is left out.
    fn put(&self, own: &str, places: impl Iterator<Item = (usize, u32)>) -> String {
        let mut text = String::with_capacity(own.len());
        let mut from = 0;
        for (at, id) in places {
            let (Some(before), Some(piece)) = (own.get(from..at), self.0.get(&id)) else {
                continue;
            };
            text.push_str(before);
            text.push_str(piece);
            from = at;
        }
        text.push_str(own.get(from..).unwrap_or_default());
        text
    }
}

/// Where members that are often the same are in a JSON object, each with the comma before it; none in what is no such object. Those that follow each other
/// are one piece. The first member is never one, so that no piece is at the start of a text.
fn pieces(text: &str) -> Vec<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut found: Vec<(usize, usize)> = Vec::new();
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    // Where the present member began, if it is one of them.
    let mut began = None;
    for (at, byte) in bytes.iter().enumerate() {
        if in_string {
            in_string = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' | b',' if depth == 1 => {
                if let Some(start) = began.take().filter(|start| at - start >= WORTH) {
                    match found.last_mut().filter(|(_, end)| *end == start) {
                        Some((_, end)) => *end = at,
                        None => found.push((start, at)),
                    }
                }
                if *byte != b',' {
                    break;
                }
                let name = text[at + 1..].strip_prefix('"').and_then(|rest| rest.split('"').next());
                began = name.filter(|name| OFTEN_SAME.contains(name)).map(|_| at);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    found.truncate(MOST_OF_ONE / 2);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str =
        "CREATE TABLE shared (run TEXT, id INTEGER, text TEXT, PRIMARY KEY (run, id));
        CREATE TABLE steps (parts TEXT, meta TEXT, shared BLOB);";

    /// The texts after they were written and read, and how long they were in their row.
    fn trip(all: &[(&str, &str)]) -> (Vec<(String, String)>, usize) {
        let mut index = Connection::open_in_memory().unwrap();
        index.execute_batch(SCHEMA).unwrap();
        let transaction = index.transaction().unwrap();
        let mut pieces = Pieces::of(&transaction, "r").unwrap();
        let mut long = 0;
        for (parts, meta) in all {
            let cut = pieces.cut(parts, meta).unwrap();
            long += cut.parts.len() + cut.meta.len();
            let row = (cut.parts, cut.meta, cut.shared);
            transaction.execute("INSERT INTO steps VALUES (?1, ?2, ?3)", row).unwrap();
        }
        let whole = Whole::of(&transaction, "r").unwrap();
        let mut rows = transaction.prepare("SELECT * FROM steps ORDER BY rowid").unwrap();
        let read = rows.query_map([], |row| whole.texts(row, (row.get(0)?, row.get(1)?), 2));
        (read.unwrap().map(Result::unwrap).collect(), long)
    }

    #[test]
    fn whatever_is_cut_out_is_put_in_again() {
        let long = "x".repeat(WORTH);
        let parts = format!(
            "{{\"code\":1,\"executor\":\"{long}\",\"schema\":[\"{long}\"],\"session\":2,\"toolchain\":\"{long}\"}}"
        );
        let meta = format!(
            "{{\"a\":\"}},\\\"\",\"enforcement\":[{{\"policy\":\"{long}\"}}],\"policy\":{{}},\"times\":null}}"
        );
        let odd = format!("é,\"policy\":\"{long}");
        let texts = [
            (parts.as_str(), meta.as_str()),
            (&parts, "{}"),
            ("", &meta),
            (&odd, &odd),
            ("{", "}"),
            ("[[,,\"policy\"", "\\"),
            (&meta, &parts),
        ];
        let (read, _) = trip(&texts);
        for (text, read) in texts.iter().zip(&read) {
            assert_eq!((text.0, text.1), (read.0.as_str(), read.1.as_str()));
        }
        let (_, long) = trip(&texts[..1]);
        assert!(long < parts.len() + meta.len() - 4 * WORTH, "{long}");
    }

    #[test]
    fn a_run_has_so_many_pieces_and_no_more() {
        let metas: Vec<String> =
            (0..2 * MOST).map(|at| format!("{{\"a\":1,\"policy\":\"{at:0>80}\"}}")).collect();
        let texts: Vec<(&str, &str)> = metas.iter().map(|meta| ("{}", meta.as_str())).collect();
        let (read, long) = trip(&texts);
        assert!(read.iter().zip(&metas).all(|(read, meta)| read.1 == *meta));
        assert!(long > MOST * 80);
    }

    #[test]
    fn a_row_of_anybodys_making_does_no_harm() {
        let index = Connection::open_in_memory().unwrap();
        index.execute_batch(SCHEMA).unwrap();
        index.execute("INSERT INTO shared VALUES ('r', 0, 'piece')", []).unwrap();
        let place = |at: u32, id: u32| [at.to_le_bytes(), id.to_le_bytes()].concat();
        let blobs = [
            place(1, 0),
            place(u32::MAX, 0),
            place(2, 9),
            [place(3, 0), place(0, 0)].concat(),
            place(0, 0).repeat(1000),
            vec![1, 2, 3],
        ];
        let whole = Whole::of(&index, "r").unwrap();
        for blob in blobs {
            index.execute("DELETE FROM steps", []).unwrap();
            index.execute("INSERT INTO steps VALUES ('äb', 'ü', ?1)", [blob]).unwrap();
            let read = |row: &Row<'_>| whole.texts(row, (row.get(0)?, row.get(1)?), 2);
            let (parts, meta) = index.query_row("SELECT * FROM steps", [], read).unwrap();
            assert!(parts.len() + meta.len() < 100, "{parts} {meta}");
        }
    }
}
