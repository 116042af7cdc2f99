/* table_in.h: reading a table: an Arrow IPC file, uncompressed, mapped. Columns of ints, floats, bool, text, bytes, dates and
 * times, dictionary-encoded text; others are passed over. It copies nothing but what pl_table_f64 and its like convert.
 *
 * By batch, without a copy:                          Or a whole column at once:
 *     pl_table *t = pl_in_table("days");                 const double *temp = pl_table_f64(t, "temp");
 *     for (int b = 0; b < pl_table_batches(t); b++) {    const pl_text *day = pl_table_text(t, "day");
 *       pl_column c = pl_table_column(t, "temp", b);     for (int64_t i = 0; i < pl_table_rows(t); i++) ...
 *       const double *temp = pl_values_f64(&c);
 *       for (int64_t i = 0; i < c.rows; i++) ...
 *     }
 */
#ifndef POLYLOOM_TABLE_IN_H
#define POLYLOOM_TABLE_IN_H

#include "schema.h"

/* One column of one batch. `data` holds `rows` values of `width` bytes; bool is one bit each, least significant first. */
typedef struct pl_column {
  const char *port, *name;
  pl_dtype dtype;
  pl_unit unit; /* of date, time, timestamp, duration */
  int64_t rows, nulls;
  const unsigned char *valid; /* one bit a row, 1 = has a value; NULL when there are no nulls */
  const void *data;           /* text: the bytes of all rows */
  size_t data_size;
  int width;           /* bytes of a value; of an offset for text */
  const void *offsets; /* text: rows + 1 of them */
  pl_dtype index;      /* dictionary-encoded: type of the values in `data`, which are rows of `dictionary` */
  const struct pl_column *dictionary;
} pl_column;

typedef struct pl_table {
  pl_flat file;
  int columns, batches;
  pl_field_info *fields;
  uint64_t blocks, dictionary_blocks, dictionary_count;
  int64_t rows, *batch_rows;
} pl_table;

/* ---- opening --------------------------------------------------------------------------------------------------- */

PL_API int64_t pl_batch_rows(const pl_table *t, int batch) {
  pl_arrow_message m = pl_arrow_read(&t->file, t->blocks + 24 * (uint64_t)batch, PL_ARROW_RECORD_BATCH);
  int64_t rows = pl_flat_number(&t->file, m.header, 0, 8, 0);
  if (rows < 0 || rows > INT64_MAX / 64) pl_bad_arrow(&t->file, "a batch of impossible length");
  return rows;
}

/* Opens a table. Reads the schema and the lengths of the batches, not the data. */
PL_API pl_table *pl_in_table(const char *port) {
  pl_bytes file = pl_map_file(pl_need_input(port, "arrow", "a table"), port);
  pl_table *t = (pl_table *)pl_alloc(sizeof(pl_table));
  pl_flat *f = &t->file;
  uint64_t footer, schema, fields, count, i, name;
  long budget = 100000;
  f->data = file.data;
  f->size = file.size;
  f->port = pl_copy_text(port, strlen(port));
  if (f->size < 32 || memcmp(f->data, "ARROW1", 6) != 0 || memcmp(f->data + f->size - 6, "ARROW1", 6) != 0)
    pl_bad_arrow(f, "it does not begin and end with ARROW1; is it a stream, Feather 1, or cut off?");
  footer = pl_flat_uint(f, f->size - 10, 4);
  if (footer > f->size - 18) pl_bad_arrow(f, "its footer is longer than the file");
  footer = pl_flat_follow(f, f->size - 10 - footer);
  schema = pl_flat_table(f, footer, 1);
  if (!schema) pl_bad_arrow(f, "it has no schema");
  if (pl_flat_number(f, schema, 0, 2, 0) != 0) pl_fail("input `%s`: the Arrow file is big endian", port);
  fields = pl_flat_vector(f, schema, 1, 4, &count);
  t->columns = (int)count;
  t->fields = (pl_field_info *)pl_alloc((size_t)count * sizeof(pl_field_info));
  for (i = 0; i < count; i++) {
    uint64_t field = pl_flat_follow(f, fields + 4 * i), size;
    pl_count_field(f, field, &t->fields[i], 64, &budget);
    name = pl_flat_vector(f, field, 0, 1, &size);
    t->fields[i].name = name ? pl_copy_text(f->data + name, (size_t)size) : "";
  }
  t->dictionary_blocks = pl_flat_vector(f, footer, 2, 24, &t->dictionary_count);
  t->blocks = pl_flat_vector(f, footer, 3, 24, &count);
  t->batches = (int)count;
  t->batch_rows = (int64_t *)pl_alloc((size_t)count * sizeof(int64_t));
  for (i = 0; i < count; i++) {
    t->batch_rows[i] = pl_batch_rows(t, (int)i);
    if (t->rows > INT64_MAX / 64 - t->batch_rows[i]) pl_bad_arrow(f, "more rows than a file can hold");
    t->rows += t->batch_rows[i];
  }
  return t;
}

