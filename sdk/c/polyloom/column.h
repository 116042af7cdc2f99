/* column.h: the values of a column: one at a time, a batch at a time without a copy, or all as one array.
 */
#ifndef POLYLOOM_COLUMN_H
#define POLYLOOM_COLUMN_H

#include "table_in.h"

/* ---- values of a column --------------------------------------------------------------------------------------- */

PL_API void pl_check_row(const pl_column *c, int64_t row) {
  if (row < 0 || row >= c->rows)
    pl_fail("input `%s`: no row %lld of %lld in column `%s`", c->port, (long long)row, (long long)c->rows, c->name);
}

PL_API int64_t pl_raw_int(pl_dtype dtype, int width, const void *data, int64_t row) {
  const unsigned char *bits = (const unsigned char *)data;
  switch (dtype) {
    case PL_BOOL:
      return bits[row / 8] >> (row % 8) & 1;
    case PL_I8:
      return ((const int8_t *)data)[row];
    case PL_I16:
      return ((const int16_t *)data)[row];
    case PL_U8:
      return ((const uint8_t *)data)[row];
    case PL_U16:
      return ((const uint16_t *)data)[row];
    case PL_U32:
      return (int64_t)((const uint32_t *)data)[row];
    default:
      return width == 4 ? (int64_t)((const int32_t *)data)[row] : ((const int64_t *)data)[row];
  }
}

/* The row of the dictionary that row `row` stands for, or -1 for null. */
PL_API int64_t pl_dictionary_row(const pl_column *c, int64_t row) {
  int64_t i = pl_raw_int(c->index, c->width, c->data, row);
  if (i < 0 || i >= c->dictionary->rows)
    pl_fail("input `%s`: damaged Arrow file: column `%s` leaves its dictionary", c->port, c->name);
  return i;
}

PL_API int pl_is_null_at(const pl_column *c, int64_t row) {
  pl_check_row(c, row);
  if (c->valid && !(c->valid[row / 8] >> (row % 8) & 1)) return 1;
  return c->dictionary ? pl_is_null_at(c->dictionary, pl_dictionary_row(c, row)) : 0;
}

PL_API PL_NORETURN void pl_wrong_column(const pl_column *c, const char *wanted) {
  pl_fail("input `%s`: column `%s`: expected %s, found %s", c->port, c->name, wanted, pl_dtype_name(c->dtype));
}

/* An int, bool, date, time, timestamp or duration (in the column's unit). A null is an error: ask pl_is_null_at first. */
PL_API int64_t pl_i64_at(const pl_column *c, int64_t row) {
  int64_t n;
  if (pl_is_null_at(c, row))
    pl_fail("input `%s`: column `%s` is null in row %lld, which an int cannot be", c->port, c->name, (long long)row);
  if (c->dictionary) return pl_i64_at(c->dictionary, pl_dictionary_row(c, row));
  if (c->dtype == PL_F32 || c->dtype == PL_F64 || c->dtype == PL_TEXT || c->dtype == PL_BYTES)
    pl_wrong_column(c, "ints");
  n = pl_raw_int(c->dtype, c->width, c->data, row);
  if (c->dtype == PL_U64 && n < 0) pl_fail("input `%s`: column `%s`: a u64 beyond 64 bits signed", c->port, c->name);
  return n;
}

/* Any number as a double; null is NaN. */
PL_API double pl_f64_at(const pl_column *c, int64_t row) {
  if (pl_is_null_at(c, row)) {
    uint64_t bits = UINT64_C(0x7ff8000000000000);
    double nan;
    memcpy(&nan, &bits, 8);
    return nan;
  }
  if (c->dictionary) return pl_f64_at(c->dictionary, pl_dictionary_row(c, row));
  if (c->dtype == PL_F64) return ((const double *)c->data)[row];
  if (c->dtype == PL_F32) return (double)((const float *)c->data)[row];
  if (c->dtype == PL_U64) return (double)((const uint64_t *)c->data)[row];
  if (c->dtype == PL_TEXT || c->dtype == PL_BYTES) pl_wrong_column(c, "numbers");
  return (double)pl_raw_int(c->dtype, c->width, c->data, row);
}

