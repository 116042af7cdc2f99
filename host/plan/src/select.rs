//! Which cells the user means: `cell`, `+cell`, `cell+`, `tag:x`, `*`, and `--from`, `--until`, `--only`.
//!
//! Knows nothing of what is cached: what a selected cell needs besides is the plan's business.

use std::str::FromStr;

use polyloom_model::{Cell, Flow, Role, fits_pattern};
use thiserror::Error;

use crate::graph::hint;
use crate::suggest::nearest;
use crate::{CellIndex, Graph};

/// One selector: `[+]PATTERN[+]`, the pattern a cell id, `tag:TAG`, or either with `*` and `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    pattern: Pattern,
    ancestors: bool,
    descendants: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Cell(String),
    Cells(String),
    Tag(String),
}

/// Why a selection can't be made or is empty.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SelectError {
    /// Not a selector.
    #[error("`{selector}` is not a selector; valid: `cell`, `+cell`, `cell+`, `tag:name`, `load*`")]
    Syntax {
        /// The text.
        selector: String,
    },
    /// No cell has that id.
    #[error("there is no cell `{name}`{}", hint(suggestion.as_ref()))]
    UnknownCell {
        /// The id.
        name: String,
        /// An id that is near.
        suggestion: Option<String>,
    },
    /// The map has other items.
    #[error("there is no step `{name}`; {}", steps_of(cell, steps))]
    UnknownStep {
        /// What was asked for.
        name: String,
        /// The mapped cell.
        cell: String,
        /// Its steps.
        steps: Vec<String>,
    },
    /// No cell has that tag.
    #[error("no cell has the tag `{tag}`{}", hint(suggestion.as_ref()))]
    UnknownTag {
        /// The tag.
        tag: String,
        /// A tag that is near.
        suggestion: Option<String>,
    },
    /// No id fits.
    #[error("no cell matches `{pattern}`")]
    NoMatch {
        /// The pattern.
        pattern: String,
    },
    /// Selectors, `--from` and `--until` have no cell in common, or the flow has no cell.
    #[error("no cell is selected")]
    Nothing,
}

/// `` `train` has `train[x=1]`, `train[x=2]` and 7 more ``.
fn steps_of(cell: &str, steps: &[String]) -> String {
    const NAMED: usize = 5;
    if steps.is_empty() {
        return format!("the list of the items of `{cell}` is empty");
    }
    let named: Vec<_> = steps.iter().take(NAMED).map(|step| format!("`{step}`")).collect();
    let more = match steps.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("`{cell}` has {}{more}", named.join(", "))
}

impl FromStr for Selector {
    type Err = SelectError;
    fn from_str(text: &str) -> Result<Self, SelectError> {
        let syntax = || SelectError::Syntax {
            selector: text.chars().take(80).flat_map(char::escape_debug).collect(),
        };
        let (ancestors, rest) = text.strip_prefix('+').map_or((false, text), |rest| (true, rest));
        let (descendants, rest) = rest.strip_suffix('+').map_or((false, rest), |rest| (true, rest));
        let (tag, name) = rest.strip_prefix("tag:").map_or((false, rest), |name| (true, name));
        // Within a label, a plus is one.
        let bare = name.split('[').map(|part| part.rsplit_once(']').map_or(part, |(_, rest)| rest));
        let bare: String = bare.collect();
        if name.is_empty() || bare.contains(['+', ':']) || name.chars().any(char::is_control) {
            return Err(syntax());
        }
        let name = name.to_owned();
        let pattern = match (tag, name.contains(['*', '?'])) {
            (true, _) => Pattern::Tag(name),
            (false, true) => Pattern::Cells(name),
            (false, false) => Pattern::Cell(name),
        };
        Ok(Self { pattern, ancestors, descendants })
    }
}

