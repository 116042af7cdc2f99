//! Whether what a cell reads of others has changed: keys differ with all that an input was made of, for its reader only bytes count.
//!
//! The history knows what came in then, the store what is there now. Where one of them does not, the key has the last word.

use std::collections::BTreeMap;
use std::sync::Arc;

use polyloom_model::{CellId, Digest, PortName};
use polyloom_plan::{
    Action, Answers, Keyed, PartChange, PartName, Plan, Producer, Reason, comes_in,
};
use polyloom_store::{Fault, History, InputRow};

use crate::prepare::Prepared;

/// What came in from other cells: the digest of an output, or those of all that were gathered.
pub type Taken = BTreeMap<PortName, Vec<Digest>>;

/// What came into a cell when its result of this run was made.
pub fn taken(history: &History, run: &str, cell: &str) -> Result<Taken, Fault> {
    let made = history.maker(run, cell)?;
    Ok(made.map(|made| of_rows(&made.step.inputs)).unwrap_or_default())
}

fn of_rows(rows: &[InputRow]) -> Taken {
    let mut numbered: BTreeMap<PortName, BTreeMap<u32, Digest>> = BTreeMap::new();
    for row in rows {
        // What is gathered has a row for each: `score#0`, `score#1` and so on.
        let (port, number) = match row.port.split_once('#') {
            Some((port, number)) => (port, number.parse()),
            None => (row.port.as_str(), Ok(0)),
        };
        let digest = row.digest.as_deref().and_then(|digest| digest.parse().ok());
        if let (Ok(port), Ok(number), Some(digest)) = (port.parse(), number, digest) {
            numbered.entry(port).or_default().insert(number, digest);
        }
    }
    numbered.into_iter().map(|(port, all)| (port, all.into_values().collect())).collect()
}

/// Asks what came into the cells that a plan runs because of an input. Tells whether anything was found out, so that the plan is made
/// anew: no cell is asked about twice.
pub(crate) fn ask(
    plan: &Plan,
    answers: &mut Answers,
    history: &History,
    flow_name: &str,
) -> Result<bool, Fault> {
    let is_input = |change: &PartChange| {
        let both = change.before.is_some() && change.after.is_some();
        both && matches!(change.part, PartName::Input(_))
    };
    let changed = plan.all().filter(
        |step| matches!(&step.reason, Reason::Changed(changes) if changes.iter().any(is_input)),
    );
    let unasked = |cell: &&CellId| answers.previous.get(*cell).is_some_and(|it| it.taken.is_none());
    let cells: Vec<&CellId> = changed.map(|step| &step.cell).filter(unasked).collect();
    if cells.is_empty() {
        return Ok(false);
    }
    let names: Vec<&str> = cells.iter().map(|cell| cell.as_str()).collect();
    let last = history.last(flow_name, &names)?;
    let mut more = false;
    for cell in cells {
        let found = match last.get(cell.as_str()) {
            Some(last) => taken(history, &last.run, cell.as_str())?,
            None => Taken::new(),
        };
        more |= !found.is_empty();
        if let Some(previous) = answers.previous.get_mut(cell) {
            previous.taken = Some(found);
        }
    }
    Ok(more)
}

impl Prepared {
    /// What comes into a cell from others whose results stand.
    #[must_use]
    pub fn comes_in(&self, cell: &str) -> Taken {
        let own = self.flow.cells.iter().find(|it| it.id.as_str() == cell);
        let inputs = own.into_iter().flat_map(|cell| &cell.inputs);
        let come = |(port, input): (&PortName, &polyloom_model::Input)| {
            Some((port.clone(), comes_in(&input.source, |id| self.producer(id))?))
        };
        inputs.filter_map(come).collect()
    }

    fn producer(&self, id: &CellId) -> Producer<'_> {
        let step = self.plan.find(id.as_str()).and_then(|at| self.plan.get(at));
        match step.map(|step| &step.action) {
            Some(Action::Cached(recorded)) => Producer::Stands(recorded),
            Some(Action::Skip) => Producer::LeftOut,
            Some(Action::Run | Action::Maybe) => Producer::Unknown,
            None => {
                let is_it = |it: &&Keyed| self.flow.cells[it.cell.at()].id == *id;
                let keyed = self.keyed.iter().find(is_it);
                let known = keyed.and_then(|it| self.answers.recorded.get(&it.key));
                known.map_or(Producer::Unknown, |it| Producer::Stands(it))
            }
        }
    }
}

/// Leaves out inputs whose bytes are what they were, and tells of the others which bytes they are. `unknown` is said of what is not known
/// now. Tells whether any was left out.
pub fn tell(before: &Taken, now: &Taken, unknown: &str, changes: &mut Vec<PartChange>) -> bool {
    let count = changes.len();
    changes.retain(|change| match &change.part {
        PartName::Input(port) => {
            before.get(port).is_none_or(|before| now.get(port) != Some(before))
        }
        _ => true,
    });
    for change in changes.iter_mut() {
        let PartName::Input(port) = &change.part else { continue };
        let same = change.before == change.after;
        let Some(text) = change.before.take_if(|text| same && is_edge(text)) else { continue };
        let told = |digests: Option<&Vec<Digest>>, unknown: &str| {
            Some(Arc::from(match digests.map(Vec::as_slice) {
                Some([digest]) => format!("{text} (b3:{})", digest.short()),
                Some(_) => text.to_string(),
                None => format!("{text} ({unknown})"),
            }))
        };
        change.before = told(before.get(port), "not known any more");
        change.after = told(now.get(port), unknown);
    }
    changes.len() < count
}

/// Whether these are the words for what comes from other cells: `load.temps`, `3 steps` or `3 outputs`. A text of that form would be in
/// quotes, a file has a comma.
fn is_edge(words: &str) -> bool {
    let is_port = |(cell, port): (&str, &str)| {
        cell.parse::<CellId>().is_ok() && port.parse::<PortName>().is_ok()
    };
    let several = [" step", " steps", " output", " outputs"];
    several.iter().any(|unit| words.ends_with(unit)) || words.rsplit_once('.').is_some_and(is_port)
}
