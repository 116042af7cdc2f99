/* schema.h: the fields of an Arrow file: what each means for reading, and how many nodes and buffers of a batch belong to it, so that
 * those of types this library cannot read are passed over.
 */
#ifndef POLYLOOM_SCHEMA_H
#define POLYLOOM_SCHEMA_H

#include "arrow.h"
#include "tensor.h"

typedef enum pl_unit { PL_SECONDS, PL_MILLISECONDS, PL_MICROSECONDS, PL_NANOSECONDS, PL_DAYS } pl_unit;

/* One field of the schema, and where its nodes and buffers come in every batch. */
typedef struct pl_field_info {
  const char *name;
  pl_dtype dtype;
  pl_unit unit;
  int width;
  uint64_t nodes, buffers, views; /* counted over the field and its children; views have buffers of their own */
  int encoded;                    /* by a dictionary */
  pl_dtype index;
  int64_t dictionary;
} pl_field_info;

PL_API void pl_int_type(const pl_flat *f, uint64_t type, pl_dtype *dtype, int *width) {
  int64_t bits = type ? pl_flat_number(f, type, 0, 4, 0) : 32, sign = type ? pl_flat_number(f, type, 1, 1, 0) : 1;
  int log = bits == 8 ? 0 : bits == 16 ? 1 : bits == 32 ? 2 : bits == 64 ? 3 : -1;
  if (log < 0) pl_bad_arrow(f, "an int that has not 8, 16, 32 or 64 bits");
  *dtype = (pl_dtype)((sign ? PL_I8 : PL_U8) + log);
  *width = (int)bits / 8;
}

/* What one type means for reading, and how many buffers it has (its children not counted). */
PL_API int pl_field_type(const pl_flat *f, uint64_t field, pl_field_info *info) {
  int64_t kind = pl_flat_number(f, field, 2, 1, 0), precision;
  uint64_t type = pl_flat_table(f, field, 3);
  info->dtype = PL_OTHER;
  if (!type) pl_bad_arrow(f, "a field without type");
  switch (kind) {
    case PL_ARROW_NULL:
    case PL_ARROW_RUN_END:
      return 0;
    case PL_ARROW_INT:
      pl_int_type(f, type, &info->dtype, &info->width);
      return 2;
    case PL_ARROW_FLOAT:
      precision = pl_flat_number(f, type, 0, 2, 0);
      if (precision == 1 || precision == 2) info->dtype = precision == 1 ? PL_F32 : PL_F64;
      info->width = precision == 1 ? 4 : 8;
      return 2;
    case PL_ARROW_BOOL:
      info->dtype = PL_BOOL;
      return 2;
    case PL_ARROW_UTF8:
    case PL_ARROW_BINARY:
    case PL_ARROW_LARGE_UTF8:
    case PL_ARROW_LARGE_BINARY:
      info->dtype = kind == PL_ARROW_UTF8 || kind == PL_ARROW_LARGE_UTF8 ? PL_TEXT : PL_BYTES;
      info->width = kind == PL_ARROW_UTF8 || kind == PL_ARROW_BINARY ? 4 : 8;
      return 3;
    case PL_ARROW_DATE:
      info->dtype = PL_DATE;
      info->unit = pl_flat_number(f, type, 0, 2, 1) == 0 ? PL_DAYS : PL_MILLISECONDS;
      info->width = info->unit == PL_DAYS ? 4 : 8;
      return 2;
    case PL_ARROW_TIME:
    case PL_ARROW_TIMESTAMP:
    case PL_ARROW_DURATION:
      precision = pl_flat_number(f, type, 0, 2, kind == PL_ARROW_TIMESTAMP ? 0 : 1);
      if (precision < 0 || precision > 3) pl_bad_arrow(f, "an unknown unit of time");
      info->dtype = kind == PL_ARROW_TIME ? PL_TIME : kind == PL_ARROW_TIMESTAMP ? PL_TIMESTAMP : PL_DURATION;
      info->unit = (pl_unit)precision;
      info->width = kind == PL_ARROW_TIME && precision <= 1 ? 4 : 8;
      return 2;
    case PL_ARROW_DECIMAL:
    case PL_ARROW_INTERVAL:
    case PL_ARROW_FIXED_BINARY:
    case PL_ARROW_LIST:
    case PL_ARROW_LARGE_LIST:
    case PL_ARROW_MAP:
      return 2;
    case PL_ARROW_STRUCT:
    case PL_ARROW_FIXED_LIST:
      return 1;
    case PL_ARROW_UNION:
      return pl_flat_number(f, type, 0, 2, 0) == 1 ? 2 : 1;
    case PL_ARROW_LIST_VIEW:
    case PL_ARROW_LARGE_LIST_VIEW:
      return 3;
    case PL_ARROW_BINARY_VIEW:
    case PL_ARROW_UTF8_VIEW:
      info->views += 1;
      return 2;
    default:
      pl_fail("input `%s`: an Arrow type this header does not know (%d)", f->port, (int)kind);
  }
}

/* `budget` bounds the fields visited: the children of a hostile schema may lead back to their parents. */
PL_API void pl_count_field(const pl_flat *f, uint64_t field, pl_field_info *info, int depth, long *budget) {
  uint64_t children, count, i, encoding = pl_flat_table(f, field, 4);
  pl_field_info child;
  if (depth == 0 || --*budget < 0) pl_bad_arrow(f, "too many nested fields");
  info->nodes += 1;
  info->buffers += (uint64_t)pl_field_type(f, field, info);
  if (encoding) { /* a batch holds the indices only */
    int width;
    info->encoded = 1;
    info->dictionary = pl_flat_number(f, encoding, 0, 8, 0);
    pl_int_type(f, pl_flat_table(f, encoding, 1), &info->index, &width);
    info->buffers = 2;
    info->views = 0;
    return;
  }
  children = pl_flat_vector(f, field, 5, 4, &count);
  for (i = 0; i < count; i++) {
    memset(&child, 0, sizeof child);
    pl_count_field(f, pl_flat_follow(f, children + 4 * i), &child, depth - 1, budget);
    info->nodes += child.nodes;
    info->buffers += child.buffers;
    info->views += child.views;
  }
}

#endif
