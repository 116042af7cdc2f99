//! "Did you mean": the name that is nearest to what was written. Knows nothing of what the names name.

/// The candidate with the smallest edit distance (insert, delete, replace, swap neighbours), if it is near enough to be meant:
/// at most a third of the longer name, at least one edit. The first of equals wins.
pub fn nearest<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let written: Vec<char> = written.chars().take(64).collect();
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let other: Vec<char> = candidate.chars().take(64).collect();
        let near = (written.len().max(other.len()) / 3).max(1);
        if written.len().abs_diff(other.len()) > near {
            continue;
        }
        let found = distance(&written, &other);
        if found <= near && best.is_none_or(|(least, _)| found < least) {
            best = Some((found, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Optimal string alignment, three rows.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replace.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let names = ["load", "stats", "plot"];
        for (written, found) in [
            ("laod", Some("load")),
            ("Stats", Some("stats")),
            ("plots", Some("plot")),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, names), found, "{written}");
        }
    }
}
