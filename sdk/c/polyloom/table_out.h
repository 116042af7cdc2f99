/* table_out.h: writing a table: one record batch in an uncompressed Arrow IPC file, buffers at multiples of 64. Columns of numbers
 * are memory of the output file; text is collected and appended when the table is closed.
 *
 *     pl_table_out *t = pl_out_table("days", n, "day:str, temp:f64, rain:bool");
 *     double *temp = pl_fill_f64(t, "temp");
 *     for (int64_t i = 0; i < n; i++) {
 *       temp[i] = ...;
 *       pl_put_text_at(t, "day", i, text, size);
 *       pl_put_bool_at(t, "rain", i, 1);
 *       if (...) pl_put_null_at(t, "temp", i);
 *     }
 *     pl_close_table(t, n);          // a table that is not closed is not there
 */
#ifndef POLYLOOM_TABLE_OUT_H
#define POLYLOOM_TABLE_OUT_H

#include "arrow.h"
#include "tensor.h"

typedef struct pl_column_out {
  const char *name;
  pl_dtype dtype;
  int nullable;       /* a null was put */
  size_t valid, data; /* positions of bitmap and values (text: of the offsets) in the body */
  pl_buffer text;
  int64_t next; /* text: the first row that has none yet */
} pl_column_out;

typedef struct pl_table_out {
  const char *port;
  int64_t capacity;
  int columns, fd;
  pl_column_out *column;
  unsigned char *map;
  size_t mapped, head, batch,
      body; /* the file: head bytes, of which the batch message begins at `batch`; then `body` bytes */
} pl_table_out;

/* ---- metadata ------------------------------------------------------------------------------------------------- */

/* The type a FlatBuffer field gets: its number in the union, its table's field widths and values. */
PL_API void pl_flat_type(pl_buffer *b, size_t from, pl_dtype dtype) {
  size_t at[2];
  if (dtype >= PL_I8 && dtype <= PL_U64) {
    pl_flat_new_table(b, from, "\4\1", 2, at);
    pl_flat_set(b, at[0], 4, 8 * pl_dtype_size(dtype));
    pl_flat_set(b, at[1], 1, dtype <= PL_I64);
  } else if (dtype == PL_F32 || dtype == PL_F64) {
    pl_flat_new_table(b, from, "\2", 1, at);
    pl_flat_set(b, at[0], 2, dtype == PL_F32 ? 1 : 2);
  } else if (dtype == PL_DATE || dtype == PL_TIMESTAMP) {
    pl_flat_new_table(b, from, "\2", 1, at);
    pl_flat_set(b, at[0], 2, dtype == PL_DATE ? 0 : 2); /* days; microseconds */
  } else {
    pl_flat_new_table(b, from, "", 0, at);
  }
}

PL_API int pl_arrow_kind(pl_dtype dtype) {
  switch (dtype) {
    case PL_BOOL:
      return PL_ARROW_BOOL;
    case PL_F32:
    case PL_F64:
      return PL_ARROW_FLOAT;
    case PL_TEXT:
      return PL_ARROW_UTF8;
    case PL_DATE:
      return PL_ARROW_DATE;
    case PL_TIMESTAMP:
      return PL_ARROW_TIMESTAMP;
    default:
      return PL_ARROW_INT;
  }
}

PL_API void pl_flat_schema(pl_buffer *b, size_t from, const pl_table_out *t) {
  size_t at[6], slots;
  int i;
  pl_flat_new_table(b, from, "\0\4", 2, at);
  pl_flat_new_vector(b, at[1], (size_t)t->columns, 4);
  slots = b->size;
  for (i = 0; i < t->columns; i++) pl_flat_add(b, 4, 0);
  for (i = 0; i < t->columns; i++) {
    const pl_column_out *c = &t->column[i];
    pl_flat_new_table(b, slots + 4 * (size_t)i, "\4\1\1\4\0\4", 6, at); /* name nullable type_type type - children */
    pl_flat_set(b, at[1], 1, 1);
    pl_flat_set(b, at[2], 1, (uint64_t)pl_arrow_kind(c->dtype));
    pl_flat_new_string(b, at[0], c->name, strlen(c->name));
    pl_flat_type(b, at[3], c->dtype);
    pl_flat_new_vector(b, at[5], 0, 4);
  }
}

