//! Cells that share an interpreter's state: who may, whether they agree, and in which order they come.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use polyloom_model::{CellId, Manifest, SessionName};

use super::Check;
use super::cell::{Draft, Drafts};
use super::wire::Edge;
use crate::findings::list;
use crate::problem::Code;
use crate::source::Span;
use crate::tree::Map;

/// The session that a cell names.
pub(crate) struct Wanted {
    pub name: SessionName,
    pub span: Span,
}

impl Check<'_, '_> {
    /// The session that a cell names, if it may be in one.
    pub(super) fn session(
        &mut self,
        id: &CellId,
        map: &Map,
        manifest: Option<&Manifest>,
    ) -> Option<Wanted> {
        let node = map.get("session")?;
        let span = node.span.clone();
        let text = self.findings.text("session", node)?;
        let name = match SessionName::declared(text) {
            Ok(name) => name,
            Err(error) => {
                self.findings.error(Code::BadName, &span, error.to_string(), "");
                return None;
            }
        };
        if let Some(manifest) = manifest.filter(|manifest| !manifest.holds_sessions()) {
            let languages = self.context.languages;
            let able =
                |name: &&str| languages.find(name).is_some_and(|other| other.holds_sessions());
            let able: Vec<&str> = languages.names().into_iter().filter(able).collect();
            let message = format!("`{}` holds no sessions", manifest.id);
            self.findings.error(Code::Unsupported, &span, message, "").help(match able[..] {
                [] => "no executor that is installed does".to_owned(),
                _ => format!("languages that do: {}", list(&able)),
            });
        }
        let others = [
            ("map", "the steps of a map are run at once, a session's cells one after the other"),
            ("stdin", "the cells of a session share one process, and so its stdin"),
        ];
        for (key, why) in others {
            let Some(other) = map.get(key) else { continue };
            let message = format!("the cell `{id}` can't have both `session` and `{key}`");
            self.findings
                .error(Code::Unsupported, &span, message, "this")
                .also(&other.span, "and this")
                .help(format!("{why}: take one of them away"));
        }
        Some(Wanted { name, span })
    }

    /// For each cell that of its session which comes before it. Cells of a session that can't be in one process are told.
    pub(super) fn sessions(
        &mut self,
        drafts: &Drafts<'_>,
        edges: &[Vec<Edge>],
    ) -> Vec<Option<CellId>> {
        let mut before = vec![None; drafts.len()];
        if drafts.iter().all(|draft| draft.session.is_none()) {
            return before;
        }
        let mut firsts: HashMap<&SessionName, usize> = HashMap::new();
        for (own, draft) in drafts.iter().enumerate() {
            let Some(session) = &draft.session else { continue };
            let first = *firsts.entry(&session.name).or_insert(own);
            self.compare(&drafts[first], draft);
        }
        let mut last: HashMap<&SessionName, usize> = HashMap::new();
        for own in order(edges) {
            let Some(session) = &drafts[own].session else { continue };
            let earlier = last.insert(&session.name, own);
            before[own] = earlier.map(|earlier| drafts[earlier].id.clone());
        }
        before
    }

    fn compare(&mut self, first: &Draft<'_>, other: &Draft<'_>) {
        let (Some(mine), Some(theirs)) = (&other.session, &first.session) else { return };
        let id = |manifest: &Manifest| manifest.id.clone();
        // What is not known has been told.
        let both = first.manifest.zip(other.manifest);
        let (a, b) = (&first.settings, &other.settings);
        let same = [
            ("lang", both.is_none_or(|(a, b)| id(a) == id(b))),
            ("env", a.env == b.env),
            ("allow", a.asks == b.asks),
            ("secrets", a.secrets == b.secrets),
            ("policy", a.policy.preset == b.policy.preset),
            ("enforce", a.policy.enforce == b.policy.enforce),
        ];
        for (key, _) in same.iter().filter(|(_, same)| !same) {
            let message = format!(
                "`{}` and `{}` are of one session and differ in `{key}`",
                first.id, other.id
            );
            self.findings
                .error(Code::BadSession, &mine.span, message, "this session")
                .also(&theirs.span, format!("`{}` names it, too", first.id))
                .help(format!("cells of one session share one process: give both the same `{key}`, or one of them another session"));
        }
    }
}

/// An order in which each cell comes after those that it waits for; of the cells that could come next, the first of the file does. What waits in a
/// circle is left out.
fn order(edges: &[Vec<Edge>]) -> Vec<usize> {
    let mut missing: Vec<usize> = edges.iter().map(Vec::len).collect();
    let mut next: Vec<Vec<usize>> = vec![Vec::new(); edges.len()];
    for (cell, from) in edges.iter().enumerate() {
        from.iter().for_each(|(source, _)| next[*source].push(cell));
    }
    let ready = (0..edges.len()).filter(|cell| missing[*cell] == 0);
    let mut ready: BinaryHeap<Reverse<usize>> = ready.map(Reverse).collect();
    let mut order = Vec::with_capacity(edges.len());
    while let Some(Reverse(cell)) = ready.pop() {
        order.push(cell);
        for &after in &next[cell] {
            missing[after] -= 1;
            if missing[after] == 0 {
                ready.push(Reverse(after));
            }
        }
    }
    order
}
