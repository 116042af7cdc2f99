/* errors.c: one misuse per name; errors.expected has what each says. */
#include "dump.h"

int main(int argc, char **argv) {
  static const int64_t shape[2] = {INT64_MAX, 4}, negative[1] = {-1};
  const char *what = argc == 2 ? argv[1] : "";
  pl_writer *w;
  pl_table_out *t;
  if (strncmp(what, "dump ", 5) == 0) dump(what + 5);
  if (strcmp(what, "missing") == 0) pl_in_int("nope");
  if (strcmp(what, "name") == 0) pl_in_int("../etc");
  if (strcmp(what, "int of str") == 0) pl_in_int("name");
  if (strcmp(what, "int of float") == 0) pl_in_int("float");
  if (strcmp(what, "str of map") == 0) pl_in_str("map");
  if (strcmp(what, "float of tensor") == 0) pl_in_float("matrix");
  if (strcmp(what, "tensor of value") == 0) pl_in_tensor("int");
  if (strcmp(what, "table of file") == 0) pl_in_table("page");
  if (strcmp(what, "value of dir") == 0) pl_in_value("tree");
  if (strcmp(what, "i32 of f64") == 0) pl_in_i32("matrix");
  if (strcmp(what, "key") == 0) pl_field(pl_in_value("map"), "z");
  if (strcmp(what, "item") == 0) pl_item(pl_in_value("list"), 3);
  if (strcmp(what, "column") == 0) pl_table_f64(pl_in_table("numbers"), "z");
  if (strcmp(what, "column type") == 0) pl_table_f64(pl_in_table("everything"), "name");
  if (strcmp(what, "column kind") == 0) pl_table_f64(pl_in_table("everything"), "skipped");
  if (strcmp(what, "column null") == 0) pl_table_i64(pl_in_table("everything"), "big");
  if (strcmp(what, "compressed") == 0) pl_table_f64(pl_in_table("compressed"), "x");
  if (strcmp(what, "out shape") == 0) pl_out_tensor_f64("y", shape, 2);
  if (strcmp(what, "out negative") == 0) pl_out_tensor_f64("y", negative, 1);
  if (strcmp(what, "out disk") == 0) pl_out_f64("y", (int64_t)1 << 50);
  if (strcmp(what, "out name") == 0) pl_out_int("Y", 1);
  if (strcmp(what, "writer key") == 0) {
    w = pl_out_value("y");
    pl_begin_map(w);
    pl_put_int(w, 1);
  }
  if (strcmp(what, "writer twice") == 0) {
    w = pl_out_value("y");
    pl_put_int(w, 1);
    pl_put_int(w, 2);
  }
  if (strcmp(what, "table type") == 0) pl_out_table("y", 1, "a:f65");
  if (strcmp(what, "table column") == 0) pl_out_table("y", 1, "a");
  if (strcmp(what, "table fill") == 0) pl_fill_i32(pl_out_table("y", 1, "a:f64"), "a");
  if (strcmp(what, "table row") == 0) pl_put_null_at(pl_out_table("y", 1, "a:f64"), "a", 1);
  if (strcmp(what, "table order") == 0) {
    t = pl_out_table("y", 3, "a:str");
    pl_put_str_at(t, "a", 1, "x");
    pl_put_str_at(t, "a", 0, "x");
  }
  return 0;
}