/* Begins a message and returns where the offset of its header table belongs. */
PL_API size_t pl_begin_message(pl_buffer *b, int kind, uint64_t body_size) {
  size_t at[4], root;
  pl_flat_add(b, 4, 0xffffffffu);
  pl_flat_add(b, 4, 0);
  root = b->size;
  pl_flat_add(b, 4, 0);
  pl_flat_new_table(b, root, "\2\1\4\10", 4, at); /* version header_type header bodyLength */
  pl_flat_set(b, at[0], 2, 4);                    /* V5 */
  pl_flat_set(b, at[1], 1, (uint64_t)kind);
  pl_flat_set(b, at[3], 8, body_size);
  return at[2];
}

/* Pads the message that began at `begin` so that what follows lies at a multiple of `to` in the buffer. */
PL_API void pl_end_message(pl_buffer *b, size_t begin, size_t to) {
  pl_flat_align(b, to, 0);
  pl_flat_set(b, begin + 4, 4, b->size - begin - 8);
}

PL_API size_t pl_round_64(size_t n) { return (n + 63) / 64 * 64; }

/* Bytes of the fixed part of a column's values for `rows` rows. */
PL_API size_t pl_column_bytes(pl_dtype dtype, int64_t rows) {
  size_t n = (size_t)rows;
  if (dtype == PL_BOOL) return (n + 7) / 8;
  if (dtype == PL_TEXT) return 4 * (n + 1);
  return n * (dtype == PL_DATE ? 4 : dtype == PL_TIMESTAMP ? 8 : pl_dtype_size(dtype));
}

/* The record batch message for `rows` rows; its size does not depend on them. */
PL_API void pl_batch_message(pl_buffer *b, const pl_table_out *t, int64_t rows) {
  size_t begin = b->size, header = pl_begin_message(b, PL_ARROW_RECORD_BATCH, t->body), at[3],
         text = t->mapped - t->head;
  size_t buffers = 0;
  int i;
  pl_flat_new_table(b, header, "\10\4\4", 3, at); /* length nodes buffers */
  pl_flat_set(b, at[0], 8, (uint64_t)rows);
  pl_flat_new_vector(b, at[1], (size_t)t->columns, 8);
  for (i = 0; i < t->columns; i++) {
    const pl_column_out *c = &t->column[i];
    int64_t nulls = 0, row;
    if (c->nullable)
      for (row = 0; row < rows; row++) nulls += !(t->map[t->head + c->valid + (size_t)(row / 8)] >> (row % 8) & 1);
    pl_flat_add(b, 8, (uint64_t)rows);
    pl_flat_add(b, 8, (uint64_t)nulls);
    buffers += c->dtype == PL_TEXT ? 3 : 2;
  }
  pl_flat_new_vector(b, at[2], buffers, 8);
  for (i = 0; i < t->columns; i++) {
    const pl_column_out *c = &t->column[i];
    pl_flat_add(b, 8, c->valid);
    pl_flat_add(b, 8, c->nullable ? (uint64_t)(rows + 7) / 8 : 0);
    pl_flat_add(b, 8, c->data);
    pl_flat_add(b, 8, pl_column_bytes(c->dtype, rows));
    if (c->dtype != PL_TEXT) continue;
    pl_flat_add(b, 8, text);
    pl_flat_add(b, 8, c->text.size);
    text += pl_round_64(c->text.size);
  }
  pl_end_message(b, begin, 64);
}

/* ---- opening -------------------------------------------------------------------------------------------------- */

