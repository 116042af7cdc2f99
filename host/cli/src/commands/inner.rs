//! Outputs of cells that are flows: a run has the cells of such a flow, and an edge calls an output by the name that the flow gives it.

use std::path::Path;

use polyloom_load::{Given, Purpose};
use polyloom_model::{Flow, Role};

use crate::functions::Readers;
use crate::world::World;

/// The cell and the output that one of a cell that is a flow stands for, by the flow as it is written now: `report.total` is
/// `report/sum`, `total`. Nothing where the cell is no flow, or the flow can't be read.
pub fn inner(
    world: &World,
    project: &Path,
    flow: &str,
    cell: &str,
    port: &str,
) -> Option<(String, String)> {
    let given = Given::default();
    let readers = Readers::new(world);
    let config = world.config(Purpose::Check, &given, &readers);
    let loaded = polyloom_load::load(&project.join(flow), &config);
    find(&loaded.flow?, cell, port)
}

fn find(flow: &Flow, cell: &str, port: &str) -> Option<(String, String)> {
    let (first, rest) = parted(cell);
    // Each step of a map is such a flow.
    let name = first.split('[').next().unwrap_or(first);
    let own = flow.cells.iter().find(|cell| cell.id.as_str() == name)?;
    let Role::Flow(sub) = &own.role else { return None };
    let (inner, port) = match rest {
        Some(rest) => find(&sub.flow, rest, port)?,
        None => {
            let mut outputs = sub.flow.outputs.iter();
            let (_, (inner, output)) = outputs.find(|(name, _)| name.as_str() == port)?;
            let (inner, output) = (inner.to_string(), output.to_string());
            find(&sub.flow, &inner, &output).unwrap_or((inner, output))
        }
    };
    Some((format!("{first}/{inner}"), port))
}

/// Whether a cell is one of a cell that is a flow.
pub fn is_in(cell: &str, flow: &str) -> bool {
    cell.strip_prefix(flow).is_some_and(|rest| rest.starts_with('/'))
}

/// The first of the names in the name of a cell of flows within flows. Labels of steps may hold what parts them.
fn parted(cell: &str) -> (&str, Option<&str>) {
    let mut depth = 0_u32;
    let end = cell.find(|c| {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == '/' && depth == 0
    });
    match end {
        Some(end) => (&cell[..end], Some(&cell[end + 1..])),
        None => (cell, None),
    }
}

/// `CELL.PORT`, or a cell alone. Labels of steps have dots: `train[lr=0.1].score`.
pub fn cell_and_port(place: &str) -> (&str, Option<&str>) {
    let behind = place.rfind(']').unwrap_or(0);
    match place[behind..].find('.').map(|at| behind + at) {
        Some(at) => (&place[..at], Some(&place[at + 1..])),
        None => (place, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parted_outside_of_labels() {
        assert_eq!(parted("a"), ("a", None));
        assert_eq!(parted("a[x=b/c.csv]/d/e"), ("a[x=b/c.csv]", Some("d/e")));
        assert_eq!(cell_and_port("a[x=0.1].score"), ("a[x=0.1]", Some("score")));
        assert_eq!(cell_and_port("a[x=0.1]"), ("a[x=0.1]", None));
    }
}
