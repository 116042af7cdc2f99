//! Which names of files mean which output. Pure rules on text that a cell chose; they know no file and no sandbox.

use polyloom_model::PortName;

/// The longest name of a result beyond the declared outputs, in bytes.
pub const MAX_EXTRA: usize = 64;

/// Whether a file of `$OUT` is that of a port: `PORT` or `PORT.ext`.
#[must_use]
pub fn belongs(file: &str, port: &PortName) -> bool {
    let rest = file.strip_prefix(port.as_str());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The extension that is kept of a port's file, with its dot; empty when it is none that a person would read as one.
#[must_use]
pub fn extension<'f>(file: &'f str, port: &PortName) -> &'f str {
    let extension = file.strip_prefix(port.as_str()).unwrap_or_default();
    let plain = extension.strip_prefix('.').is_some_and(|word| {
        (1..=16).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    if plain { extension } else { "" }
}

/// Whether a result beyond the declared outputs may have this name.
#[must_use]
pub fn fits_extra(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=MAX_EXTRA).contains(&name.len()) && name.chars().all(plain) && !name.starts_with('.')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn port(name: &str) -> PortName {
        name.parse().expect("a port")
    }

    #[test]
    fn a_file_is_that_of_a_port_by_its_whole_name_before_the_first_dot() {
        let chart = port("chart");
        for file in ["chart", "chart.png", "chart.tar.gz", "chart."] {
            assert!(belongs(file, &chart), "{file}");
        }
        for file in ["charts", "chart/x", "chart\u{301}", "Chart", "chart-2.png", "", ".chart"] {
            assert!(!belongs(file, &chart), "{file}");
        }
        for (file, kept) in [
            ("chart.png", ".png"),
            ("chart.tar.gz", ""),
            ("chart.", ""),
            ("chart", ""),
            ("chart.p\u{1b}g", ""),
            ("chart.abcdefghijklmnop", ".abcdefghijklmnop"),
            ("chart.abcdefghijklmnopq", ""),
            ("chart.é", ""),
        ] {
            assert_eq!(extension(file, &chart), kept, "{file}");
        }
    }

    #[test]
    fn extra_names_are_plain() {
        for name in ["a", "a.txt", "-rf", "A_b-1.c", &"x".repeat(64)] {
            assert!(fits_extra(name), "{name}");
        }
        for name in ["", ".", "..", ".x", "a/b", "é", "a b", "a\n", "a\\b", &"x".repeat(65)] {
            assert!(!fits_extra(name), "{name}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn one_file_belongs_to_one_port_at_most(
            file in "(a|b|ab|\\PC{0,3})(\\.|_|/|)\\PC{0,20}", a in "[ab]{1,2}", b in "[ab]{1,2}",
        ) {
            let (a, b) = (port(&a), port(&b));
            prop_assert!(a == b || !(belongs(&file, &a) && belongs(&file, &b)));
            let kept = extension(&file, &a);
            prop_assert!(kept.is_empty() || belongs(&file, &a));
            prop_assert!(kept.len() <= 17 && kept.bytes().skip(1).all(|byte| byte.is_ascii_alphanumeric()));
        }

        #[test]
        fn extra_names_lead_nowhere(name in "[a-z./\\\\]{0,5}|\\PC{0,70}|(?s:.){0,5}") {
            if fits_extra(&name) {
                let parts: Vec<_> = std::path::Path::new(&name).components().collect();
                prop_assert!(matches!(parts[..], [std::path::Component::Normal(_)]));
                prop_assert!(name.is_ascii() && !name.contains(char::is_control));
            }
        }
    }
}
