//! Functions that a header in C declares, as cells.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use polyloom_test_e2e::{Place, needs};

const SHAPES: &str = r"
#ifndef SHAPES_H
#define SHAPES_H
/* How loud. */
typedef enum { MODE_PLAIN, MODE_LOUD } mode_kind;
typedef struct { double x, y; char label[8]; int tags[2]; } point;
struct box { point corner; struct { float width, height; } size; mode_kind mode; };
#endif
";

const HEADER: &str = r#"
#pragma once
#include <polyloom.h>
#include <stdbool.h>

#include "shapes.h"

/* A number that was scaled. */
double scale(double x, int32_t by, bool negate);
const char *greet(const char *name, mode_kind mode);
point moved(point from, const struct box *to);
double total(const double *xs, size_t xs_len);
size_t longest(const char *const *words, size_t words_count);
void inverted(size_t h, size_t w, const double img[h][w], double out_img[h][w]);
double dot(size_t n, const double a[n], const double b[n]);
void split(double x, int64_t *out_whole, double *part_out, const char **out_words);
void below(int32_t limit, int32_t **out_ns, size_t *out_ns_len);
pl_span_f64 halved(pl_span_f64 xs);
uint64_t drawn(uint64_t seed);
static inline int twice(int n) { return 2 * n; }

void *made(void);
double unsure(double *xs, size_t n);
"#;

const BODY: &str = r#"
#include "filters.h"

double scale(double x, int32_t by, bool negate) { return negate ? -x * by : x * by; }
const char *greet(const char *name, mode_kind mode) {
  static char text[64];
  snprintf(text, sizeof text, mode == MODE_LOUD ? "HELLO %s" : "hello %s", name);
  return text;
}
point moved(point from, const struct box *to) {
  from.x += to->corner.x + to->size.width;
  from.y += to->corner.y;
  from.tags[1] = 7;
  return from;
}
double total(const double *xs, size_t xs_len) {
  double sum = 0;
  for (size_t i = 0; i < xs_len; i++) sum += xs[i];
  return sum;
}
size_t longest(const char *const *words, size_t words_count) {
  size_t most = 0;
  for (size_t i = 0; i < words_count; i++)
    if (strlen(words[i]) > most) most = strlen(words[i]);
  return most;
}
void inverted(size_t h, size_t w, const double img[h][w], double out_img[h][w]) {
  for (size_t y = 0; y < h; y++)
    for (size_t x = 0; x < w; x++) out_img[y][x] = 1 - img[y][x];
}
double dot(size_t n, const double a[n], const double b[n]) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}
void split(double x, int64_t *out_whole, double *part_out, const char **out_words) {
  *out_whole = (int64_t)x;
  *part_out = x - (double)*out_whole;
  *out_words = "in two";
}
void below(int32_t limit, int32_t **out_ns, size_t *out_ns_len) {
  if (limit < 0) pl_fail("nothing is below %d", limit);
  *out_ns = calloc((size_t)limit + 1, sizeof **out_ns);
  for (int32_t i = 0; i < limit; i++) (*out_ns)[i] = i;
  *out_ns_len = (size_t)limit;
}
pl_span_f64 halved(pl_span_f64 xs) {
  double *half = pl_alloc((size_t)xs.size * sizeof *half);
  for (int64_t i = 0; i < xs.size; i++) half[i] = xs.data[i] / 2;
  xs.data = half;
  return xs;
}
uint64_t drawn(uint64_t seed) { return seed % 1000; }
"#;

/// Two tensors, to begin with.
const MAKE: &str = r#"
[cells.make]
lang = "c"
code = '''
#include <polyloom.h>
int main(void) {
  int64_t shape[] = {2, 3};
  double *xs = pl_out_f64("xs", 4), *img = pl_out_tensor_f64("img", shape, 2);
  for (int i = 0; i < 4; i++) xs[i] = i + 0.5;
  for (int i = 0; i < 6; i++) img[i] = i / 4.0;
}
'''
outputs = { xs = "tensor<f64,[n]>", img = "tensor<f64,[h,w]>" }
"#;

fn place(cells: &str) -> Place {
    let place = Place::flow(cells);
    place.write("lib/filters.h", HEADER);
    place.write("lib/filters.c", BODY);
    place.write("lib/shapes.h", SHAPES);
    place
}

