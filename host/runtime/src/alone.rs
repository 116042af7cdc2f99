//! One cell apart from any run: what it would be started with, for somebody who wants to be where it would run.

use std::sync::Arc;

use polyloom_model::{CellId, PortName, Source};
use polyloom_plan::{Action, feeds};
use polyloom_worker::attempt::{Attempt, Stop};
use thiserror::Error;
use tokio::sync::watch;

use crate::permit::Permit;
use crate::place::Place;
use crate::prepare::Prepared;
use crate::run::PolicyWord;
use crate::step::StepRun;

/// Why it can't be had.
#[derive(Debug, Error)]
pub enum AloneError {
    /// It is in no plan, or is no program.
    #[error("`{0}` is no cell with code of its own")]
    NoCell(String),
    /// What it reads is still to be made.
    #[error("input `{input}` comes from `{from}`, whose result is not there")]
    NotMade {
        /// The input.
        input: PortName,
        /// The cell that it comes from.
        from: CellId,
    },
    /// It may not, or an input does not fit.
    #[error("{0}")]
    Refused(String),
}

/// What the first attempt at a cell of a plan, in which it runs, would be started with.
pub async fn alone(
    place: &Arc<Place>,
    prepared: &Prepared,
    cell: &str,
    permit: Option<Permit>,
    policy: &PolicyWord,
    stop: &watch::Receiver<Stop>,
) -> Result<Attempt, AloneError> {
    let none = || AloneError::NoCell(cell.to_owned());
    let step = prepared.plan.steps.iter().find(|step| step.cell.as_str() == cell);
    let step = step.ok_or_else(none)?;
    let at = step.index.at();
    let flow = &prepared.flow;
    let executor = prepared.executors.get(&flow.cells[at].executor);
    let executor = executor.filter(|_| flow.cells[at].is_program()).ok_or_else(none)?;
    let cell = &flow.cells[at];
    let mut given = Vec::with_capacity(step.supplies.len());
    for supply in &step.supplies {
        let from = &prepared.plan.steps[supply.step.at()];
        let made = match &from.action {
            Action::Cached(recorded) if !recorded.evicted.contains(&supply.output) => {
                recorded.outputs.get(&supply.output)
            }
            Action::Cached(_) | Action::Run | Action::Maybe | Action::Skip => None,
        };
        let not_made =
            || AloneError::NotMade { input: supply.input.clone(), from: from.cell.clone() };
        given.push((supply.input.clone(), made.ok_or_else(not_made)?.clone()));
    }
    let file = |port: &PortName| {
        let digest = prepared.facts.files.get(&(cell.id.clone(), port.clone()))?;
        Some((port.clone(), *digest))
    };
    let files = cell.inputs.iter().filter(|(_, input)| matches!(input.source, Source::File(_)));
    let run = StepRun {
        stop: None,
        place: Arc::clone(place),
        flow: Arc::clone(flow),
        cell: at,
        executor: Arc::clone(executor),
        identity: prepared.identities.get(&cell.executor).copied().ok_or_else(none)?,
        edges: feeds(cell, given),
        planned: files.filter_map(|(port, _)| file(port)).collect(),
        permit,
        policy: policy.over(&cell.policy),
        limits: cell.limits.clone(),
        flight: None,
        coming: 0,
        spare: true,
        history: None,
        turn: None,
        unix_ms: place.unix_ms,
    };
    run.laid_out(stop).await.map_err(|trouble| AloneError::Refused(trouble.text))
}
