/* dump.h: prints everything an input holds, through every reader that fits it. */
#include <polyloom.h>

static void dump_value(pl_value v) {
  pl_cursor c;
  pl_value key, item;
  if (v.kind != PL_KIND_LIST && v.kind != PL_KIND_MAP) {
    printf("%s", pl_describe(v));
    return;
  }
  printf(v.kind == PL_KIND_LIST ? "[" : "{");
  c = pl_items(v);
  while (pl_next(&c, &key, &item)) {
    if (v.kind == PL_KIND_MAP) printf("%s: ", pl_as_str(key));
    dump_value(item);
    printf(", ");
  }
  printf(v.kind == PL_KIND_LIST ? "]" : "}");
}

static void dump_tensor(const char *port) {
  pl_tensor t = pl_in_tensor(port);
  int i;
  int64_t k;
  printf("tensor of %s [", pl_dtype_name(t.dtype));
  for (i = 0; i < t.ndim; i++) printf(" %lld", (long long)t.shape[i]);
  printf(" ]");
  for (k = 0; k < t.size; k++) {
    if (t.dtype == PL_F64) printf(" %g", pl_in_f64(port).data[k]);
    if (t.dtype == PL_F32) printf(" %g", (double)pl_in_f32(port).data[k]);
    if (t.dtype == PL_I32) printf(" %d", pl_in_i32(port).data[k]);
    if (t.dtype == PL_BOOL) printf(" %d", pl_in_flags(port).data[k]);
  }
}

static void dump_table(const char *port) {
  pl_table *t = pl_in_table(port);
  int i, b;
  int64_t row;
  printf("table of %lld rows in %d batches\n", (long long)pl_table_rows(t), pl_table_batches(t));
  for (i = 0; i < pl_table_columns(t); i++) {
    printf("  %s %s:", pl_table_name(t, i), pl_dtype_name(pl_table_dtype(t, i)));
    for (b = 0; b < pl_table_batches(t) && pl_table_dtype(t, i) != PL_OTHER; b++) {
      pl_column c = pl_table_column_at(t, i, b);
      for (row = 0; row < c.rows; row++) {
        if (pl_is_null_at(&c, row)) {
          printf(" null");
        } else if (c.dtype == PL_TEXT || c.dtype == PL_BYTES) {
          pl_text text = pl_text_at(&c, row);
          printf(" \"%.*s\"", (int)text.size, text.data);
        } else if (c.dtype == PL_F32 || c.dtype == PL_F64 || c.dtype == PL_U64) {
          printf(" %g", pl_f64_at(&c, row));
        } else {
          printf(" %lld", (long long)pl_i64_at(&c, row));
        }
      }
    }
    printf("\n");
  }
}

static void dump(const char *port) {
  const char *path = pl_in_path(port), *dot = strrchr(path, '.');
  printf("%s: ", port);
  if (dot && strcmp(dot, ".msgpack") == 0)
    dump_value(pl_in_value(port));
  else if (dot && strcmp(dot, ".npy") == 0)
    dump_tensor(port);
  else if (dot && strcmp(dot, ".arrow") == 0)
    dump_table(port);
  else
    printf("%s", pl_file_kind(path));
  printf("\n");
}