/* A text or bytes value where it lies in the file; null is empty, with `data` NULL. */
PL_API pl_text pl_text_at(const pl_column *c, int64_t row) {
  pl_text text = {NULL, 0};
  uint64_t from, to;
  if (c->dtype != PL_TEXT && c->dtype != PL_BYTES) pl_wrong_column(c, "text");
  if (pl_is_null_at(c, row)) return text;
  if (c->dictionary) return pl_text_at(c->dictionary, pl_dictionary_row(c, row));
  from = (uint64_t)pl_raw_int(PL_OTHER, c->width, c->offsets, row);
  to = (uint64_t)pl_raw_int(PL_OTHER, c->width, c->offsets, row + 1);
  if (from > to || to > c->data_size)
    pl_fail("input `%s`: damaged Arrow file: text of column `%s` leads outside", c->port, c->name);
  text.data = (const char *)c->data + from;
  text.size = (size_t)(to - from);
  return text;
}

/* pl_values_T: the values of a column that holds exactly this type, mapped. Where a row is null the value means nothing. */
#define PL_VALUES_OF(T, TYPE, TEST)                       \
  PL_API const TYPE *pl_values_##T(const pl_column *c) {  \
    if (c->dictionary || !(TEST)) pl_wrong_column(c, #T); \
    return (const TYPE *)c->data;                         \
  }

PL_VALUES_OF(f64, double, c->dtype == PL_F64)
PL_VALUES_OF(f32, float, c->dtype == PL_F32)
PL_VALUES_OF(i64, int64_t, c->dtype == PL_I64 || (c->dtype >= PL_DATE && c->width == 8))
PL_VALUES_OF(i32, int32_t, c->dtype == PL_I32 || (c->dtype >= PL_DATE && c->width == 4))
PL_VALUES_OF(i16, int16_t, c->dtype == PL_I16)
PL_VALUES_OF(i8, int8_t, c->dtype == PL_I8)
PL_VALUES_OF(u64, uint64_t, c->dtype == PL_U64)
PL_VALUES_OF(u32, uint32_t, c->dtype == PL_U32)
PL_VALUES_OF(u16, uint16_t, c->dtype == PL_U16)
PL_VALUES_OF(u8, uint8_t, c->dtype == PL_U8)

/* ---- whole columns -------------------------------------------------------------------------------------------- */

/* pl_table_T(t, name): all rows of all batches as one array of pl_table_rows(t) elements. f64: any number, null is NaN;
 * i64: any int, bool or time, null is an error; text: views into the file. A single batch of f64 or i64 without nulls is not copied. */
#define PL_TABLE_OF(T, TYPE, DTYPE)                                                             \
  PL_API const TYPE *pl_table_##T(const pl_table *t, const char *name) {                        \
    int index = pl_table_need(t, name), batch;                                                  \
    TYPE *all = NULL;                                                                           \
    int64_t at = 0, row;                                                                        \
    for (batch = 0; batch < t->batches; batch++) {                                              \
      pl_column c = pl_table_column_at(t, index, batch);                                        \
      if (t->batches == 1 && c.dtype == DTYPE && DTYPE != PL_TEXT && !c.valid && !c.dictionary) \
        return (const TYPE *)c.data;                                                            \
      if (!all) all = (TYPE *)pl_alloc((size_t)t->rows * sizeof(TYPE));                         \
      for (row = 0; row < c.rows; row++) all[at++] = pl_##T##_at(&c, row);                      \
    }                                                                                           \
    return all ? all : (TYPE *)pl_alloc(sizeof(TYPE));                                          \
  }

PL_TABLE_OF(f64, double, PL_F64)
PL_TABLE_OF(i64, int64_t, PL_I64)
PL_TABLE_OF(text, pl_text, PL_TEXT)

#endif
