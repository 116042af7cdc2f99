//! Steps of mapped cells that were left out, counted: twenty thousand lines that say the same say nothing. Knows cells by their names alone.

use std::collections::BTreeMap;

use super::summary::count;

/// Steps of one mapped cell that were left out.
pub(super) struct Fold {
    pub(super) lang: String,
    count: u64,
    /// Why the first of them was.
    reason: String,
    /// Whether all were for that.
    same: bool,
}

/// By the name of the cell with `[…]` for what tells its steps apart: `train[…]`, `each[…]/fit`.
#[derive(Default)]
pub(super) struct Folds(BTreeMap<String, Fold>);

impl Folds {
    /// Counts a step. One that is no step of a map is not told at all.
    pub(super) fn add(&mut self, cell: &str, lang: &str, reason: &str) {
        let Some(name) = folded(cell) else { return };
        let fold = self.0.entry(name).or_insert_with(|| Fold {
            lang: lang.to_owned(),
            count: 0,
            reason: reason.to_owned(),
            same: true,
        });
        fold.count += 1;
        fold.same &= fold.reason == reason;
    }

    /// Those of the mapped cell that has just ended.
    pub(super) fn of(&mut self, cell: &str) -> Vec<(String, Fold)> {
        if self.0.is_empty() || cell.contains('[') {
            return Vec::new();
        }
        let start = format!("{cell}[");
        let names: Vec<String> =
            self.0.keys().filter(|name| name.starts_with(&start)).cloned().collect();
        names.into_iter().filter_map(|name| self.0.remove_entry(&name)).collect()
    }

    /// All that are left.
    pub(super) fn take(&mut self) -> Vec<(String, Fold)> {
        std::mem::take(&mut self.0).into_iter().collect()
    }
}

impl Fold {
    /// `20,000 steps: \`n > 3\` is false`.
    pub(super) fn words(&self) -> String {
        let steps = count(self.count, "step", "steps");
        let more = if self.same { "" } else { ", and others" };
        format!("{steps}: {}{more}; -v shows each", self.reason)
    }
}

fn folded(cell: &str) -> Option<String> {
    let mut name = String::new();
    let mut rest = cell;
    while let Some((before, label)) = rest.split_once('[') {
        let (_, after) = label.split_once(']')?;
        name.push_str(before);
        name.push_str("[…]");
        rest = after;
    }
    (!name.is_empty()).then(|| name + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_counted_by_the_cell_they_are_of() {
        let mut folds = Folds::default();
        for (cell, reason) in [
            ("a[n=1]", "x"),
            ("a[n=2]", "x"),
            ("a[n=1]/b[m=2]", "x"),
            ("a[n=2]/b[m=2]", "y"),
            ("ab[n=1]", "x"),
            ("plain", "x"),
        ] {
            folds.add(cell, "sh", reason);
        }
        let told = |folds: Vec<(String, Fold)>| -> Vec<String> {
            folds.iter().map(|(name, fold)| format!("{name} {}", fold.words())).collect()
        };
        assert_eq!(told(folds.of("a[n=1]")), [""; 0]);
        assert_eq!(
            told(folds.of("a")),
            ["a[…] 2 steps: x; -v shows each", "a[…]/b[…] 2 steps: x, and others; -v shows each"]
        );
        assert_eq!(told(folds.take()), ["ab[…] 1 step: x; -v shows each"]);
    }
}
