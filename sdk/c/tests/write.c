/* write.c: makes every kind of output; outputs.py looks at them. */
#include <polyloom.h>

static void values(void) {
  pl_writer *w;
  int i;
  pl_out_int("i0", 0);
  pl_out_int("i1", -33);
  pl_out_int("i2", 1000);
  pl_out_int("i3", INT64_MIN);
  pl_out_int("i4", INT64_MAX);
  pl_out_float("f", 0.1);
  pl_out_float("nan", strtod("nan", NULL));
  pl_out_bool("b", 7);
  pl_out_null("n");
  pl_out_str("s", "h\xc3\xa9llo");
  pl_out_text("zero", "a\0b", 3);
  pl_out_bytes("raw", "\0\1", 2);
  w = pl_out_value("nested");
  pl_begin_map(w);
  pl_key(w, "list");
  pl_begin_list(w);
  for (i = 0; i < 300; i++) pl_put_int(w, i);
  pl_end(w);
  pl_key(w, "empty");
  pl_begin_map(w);
  pl_end(w);
  pl_end(w);
}

static void files(void) {
  FILE *file = fopen(pl_out_file("report", "csv"), "w");
  char path[4096];
  if (!file) pl_fail("fopen");
  fprintf(file, "a,b\n");
  fclose(file);
  pl_out_data("picture", ".svg", "<svg/>", 6);
  pl_out_copy("page", pl_in_path("page"));
  pl_out_copy("copied", pl_in_path("tree"));
  snprintf(path, sizeof path, "%s/inside", pl_out_dir("made"));
  file = fopen(path, "w");
  if (!file) pl_fail("fopen");
  fclose(file);
}

static void tensors(void) {
  int64_t shape[3] = {2, 3, 4}, i;
  double *cube = pl_out_tensor_f64("cube", shape, 3);
  int16_t *line = pl_out_i16("line", 5);
  for (i = 0; i < 24; i++) cube[i] = (double)i / 2;
  for (i = 0; i < 5; i++) line[i] = (int16_t)(i * i);
  pl_out_tensor_flags("point", NULL, 0)[0] = 1;
  pl_out_f64("hollow", 0);
}

static void tables(void) {
  pl_table_out *t = pl_out_table("days", 10, "day:date, at : timestamp, temp:f64, name:str, wet:bool, n:i8, u v:u32");
  int64_t i;
  for (i = 0; i < 7; i++) {
    pl_fill_i32(t, "day")[i] = (int32_t)(15340 + i);
    pl_fill_i64(t, "at")[i] = i * 1000000;
    pl_fill_f64(t, "temp")[i] = (double)i / 4;
    if (i != 3) pl_put_str_at(t, "name", i, i % 2 ? "odd" : "even");
    pl_put_bool_at(t, "wet", i, i % 3 == 0);
    pl_fill_i8(t, "n")[i] = (int8_t)-i;
    pl_fill_u32(t, "u v")[i] = UINT32_MAX;
  }
  pl_put_null_at(t, "name", 3);
  pl_put_null_at(t, "temp", 5);
  pl_close_table(t, 6);
  t = pl_out_table("bare", 0, "x:f64, s:str");
  pl_fill_f64(t, "x");
  pl_close_table(t, 0);
}

int main(void) {
  values();
  files();
  tensors();
  tables();
  return 0;
}