PL_API pl_dtype pl_parse_dtype(const char *word, size_t size, const char *port) {
  static const struct {
    const char *word;
    pl_dtype dtype;
  } words[] = {{"bool", PL_BOOL},
               {"i8", PL_I8},
               {"i16", PL_I16},
               {"i32", PL_I32},
               {"i64", PL_I64},
               {"u8", PL_U8},
               {"u16", PL_U16},
               {"u32", PL_U32},
               {"u64", PL_U64},
               {"f32", PL_F32},
               {"f64", PL_F64},
               {"str", PL_TEXT},
               {"utf8", PL_TEXT},
               {"int", PL_I64},
               {"float", PL_F64},
               {"date", PL_DATE},
               {"timestamp", PL_TIMESTAMP}};
  size_t i;
  for (i = 0; i < sizeof words / sizeof words[0]; i++)
    if (strlen(words[i].word) == size && memcmp(words[i].word, word, size) == 0) return words[i].dtype;
  pl_fail(
      "output `%s`: `%.*s` is not a column type; one of bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 str date timestamp",
      port, (int)(size > 40 ? 40 : size), word);
}

/* `name:type, name:type`; a name may hold anything but a comma. */
PL_API void pl_parse_columns(pl_table_out *t, const char *p) {
  const char *q;
  size_t count = 1;
  for (q = p; *q; q++) count += *q == ',';
  t->column = (pl_column_out *)pl_alloc(count * sizeof(pl_column_out));
  while (*p) {
    const char *end = p + strcspn(p, ","), *next = *end ? end + 1 : end, *colon;
    while (*p == ' ' || *p == '\n') p++;
    while (end > p && (end[-1] == ' ' || end[-1] == '\n')) end--;
    for (colon = end; colon > p && *colon != ':'; colon--) {
    }
    if (colon == p || colon == end)
      pl_fail("output `%s`: `%.*s` is not a column; write `name:type, name:type`", t->port, (int)(end - p), p);
    for (q = colon + 1; *q == ' '; q++) {
    }
    t->column[t->columns].dtype = pl_parse_dtype(q, (size_t)(end - q), t->port);
    while (colon > p && colon[-1] == ' ') colon--;
    t->column[t->columns++].name = pl_copy_text(p, (size_t)(colon - p));
    p = next;
  }
}

/* A new table of at most `capacity` rows, which are allocated at once. `columns` names them in order: "day:str, temp:f64"; the types are bool i8 i16 i32 i64
 * u8 u16 u32 u64 f32 f64 str, date (i32: days since 1970-01-01) and timestamp (i64: microseconds since then, UTC). */
PL_API pl_table_out *pl_out_table(const char *port, int64_t capacity, const char *columns) {
  pl_table_out *t = (pl_table_out *)pl_alloc(sizeof(pl_table_out));
  pl_buffer head = {NULL, 0, 0};
  size_t begin, header;
  int i;
  pl_check_port(port);
  t->port = pl_copy_text(port, strlen(port));
  if (capacity < 0 || capacity > INT64_MAX / 1024)
    pl_fail("output `%s`: %lld rows are not possible", port, (long long)capacity);
  t->capacity = capacity;
  pl_parse_columns(t, columns);
  for (i = 0; i < t->columns; i++) {
    pl_column_out *c = &t->column[i];
    size_t bytes = pl_round_64(pl_column_bytes(c->dtype, capacity)) + pl_round_64(((size_t)capacity + 7) / 8);
    if (bytes > SIZE_MAX / 4 - t->body) pl_fail("output `%s`: %lld rows are too many", port, (long long)capacity);
    c->valid = t->body;
    c->data = t->body + pl_round_64(((size_t)capacity + 7) / 8);
    t->body += bytes;
  }
  pl_buffer_add(&head, "ARROW1\0", 8);
  begin = head.size;
  header = pl_begin_message(&head, PL_ARROW_SCHEMA, 0);
  pl_flat_schema(&head, header, t);
  pl_end_message(&head, begin, 64); /* the batch message is written again on closing, from a buffer of its own */
  t->batch = head.size;
  pl_batch_message(&head, t, 0); /* for its size */
  t->head = head.size;
  t->mapped = t->head + t->body;
  t->fd = pl_create(pl_join(pl_out_dir_root(), ".", t->port, "arrow"), t->port);
  t->map = pl_map_output(t->fd, t->mapped, t->port);
  memcpy(t->map, head.data, head.size);
  free(head.data);
  return t;
}

/* ---- filling -------------------------------------------------------------------------------------------------- */