impl Selector {
    /// Marks the cells meant.
    fn mark(&self, flow: &Flow, graph: &Graph, marked: &mut [bool]) -> Result<(), SelectError> {
        let mut found = vec![false; graph.len()];
        match &self.pattern {
            Pattern::Cell(name) if self.mark_inside(name, flow, graph, &mut found) => {}
            Pattern::Cell(name) => {
                let Some(cell) = graph.index(name).or_else(|| open_of(name, flow, graph)) else {
                    no_step(name, flow, graph)?;
                    let near = nearest(name, flow.cells.iter().map(|cell| cell.id.as_str()));
                    return Err(SelectError::UnknownCell {
                        name: name.clone(),
                        suggestion: near.map(str::to_owned),
                    });
                };
                found[cell.at()] = true;
            }
            Pattern::Cells(pattern) => {
                for (at, cell) in flow.cells.iter().enumerate() {
                    found[at] = fits_pattern(pattern, cell.id.as_str());
                }
                // Steps that are not known yet are had by way of their map.
                let open = |cell: &Cell| matches!(cell.role, Role::Open);
                if let Some((map, _)) = pattern.split_once('[') {
                    for (at, cell) in flow.cells.iter().enumerate().filter(|(_, it)| open(it)) {
                        found[at] |= fits_pattern(map, cell.id.as_str());
                    }
                }
                if !found.contains(&true) {
                    no_step(pattern, flow, graph)?;
                    return Err(SelectError::NoMatch { pattern: pattern.clone() });
                }
            }
            Pattern::Tag(pattern) => {
                for (at, cell) in flow.cells.iter().enumerate() {
                    found[at] = cell.tags.iter().any(|tag| fits_pattern(pattern, tag));
                }
                if !found.contains(&true) {
                    let tags = flow.cells.iter().flat_map(|cell| cell.tags.iter());
                    let near = nearest(pattern, tags.map(String::as_str));
                    return Err(SelectError::UnknownTag {
                        tag: pattern.clone(),
                        suggestion: near.map(str::to_owned),
                    });
                }
            }
        }
        let alone = found.clone();
        let mut add = |reach: Vec<bool>| {
            for (mark, reached) in marked.iter_mut().zip(reach) {
                *mark |= reached;
            }
        };
        if self.ancestors {
            graph.add_ancestors(&mut found);
            add(found);
        }
        if self.descendants {
            let mut found = alone.clone();
            graph.add_descendants(&mut found);
            add(found);
        }
        add(alone);
        Ok(())
    }
}

impl Selector {
    /// Marks the cells of the flow that `name` is, where there is no cell of that very name; whether there are any.
    fn mark_inside(&self, name: &str, flow: &Flow, graph: &Graph, found: &mut [bool]) -> bool {
        let gate = match graph.index(name) {
            Some(cell) if matches!(flow.cells[cell.at()].role, Role::Gate) => Some(cell),
            Some(_) => return false,
            None => None,
        };
        let inside = |id: &str| id.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'));
        for (at, cell) in flow.cells.iter().enumerate() {
            found[at] = inside(cell.id.as_str()) || gate.is_some_and(|gate| gate.at() == at);
        }
        found.contains(&true)
    }
}

/// The names that a step's name begins with: of `a[x=1]/b[y=2]`, these are `a` and `a[x=1]/b`.
fn maps_of(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('[').map(|(at, _)| &name[..at])
}

/// The mapped cell of which `name` would be a step, or a cell in one, where its items are not known yet.
fn open_of(name: &str, flow: &Flow, graph: &Graph) -> Option<CellIndex> {
    let mut maps = maps_of(name).filter_map(|map| graph.index(map));
    maps.find(|map| matches!(flow.cells[map.at()].role, Role::Open))
}

