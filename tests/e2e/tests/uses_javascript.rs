//! Functions with JSDoc types, as cells.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use polyloom_test_e2e::{Place, needs};

const FILTERS: &str = r#"
import { half } from "./lib/half.mjs";

/**
 * Every number less their mean.
 * @param {Float64Array} values
 * @param {object} options
 * @param {number} [options.maxSize=10] how many
 * @returns {{centred: Float64Array, meanValue: number}}
 */
export function centre(values, { maxSize = 10 } = {}) {
  const some = values.slice(0, maxSize);
  const meanValue = half(some.reduce((a, b) => a + b, 0)) / (some.length / 2);
  return { centred: some.map((value) => value - meanValue), meanValue };
}

/** @param {integer} n @returns {Generator<integer>} */
export function* count(n) { for (let i = 0; i < n; i++) yield i; }

/** @param {number | string | null} x @returns {string} */
export const either = async (x) => typeof x;

/** @param {Float64Array} values @returns {number} */
export function grows(values) { values[0] = 7; return 1; }

/** @param {number} x @returns {integer} */
export const lies = (x) => "no";

export function untyped(a) { return a; }
"#;

fn place(cells: &str) -> Place {
    let place = Place::flow(&format!(
        "[cells.nums]\nlang = 'javascript'\ncode = 'const xs = new Float64Array([1, 2, 6])'\noutputs = {{ xs = 'tensor<f64,[n]>' }}\n{cells}"
    ));
    place.write("filters.mjs", FILTERS);
    place.write("lib/half.mjs", "export const half = (x) => x / 2;\n");
    place
}

#[test]
fn functions_take_and_give_what_other_cells_do() {
    needs!("node");
    let place = place(
        "[cells.centre]\nuses = 'javascript:./filters.mjs:centre'\ninputs = { values = 'nums.xs' }\nparams = { max_size = 2 }\n\
         [cells.count]\nuses = 'javascript:./filters.mjs:count'\nparams = { n = 3 }\n\
         [cells.either]\nuses = 'javascript:./filters.mjs:either'\ninputs = { x = 'centre.mean_value' }\n\
         [cells.show]\nlang = 'sh'\ncode = 'echo $mean $list $kind'\ninputs = { mean = 'centre.mean_value', list = 'count.result', kind = 'either.result' }\n",
    );
    let run = place.polyloom(&["run"]).exits(0);
    assert!(run.stderr().contains("1.5 [0,1,2] number"), "{}", run.screen());
    assert!(place.polyloom(&["run"]).exits(0).stderr().contains("5 cached"));
    // What it imports counts.
    place.write("lib/half.mjs", "export const half = (x) => 0.5 * x;\n");
    let told = place.run(&[]).exits(0).ran();
    assert!(told.iter().any(|cell| cell == "centre") && !told.iter().any(|cell| cell == "nums"));
}

#[test]
fn what_is_broken_is_told_of_its_cell() {
    needs!("node");
    for (cell, words) in [
        (
            "uses = 'javascript:./filters.mjs:grows'\ninputs = { values = 'nums.xs' }",
            "argument `values` was changed by the function `grows`",
        ),
        ("uses = 'javascript:./filters.mjs:lies'\nparams = { x = 1.0 }", "output `result`"),
    ] {
        let place = place(&format!("[cells.it]\n{cell}\n"));
        let run = place.polyloom(&["run"]).exits(1);
        assert!(run.stderr().contains(words), "{}", run.screen());
    }
    for (cell, words) in [
        ("uses = 'javascript:./filters.mjs:untyped'", "JS001"),
        ("uses = 'javascript:./filters.mjs:cuont'", "`count`"),
        ("uses = 'javascript:./filters.mjs:either'\nparams = { x = true }", "`x`"),
        ("uses = 'javascript:lodash:map'", "JS004"),
        ("uses = 'javascript:lodash:map'", "of a package, write a function"),
    ] {
        let place = place(&format!("[cells.it]\n{cell}\n"));
        let check = place.polyloom(&["check"]).exits(2);
        assert!(check.stderr().contains(words), "{}", check.screen());
    }
}

#[test]
fn what_goes_wrong_in_a_call_is_told_at_its_line() {
    needs!("node");
    let typed = "/** @returns {number} */\nexport const";
    for (file, text, words) in [
        (
            "exit.mjs",
            format!("{typed} f = () => {{ process.exit(0); }};\n"),
            "exit.mjs:2:34: error: the cell ended itself before `f` returned",
        ),
        (
            "wrong.mjs",
            format!("\n{typed} f = () => \"no\";\n"),
            "wrong.mjs:3:14: error: output `result`: expected a number",
        ),
        (
            "lost.mjs",
            format!("import {{ lost }} from \"./filters.mjs\";\n{typed} f = () => 1;\n"),
            "lost.mjs:1: error: SyntaxError: The requested module",
        ),
        (
            "ring.mjs",
            format!(
                "import {{ b }} from \"./other.mjs\";\nexport const a = b;\n{typed} f = () => 1;\n"
            ),
            "other.mjs:2:18: error: ReferenceError: Cannot access 'a'",
        ),
    ] {
        let place = place(&format!("[cells.it]\nuses = 'javascript:./{file}:f'\n"));
        place.write(file, text);
        place.write("other.mjs", "import { a } from \"./ring.mjs\";\nexport const b = a + 1;\n");
        let run = place.polyloom(&["run"]).exits(1);
        assert!(run.stderr().contains(words), "{file}: {}", run.screen());
    }
}

#[test]
fn the_catalog_shows_them() {
    needs!("node");
    let place = place("");
    let ended = place.call(&["catalog", "filters.mjs"]).end().exits(2);
    let (out, err) = (ended.stdout(), ended.stderr());
    assert!(
        out.contains("javascript:./filters.mjs:either  ") && out.contains("x: float|str|null"),
        "{out}"
    );
    assert!(err.contains("filters.mjs:29:25") && err.contains("JS001"), "{err}");
}
