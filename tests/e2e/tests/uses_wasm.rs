//! Functions that a WebAssembly component exports, as cells.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use polyloom_test_e2e::Place;

const CALC: &str = include_str!("../../../executors/wasm/tests/guests/calc.wat");

fn place(cells: &str) -> Place {
    let place = Place::flow(cells);
    place.write("calc.wat", CALC);
    place
}

#[test]
fn functions_of_a_component_take_and_give_what_other_cells_do() {
    let place = place(
        "[cells.nums]\nlang = 'sh'\ncode = '''\necho '[1.5, 4.0]' > $OUT/xs\necho 17 > $OUT/n\n'''\noutputs = { xs = 'list<float>', n = 'int' }\n\
         [cells.scale]\nuses = 'wasm:./calc.wat:scale'\ninputs = { values = 'nums.xs' }\nparams = { by_factor = 3.0 }\n\
         [cells.div]\nuses = 'wasm:./calc.wat:whole.div-mod'\ninputs = { a = 'nums.n' }\nparams = { b = 5 }\n\
         [cells.show]\nlang = 'sh'\ncode = 'echo $xs $q $r'\ninputs = { xs = 'scale.result', q = 'div.result_1', r = 'div.result_2' }\n",
    );
    let run = place.polyloom(&["run"]);
    assert_eq!(run.code(), 0, "{}", run.screen());
    assert!(run.stderr().contains("[4.5,12.0] 3 2"), "{}", run.screen());
    let again = place.polyloom(&["run"]);
    assert!(again.stderr().contains("4 cached"), "{}", again.screen());
}

#[test]
fn an_error_that_a_function_gives_fails_its_cell() {
    let place =
        place("[cells.div]\nuses = 'wasm:./calc.wat:whole.div-mod'\nparams = { a = 1, b = 0 }\n");
    let run = place.polyloom(&["run"]);
    assert_eq!(run.code(), 1, "{}", run.screen());
    assert!(
        run.stderr().contains("`whole.div-mod` gave an error: division by zero"),
        "{}",
        run.screen()
    );
}

#[test]
fn a_wire_that_does_not_fit_is_told_before_anything_runs() {
    let place = place("[cells.sum]\nuses = 'wasm:./calc.wat:add'\nparams = { a = 'one', c = 2 }\n");
    let check = place.polyloom(&["check"]);
    assert_eq!(check.code(), 2, "{}", check.screen());
    for told in ["`a`", "`b`", "`c`"] {
        assert!(check.stderr().contains(told), "{}", check.screen());
    }
}