PL_API int64_t pl_table_rows(const pl_table *t) { return t->rows; }
PL_API int pl_table_columns(const pl_table *t) { return t->columns; }
PL_API int pl_table_batches(const pl_table *t) { return t->batches; }

PL_API const pl_field_info *pl_table_field(const pl_table *t, int column) {
  if (column < 0 || column >= t->columns) pl_fail("input `%s`: no column %d of %d", t->file.port, column, t->columns);
  return &t->fields[column];
}

PL_API const char *pl_table_name(const pl_table *t, int column) { return pl_table_field(t, column)->name; }
PL_API pl_dtype pl_table_dtype(const pl_table *t, int column) { return pl_table_field(t, column)->dtype; }

/* The index of a column, or -1. */
PL_API int pl_table_find(const pl_table *t, const char *name) {
  int i;
  for (i = 0; i < t->columns; i++)
    if (strcmp(t->fields[i].name, name) == 0) return i;
  return -1;
}

PL_API int pl_table_need(const pl_table *t, const char *name) {
  pl_buffer names = {NULL, 0, 0};
  int i = pl_table_find(t, name);
  if (i >= 0) return i;
  for (i = 0; i < t->columns && names.size < 1000; i++) {
    if (i) pl_buffer_add(&names, ", ", 2);
    pl_buffer_add(&names, t->fields[i].name, strlen(t->fields[i].name));
  }
  pl_fail("input `%s`: no column `%s`; the columns are: %.*s", t->file.port, name, (int)names.size,
          names.size ? (const char *)names.data : "");
}

/* ---- a column of a batch -------------------------------------------------------------------------------------- */

/* Buffer `index` of a batch; at least `need` bytes, aligned to `align` (copied where a foreign writer did not align). */
PL_API const void *pl_batch_buffer(const pl_flat *f, const pl_arrow_message *m, uint64_t index, uint64_t need,
                                   size_t align, size_t *size) {
  uint64_t count, buffers = pl_flat_vector(f, m->header, 2, 16, &count), offset, length;
  const unsigned char *data;
  if (index >= count) pl_bad_arrow(f, "a batch lacks buffers");
  offset = pl_flat_uint(f, buffers + 16 * index, 8);
  length = pl_flat_uint(f, buffers + 16 * index + 8, 8);
  if (offset > m->body_size || length > m->body_size - offset) pl_bad_arrow(f, "a buffer leads outside its batch");
  if (length < need) pl_bad_arrow(f, "a buffer is too short for its rows");
  data = f->data + m->body + offset;
  if (size) *size = (size_t)length;
  if (align > 1 && (uintptr_t)data % align != 0) {
    void *copy = pl_alloc((size_t)length);
    memcpy(copy, data, (size_t)length);
    return copy;
  }
  return data;
}