PL_API pl_column_out *pl_column_named(pl_table_out *t, const char *name, int64_t row) {
  int i;
  if (row < 0 || row >= t->capacity)
    pl_fail("output `%s`: no row %lld in a table of %lld rows", t->port, (long long)row, (long long)t->capacity);
  for (i = 0; i < t->columns; i++)
    if (strcmp(t->column[i].name, name) == 0) return &t->column[i];
  pl_fail("output `%s`: no column `%s` among those given to pl_out_table", t->port, name);
}

PL_API void *pl_fill_column(pl_table_out *t, const char *name, pl_dtype dtype, pl_dtype alias) {
  pl_column_out *c;
  int64_t capacity = t->capacity;
  t->capacity = capacity ? capacity : 1; /* an empty table has columns too */
  c = pl_column_named(t, name, 0);
  t->capacity = capacity;
  if (c->dtype != dtype && c->dtype != alias)
    pl_fail("output `%s`: column `%s` holds %s, not %s", t->port, name, pl_dtype_name(c->dtype), pl_dtype_name(dtype));
  return t->map + t->head + c->data;
}

/* The memory of a column, `capacity` values, zeroed, part of the output file. */
PL_API double *pl_fill_f64(pl_table_out *t, const char *name) {
  return (double *)pl_fill_column(t, name, PL_F64, PL_F64);
}
PL_API float *pl_fill_f32(pl_table_out *t, const char *name) {
  return (float *)pl_fill_column(t, name, PL_F32, PL_F32);
}
PL_API int64_t *pl_fill_i64(pl_table_out *t, const char *name) {
  return (int64_t *)pl_fill_column(t, name, PL_I64, PL_TIMESTAMP);
}
PL_API int32_t *pl_fill_i32(pl_table_out *t, const char *name) {
  return (int32_t *)pl_fill_column(t, name, PL_I32, PL_DATE);
}
PL_API int16_t *pl_fill_i16(pl_table_out *t, const char *name) {
  return (int16_t *)pl_fill_column(t, name, PL_I16, PL_I16);
}
PL_API int8_t *pl_fill_i8(pl_table_out *t, const char *name) { return (int8_t *)pl_fill_column(t, name, PL_I8, PL_I8); }
PL_API uint64_t *pl_fill_u64(pl_table_out *t, const char *name) {
  return (uint64_t *)pl_fill_column(t, name, PL_U64, PL_U64);
}
PL_API uint32_t *pl_fill_u32(pl_table_out *t, const char *name) {
  return (uint32_t *)pl_fill_column(t, name, PL_U32, PL_U32);
}
PL_API uint16_t *pl_fill_u16(pl_table_out *t, const char *name) {
  return (uint16_t *)pl_fill_column(t, name, PL_U16, PL_U16);
}
PL_API uint8_t *pl_fill_u8(pl_table_out *t, const char *name) {
  return (uint8_t *)pl_fill_column(t, name, PL_U8, PL_U8);
}

/* One value of a bool column. */
PL_API void pl_put_bool_at(pl_table_out *t, const char *name, int64_t row, int value) {
  unsigned char *bits = (unsigned char *)pl_fill_column(t, name, PL_BOOL, PL_BOOL),
                bit = (unsigned char)(1 << (row % 8));
  pl_column_named(t, name, row);
  bits[row / 8] = (unsigned char)(value ? bits[row / 8] | bit : bits[row / 8] & ~bit);
}

/* Ends the texts before `row`; those never given are empty. */
PL_API void pl_reach_row(pl_table_out *t, pl_column_out *c, int64_t row) {
  int32_t *offsets = (int32_t *)(void *)(t->map + t->head + c->data);
  while (c->next < row) offsets[++c->next] = (int32_t)c->text.size;
}