#[test]
fn numbers_texts_and_structs_go_in_and_out() {
    needs!("gcc");
    let place = place(
        "[cells.scale]\nuses = 'c:./lib/filters.h:scale'\nparams = { x = 1.5, by = 4, negate = true }\n\
         [cells.greet]\nuses = 'c:./lib/filters.h:greet'\nparams = { name = 'Ada', mode = 'MODE_LOUD' }\n\
         [cells.moved]\nuses = 'c:./lib/filters.h:moved'\nparams = { from = { x = 1.0, y = 2.0, label = 'here', tags = [1, 2] }, to = { corner = { x = 10.0, y = 20.0, label = '', tags = [0, 0] }, size = { width = 0.5, height = 0.0 }, mode = 'MODE_PLAIN' } }\n\
         [cells.longest]\nuses = 'c:./lib/filters.h:longest'\nparams = { words = ['a', 'four', 'bcd'] }\n\
         [cells.split]\nuses = 'c:./lib/filters.h:split'\nparams = { x = 3.25 }\n\
         [cells.drawn]\nuses = 'c:./lib/filters.h:drawn'\nparams = { seed = 4321 }\n\
         [cells.twice]\nuses = 'c:./lib/filters.h:twice'\ninputs = { n = 'split.whole' }\n\
         [cells.show]\nlang = 'sh'\ncode = 'echo \"$scale, $greet, $moved, $longest, $whole $part $words, $drawn, $twice\"'\n\
         inputs = { scale = 'scale.result', greet = 'greet.result', moved = 'moved.result', longest = 'longest.result', whole = 'split.whole', part = 'split.part', words = 'split.words', drawn = 'drawn.result', twice = 'twice.result' }\n",
    );
    let run = place.polyloom(&["run"]);
    assert_eq!(run.code(), 0, "{}", run.screen());
    let shown = r#"-6.0, HELLO Ada, {"label":"here","tags":[1,7],"x":11.5,"y":22.0}, 4, 3 0.25 in two, 321, 6"#;
    assert!(run.stderr().contains(shown), "{}", run.screen());
}

#[test]
fn arrays_are_tensors_and_their_sizes_are_no_ports() {
    needs!("gcc");
    let place = place(&format!(
        "{MAKE}\
         [cells.total]\nuses = 'c:./lib/filters.h:total'\ninputs = {{ xs = 'make.xs' }}\n\
         [cells.halved]\nuses = 'c:./lib/filters.h:halved'\ninputs = {{ xs = 'make.xs' }}\n\
         [cells.dot]\nuses = 'c:./lib/filters.h:dot'\ninputs = {{ a = 'make.xs', b = 'halved.result' }}\n\
         [cells.inverted]\nuses = 'c:./lib/filters.h:inverted'\ninputs = {{ img = 'make.img' }}\n\
         [cells.below]\nuses = 'c:./lib/filters.h:below'\nparams = {{ limit = 4 }}\n\
         [cells.show]\nlang = 'c'\ncode = '''\n#include <polyloom.h>\n\
         int main(void) {{\n  pl_span_f64 img = pl_in_f64(\"img\");\n  pl_span_i32 ns = pl_in_i32(\"ns\");\n\
           printf(\"%g %g; %dx%d %g; %d of %d\\n\", pl_in_float(\"total\"), pl_in_float(\"dot\"), (int)img.shape[0], (int)img.shape[1], img.data[5], ns.data[3], (int)ns.size);\n}}\n'''\n\
         inputs = {{ total = 'total.result', dot = 'dot.result', img = 'inverted.out_img', ns = 'below.ns' }}\n"
    ));
    let run = place.polyloom(&["run"]);
    assert_eq!(run.code(), 0, "{}", run.screen());
    assert!(run.stderr().contains("8 10.5; 2x3 -0.25; 3 of 4"), "{}", run.screen());
}

#[test]
fn a_header_without_a_guard_stands_in_a_program_once() {
    needs!("gcc");
    let place =
        Place::flow("[cells.a]\nuses = 'c:./pair.h:sum'\nparams = { p = { x = 1, y = 2 } }\n");
    place.write("pair.h", "struct pair { int x, y; };\nint sum(struct pair p);\n");
    place.write("pair.c", "#include \"pair.h\"\nint sum(struct pair p) { return p.x + p.y; }\n");
    let run = place.polyloom(&["run"]);
    assert_eq!(run.code(), 0, "{}", run.screen());
}