/* Fills `c` from node `node` and buffers from `buffer` on; name, dtype, unit and width are set already. */
PL_API void pl_load_column(const pl_flat *f, const pl_arrow_message *m, uint64_t node, uint64_t buffer, pl_column *c) {
  uint64_t count, nodes = pl_flat_vector(f, m->header, 1, 16, &count), rows;
  pl_dtype dtype = c->dictionary ? c->index : c->dtype;
  if (pl_flat_field(f, m->header, 3))
    pl_fail("input `%s`: the Arrow file is compressed; write it without compression", f->port);
  if (node >= count) pl_bad_arrow(f, "a batch lacks nodes");
  c->rows = pl_flat_i64(f, nodes + 16 * node);
  c->nulls = pl_flat_i64(f, nodes + 16 * node + 8);
  if (c->rows < 0 || c->rows > INT64_MAX / 64) pl_bad_arrow(f, "a column of impossible length");
  rows = (uint64_t)c->rows;
  if (c->nulls != 0) c->valid = (const unsigned char *)pl_batch_buffer(f, m, buffer, (rows + 7) / 8, 1, NULL);
  if (dtype == PL_BOOL) {
    c->data = pl_batch_buffer(f, m, buffer + 1, (rows + 7) / 8, 1, &c->data_size);
  } else if (dtype == PL_TEXT || dtype == PL_BYTES) {
    c->offsets = pl_batch_buffer(f, m, buffer + 1, rows ? (rows + 1) * (uint64_t)c->width : 0, (size_t)c->width, NULL);
    c->data = pl_batch_buffer(f, m, buffer + 2, 0, 1, &c->data_size);
  } else {
    c->data = pl_batch_buffer(f, m, buffer + 1, rows * (uint64_t)c->width, (size_t)c->width, &c->data_size);
  }
}

PL_API const pl_column *pl_load_dictionary(const pl_table *t, const pl_field_info *info) {
  const pl_flat *f = &t->file;
  pl_column *c = (pl_column *)pl_alloc(sizeof(pl_column));
  uint64_t i;
  for (i = 0; i < t->dictionary_count; i++) {
    pl_arrow_message m = pl_arrow_read(f, t->dictionary_blocks + 24 * i, PL_ARROW_DICTIONARY_BATCH);
    if (pl_flat_number(f, m.header, 0, 8, 0) != info->dictionary) continue;
    if (c->name || pl_flat_number(f, m.header, 2, 1, 0))
      pl_fail("input `%s`: column `%s` has its dictionary in pieces; write it with one", f->port, info->name);
    c->port = f->port;
    c->name = info->name;
    c->dtype = info->dtype;
    c->unit = info->unit;
    c->width = info->width;
    m.header = pl_flat_table(f, m.header, 1);
    if (!m.header) pl_bad_arrow(f, "a dictionary without data");
    pl_load_column(f, &m, 0, 0, c);
  }
  if (!c->name) pl_bad_arrow(f, "a dictionary is missing");
  return c;
}

/* Column `index` of batch `batch`, mapped. */
PL_API pl_column pl_table_column_at(const pl_table *t, int index, int batch) {
  const pl_flat *f = &t->file;
  const pl_field_info *info = pl_table_field(t, index);
  pl_column c;
  pl_arrow_message m;
  uint64_t node = 0, buffer = 0, view = 0, views, view_counts, i;
  if (batch < 0 || batch >= t->batches) pl_fail("input `%s`: no batch %d of %d", f->port, batch, t->batches);
  if (info->dtype == PL_OTHER)
    pl_fail("input `%s`: column `%s` has a type this header cannot read; cast it to a number, text or time", f->port,
            info->name);
  memset(&c, 0, sizeof c);
  c.port = f->port;
  c.name = info->name;
  c.dtype = info->dtype;
  c.unit = info->unit;
  c.width = info->width;
  m = pl_arrow_read(f, t->blocks + 24 * (uint64_t)batch, PL_ARROW_RECORD_BATCH);
  view_counts = pl_flat_vector(f, m.header, 4, 8, &views);
  for (i = 0; i < (uint64_t)index; i++) {
    uint64_t v;
    node += t->fields[i].nodes;
    buffer += t->fields[i].buffers;
    for (v = 0; v < t->fields[i].views; v++, view++) {
      if (view >= views) pl_bad_arrow(f, "a batch lacks the buffer counts of its views");
      buffer += pl_flat_uint(f, view_counts + 8 * view, 8);
    }
  }
  if (info->encoded) {
    c.dictionary = pl_load_dictionary(t, info);
    c.index = info->index;
    c.width = (int)pl_dtype_size(info->index);
  }
  pl_load_column(f, &m, node, buffer, &c);
  if (c.rows != t->batch_rows[batch]) pl_bad_arrow(f, "a column is not as long as its batch");
  return c;
}

PL_API pl_column pl_table_column(const pl_table *t, const char *name, int batch) {
  return pl_table_column_at(t, pl_table_need(t, name), batch);
}

#endif