/* One value of a str column, `size` bytes of UTF-8. Rows come in ascending order; those left out are empty. */
PL_API void pl_put_text_at(pl_table_out *t, const char *name, int64_t row, const char *data, size_t size) {
  pl_column_out *c = pl_column_named(t, name, row);
  pl_fill_column(t, name, PL_TEXT, PL_TEXT);
  if (row < c->next)
    pl_fail("output `%s`: column `%s`: row %lld comes after a later one; texts are put in order", t->port, name,
            (long long)row);
  if (size > (size_t)INT32_MAX - c->text.size)
    pl_fail("output `%s`: column `%s`: more than 2 GiB of text", t->port, name);
  pl_reach_row(t, c, row);
  pl_buffer_add(&c->text, data, size);
  pl_reach_row(t, c, row + 1);
}

PL_API void pl_put_str_at(pl_table_out *t, const char *name, int64_t row, const char *text) {
  pl_put_text_at(t, name, row, text, strlen(text));
}

/* Makes a value null. */
PL_API void pl_put_null_at(pl_table_out *t, const char *name, int64_t row) {
  pl_column_out *c = pl_column_named(t, name, row);
  unsigned char *bits = t->map + t->head + c->valid;
  if (!c->nullable) memset(bits, 0xff, ((size_t)t->capacity + 7) / 8);
  c->nullable = 1;
  bits[row / 8] = (unsigned char)(bits[row / 8] & ~(1 << (row % 8)));
}

/* ---- closing -------------------------------------------------------------------------------------------------- */

/* Writes the table's first `rows` rows: after this it is an output. */
PL_API void pl_close_table(pl_table_out *t, int64_t rows) {
  static const char zeros[64] = {0};
  pl_buffer b = {NULL, 0, 0};
  size_t at[4], end;
  int i;
  if (rows < 0 || rows > t->capacity)
    pl_fail("output `%s`: %lld rows in a table of at most %lld", t->port, (long long)rows, (long long)t->capacity);
  if (lseek(t->fd, (off_t)t->mapped, SEEK_SET) < 0) pl_fail("output `%s`: cannot write: %s", t->port, strerror(errno));
  for (i = 0; i < t->columns; i++) {
    pl_column_out *c = &t->column[i];
    if (c->dtype != PL_TEXT) continue;
    pl_reach_row(t, c, rows);
    c->text.size = (size_t)((int32_t *)(void *)(t->map + t->head + c->data))[rows];
    pl_write_all(t->fd, c->text.data, c->text.size, t->port);
    pl_write_all(t->fd, zeros, pl_round_64(c->text.size) - c->text.size, t->port);
    t->body += pl_round_64(c->text.size);
  }
  pl_batch_message(&b, t, rows);
  memcpy(t->map + t->batch, b.data, b.size);

  end = t->head + t->body; /* a multiple of 64, so alignment in the footer's buffer is alignment in the file */
  b.size = 0;
  pl_flat_add(&b, 4, 0xffffffffu); /* end of stream */
  pl_flat_add(&b, 4, 0);
  pl_flat_add(&b, 4, 0);
  pl_flat_new_table(&b, 8, "\2\4\4\4", 4, at); /* version schema dictionaries recordBatches */
  pl_flat_set(&b, at[0], 2, 4);
  pl_flat_schema(&b, at[1], t);
  pl_flat_new_vector(&b, at[2], 0, 8);
  pl_flat_new_vector(&b, at[3], 1, 8);
  pl_flat_add(&b, 8, t->batch);
  pl_flat_add(&b, 8, t->head - t->batch);
  pl_flat_add(&b, 8, t->body);
  pl_flat_add(&b, 4, b.size - 8);
  pl_buffer_add(&b, "ARROW1", 6);
  if (lseek(t->fd, (off_t)end, SEEK_SET) < 0) pl_fail("output `%s`: cannot write: %s", t->port, strerror(errno));
  pl_write_all(t->fd, b.data, b.size, t->port);
  free(b.data);
  munmap(t->map, t->mapped);
  if (close(t->fd) != 0) pl_fail("output `%s`: cannot write: %s", t->port, strerror(errno));
  for (i = 0; i < t->columns; i++) free(t->column[i].text.data);
  t->columns = 0;
  t->map = NULL;
  t->capacity = 0;
  pl_publish(pl_join(pl_out_dir_root(), ".", t->port, "arrow"), pl_join(pl_out_dir_root(), "", t->port, "arrow"),
             t->port);
}

#endif