#[test]
fn what_does_not_fit_fails_the_cell_by_its_name() {
    needs!("gcc");
    for (cell, told) in [
        (
            "uses = 'c:./lib/filters.h:scale'\nparams = { x = 1, by = 5000000000, negate = true }",
            "expected -2147483648 to 2147483647, found int 5000000000",
        ),
        (
            "uses = 'c:./lib/filters.h:scale'\nparams = { x = 1, negate = true }\ninputs = { by = 'big.n' }\n[cells.big]\nlang = 'python'\ncode = 'n = 5000000000'\noutputs = { n = 'int' }",
            "input `by`: 5000000000 does not fit int32_t",
        ),
        ("uses = 'c:./lib/filters.h:dot'\ninputs = { a = 'make.xs', b = 'make.img' }", "`b`"),
        ("uses = 'c:./lib/filters.h:below'\nparams = { limit = -1 }", "nothing is below -1"),
        (
            "uses = 'c:./lib/filters.h:moved'\nparams = { from = { x = 1.0, y = 2.0, label = 'too long a label', tags = [1, 2] }, to = { corner = { x = 0.0, y = 0.0, label = '', tags = [0, 0] }, size = { width = 0.5, height = 0.0 }, mode = 'MODE_PLAIN' } }",
            ".label: expected at most 7 characters",
        ),
    ] {
        let place = place(&format!("{MAKE}[cells.it]\n{cell}\n"));
        let run = place.polyloom(&["run"]);
        assert_ne!(run.code(), 0, "{}", run.screen());
        assert!(run.stderr().contains(told), "{told}: {}", run.screen());
    }
}

#[test]
fn an_edit_of_the_code_behind_a_header_runs_its_cells_again() {
    needs!("gcc");
    let place = place(
        "[cells.scale]\nuses = 'c:./lib/filters.h:scale'\nparams = { x = 1.5, by = 4, negate = true }\n[cells.show]\nlang = 'sh'\ncode = 'echo is $x'\ninputs = { x = 'scale.result' }\n",
    );
    let run = place.polyloom(&["run"]);
    assert!(run.stderr().contains("is -6.0"), "{}", run.screen());
    assert!(place.polyloom(&["run"]).stderr().contains("2 cached"));
    place.write("lib/filters.c", BODY.replace("-x * by", "-x * by - 1"));
    let run = place.polyloom(&["run"]);
    assert!(run.stderr().contains("is -7.0"), "{}", run.screen());
    place.write("lib/filters.c", BODY.replace("-x * by", "-x by"));
    let run = place.polyloom(&["run"]);
    assert_eq!(run.code(), 1, "{}", run.screen());
    assert!(run.stderr().contains("lib/filters.c:4"), "{}", run.screen());
}

#[test]
fn what_is_no_cell_is_told_with_its_place_and_leaves_the_rest_alone() {
    let place = place(
        "[cells.made]\nuses = 'c:./lib/filters.h:made'\n[cells.no]\nuses = 'c:./lib/filters.h:scal'\n",
    );
    let check = place.polyloom(&["check"]);
    assert_eq!(check.code(), 2, "{}", check.screen());
    for told in [
        "CH004",
        "a pointer does not say how much it points to",
        "declares no function `scal`",
        "lib/filters.h:22:",
    ] {
        assert!(check.stderr().contains(told), "{told}: {}", check.screen());
    }
    assert!(!check.stderr().contains("`unsure` can't"), "{}", check.screen());
    let catalog = place.polyloom(&["catalog", "lib", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&catalog.stdout()).unwrap();
    assert_eq!(json["entries"].as_array().unwrap().len(), 12, "{}", catalog.screen());
    assert_eq!(json["problems"].as_array().unwrap().len(), 2);
    assert_eq!(json["types"]["filters.mode_kind"]["doc"], "How loud.");
}

#[test]
fn bytes_that_are_no_text_are_told_where_they_are() {
    needs!("gcc");
    let place = Place::new();
    place.write("bad.h", b"int f(int a);\n/* \xc3\xa9 \xff */\n");
    place.write("good.h", "int g(int a);\n");
    let ended = place.call(&["catalog", "."]).end().exits(2);
    assert!(ended.stdout().contains("c:./good.h:g"), "{}", ended.screen());
    let told = ended.stderr();
    assert!(told.contains("bad.h:2:6") && told.contains("save it as UTF-8"), "{told}");
}