/// Tells the steps there are of the mapped cell of which `name` would be one.
fn no_step(name: &str, flow: &Flow, graph: &Graph) -> Result<(), SelectError> {
    let gathers = |map: &&str| {
        let cell = graph.index(map).map(|at| &flow.cells[at.at()]);
        cell.is_some_and(|cell| matches!(cell.role, Role::Gather))
    };
    let Some(map) = maps_of(name).filter(gathers).last() else { return Ok(()) };
    let mut steps = Vec::new();
    for cell in &flow.cells {
        let rest = cell.id.as_str().strip_prefix(map).filter(|rest| rest.starts_with('['));
        let Some(end) = rest.and_then(|rest| rest.find(']')) else { continue };
        let step = &cell.id.as_str()[..=map.len() + end];
        if steps.last().is_none_or(|last| last != step) {
            steps.push(step.to_owned());
        }
    }
    Err(SelectError::UnknownStep { name: name.to_owned(), cell: map.to_owned(), steps })
}

/// Whether what selected cells are made from is brought up to date too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scope {
    /// As far as needed.
    #[default]
    Needed,
    /// `--only`: no; their results must be there.
    Only,
}

/// What the user asked for.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The cells; none: all.
    pub cells: Vec<Selector>,
    /// `--from`: these and what is made from them.
    pub from: Vec<Selector>,
    /// `--until`: these and what they are made from.
    pub until: Vec<Selector>,
    /// `--only`.
    pub scope: Scope,
}

/// The cells selected: never none.
#[derive(Debug, Clone)]
pub struct Selected {
    pub(crate) marked: Vec<bool>,
    /// Whether what they need is included when planning.
    pub scope: Scope,
}

impl Selected {
    /// Whether a cell is selected.
    #[must_use]
    pub fn contains(&self, cell: CellIndex) -> bool {
        self.marked.get(cell.at()).copied().unwrap_or(false)
    }

    /// How many cells are selected.
    #[must_use]
    pub fn count(&self) -> usize {
        self.marked.iter().filter(|&&mark| mark).count()
    }
}

impl Selection {
    /// Whether all cells of any flow are meant.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.cells.is_empty() && self.from.is_empty() && self.until.is_empty()
    }

    /// The cells of `flow` that are meant: those of the selectors, cut by `--from` and by `--until`.
    pub fn resolve(&self, flow: &Flow, graph: &Graph) -> Result<Selected, SelectError> {
        let all = |selectors: &[Selector]| {
            let mut marked = vec![false; graph.len()];
            for selector in selectors {
                selector.mark(flow, graph, &mut marked)?;
            }
            Ok(marked)
        };
        let mut marked = match self.cells.as_slice() {
            [] => vec![true; graph.len()],
            selectors => all(selectors)?,
        };
        let mut keep = |reach: Vec<bool>| {
            for (mark, reached) in marked.iter_mut().zip(reach) {
                *mark &= reached;
            }
        };
        if !self.from.is_empty() {
            let mut reach = all(&self.from)?;
            graph.add_descendants(&mut reach);
            keep(reach);
        }
        if !self.until.is_empty() {
            let mut reach = all(&self.until)?;
            graph.add_ancestors(&mut reach);
            keep(reach);
        }
        if !marked.contains(&true) {
            return Err(SelectError::Nothing);
        }
        Ok(Selected { marked, scope: self.scope })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_the_whole_name() {
        for (pattern, text) in [
            ("*", ""),
            ("*", "load"),
            ("l*d", "load"),
            ("??ad", "load"),
            ("*a*", "load"),
            ("a**b", "ab"),
        ] {
            assert!(fits_pattern(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("l", "load"), ("?", ""), ("*x", "load"), ("load?", "load")] {
            assert!(!fits_pattern(pattern, text), "{pattern} {text}");
        }
        assert!(!fits_pattern(&"*a".repeat(40), &"a".repeat(39)));
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for bad in ["", "+", "++", "tag:", "+tag:+", "a+b", "a:b", "a\n"] {
            assert!(bad.parse::<Selector>().is_err(), "{bad:?}");
        }
        assert_eq!("++a".parse::<Selector>(), Err(SelectError::Syntax { selector: "++a".into() }));
    }
}
