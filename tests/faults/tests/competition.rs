//! A cell that behaves, beside cells that do not: how much longer it takes.
//!
//! A measurement, so that the bound is wide in the short form; `POLYLOOM_ROUNDS` of 300 and more has every hostile cell and
//! demands what is promised: at most twice the time that it takes alone.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use polyloom_test_e2e::{Place, is_root, skip};
use polyloom_test_faults::number_of;

/// One well-behaved cell and one that means harm at a time: busy with a hundred processes, forking without end, writing without end.
const HOSTILE: [(&str, &str); 3] = [
    ("busy", "for i in $(seq 100); do (while :; do :; done) & done; wait"),
    ("forking", "while :; do (:) & done"),
    ("writing", "while :; do head -c 50000000 /dev/zero > $OUT/x; head -c 100000 /dev/zero; done"),
];

fn flow() -> String {
    let mut text = String::from(
        "[cells.well]\nlang = \"sh\"\ncpus = 1.0\ncode = 'i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done'\n\
         [cells.plain]\nlang = \"sh\"\ncode = 'i=0; while [ $i -lt 400001 ]; do i=$((i+1)); done'\n",
    );
    for (name, code) in HOSTILE {
        text.push_str(&format!(
            "[cells.{name}]\nlang = \"sh\"\ntimeout = \"4s\"\noutputs = {{ x = \"file\" }}\noutput_limit = \"8GiB\"\ncode = '''\n{code}\n'''\n"
        ));
    }
    text
}

fn took(place: &Place, well: &str, with: Option<&str>) -> f64 {
    let mut words = vec!["-F", "-k", "-j", "2", well];
    words.extend(with);
    place.run(&words).cell(well)["wall_ms"].as_f64().unwrap()
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

#[test]
fn a_cell_that_behaves_gets_its_share() {
    if !is_root() || !std::path::Path::new("/sys/fs/cgroup/cpu/cgroup.procs").exists() {
        return skip("no control group for the processors can be made");
    }
    let strict = number_of("POLYLOOM_ROUNDS").unwrap_or(0) >= 300;
    let times = if strict { 5 } else { 1 };
    let place = Place::flow(&flow());
    for well in ["well", "plain"] {
        let alone = median((0..times.max(3)).map(|_| took(&place, well, None)).collect());
        let hostile = if strict { &HOSTILE[..] } else { &HOSTILE[..1] };
        for (hostile, _) in hostile {
            let beside = median((0..times).map(|_| took(&place, well, Some(hostile))).collect());
            let factor = beside / alone;
            println!(
                "{well}: {alone:.0} ms alone, {beside:.0} ms beside `{hostile}`: {factor:.2} times"
            );
            assert!(factor < if strict { 2.0 } else { 8.0 }, "{well} beside {hostile}: {factor}");
        }
    }
}
