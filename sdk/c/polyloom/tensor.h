/* tensor.h: tensor<dtype,[shape]> as .npy files (numpy.lib.format, versions 1 to 3): little endian, C order, data at a
 * multiple of 64. Reading maps the file; writing gives the memory of the output file.
 */
#ifndef POLYLOOM_TENSOR_H
#define POLYLOOM_TENSOR_H

#include "base.h"

#define PL_MAX_DIMS 32

/* Types of elements. Those after PL_F64 occur in tables only. */
typedef enum pl_dtype {
  PL_BOOL, /* one byte in a tensor, one bit in a table */
  PL_I8,
  PL_I16,
  PL_I32,
  PL_I64,
  PL_U8,
  PL_U16,
  PL_U32,
  PL_U64,
  PL_F32,
  PL_F64,
  PL_TEXT, /* UTF-8 */
  PL_BYTES,
  PL_DATE,      /* 4 bytes: days; 8 bytes: milliseconds; both since 1970-01-01 */
  PL_TIME,      /* since midnight, in the column's unit */
  PL_TIMESTAMP, /* since 1970-01-01 UTC, in the column's unit */
  PL_DURATION,  /* in the column's unit */
  PL_OTHER      /* present, but not readable with this header: list, struct, decimal, ... */
} pl_dtype;

/* An array over mapped memory, in C order (last index fastest). `size` counts elements; a scalar has ndim 0 and size 1. */
typedef struct pl_tensor {
  const void *data;
  pl_dtype dtype;
  int ndim;
  int64_t shape[PL_MAX_DIMS];
  int64_t size;
} pl_tensor;

PL_API const char *pl_dtype_name(pl_dtype dtype) {
  static const char *const names[] = {"bool", "i8",  "i16", "i32",   "i64",  "u8",   "u16",       "u32",      "u64",
                                      "f32",  "f64", "str", "bytes", "date", "time", "timestamp", "duration", "other"};
  return (int)dtype >= 0 && dtype <= PL_OTHER ? names[dtype] : "unknown";
}

/* Bytes of one element of a tensor. */
PL_API size_t pl_dtype_size(pl_dtype dtype) {
  static const unsigned char sizes[] = {1, 1, 2, 4, 8, 1, 2, 4, 8, 4, 8};
  return (int)dtype >= 0 && dtype <= PL_F64 ? sizes[dtype] : 0;
}

PL_API const char *pl_npy_code(pl_dtype dtype) {
  static const char *const codes[] = {"|b1", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8", "<f4", "<f8"};
  return codes[dtype];
}

/* The number of elements, or -1 when the bytes would not fit a file. */
PL_API int64_t pl_shape_size(const int64_t *shape, int ndim, size_t width) {
  int64_t size = 1, limit = INT64_MAX / 2 / (int64_t)width;
  int i;
  for (i = 0; i < ndim; i++) {
    if (shape[i] < 0) return -1;
    if (shape[i] == 0) return 0;
  }
  for (i = 0; i < ndim; i++) {
    if (size > limit / shape[i]) return -1;
    size *= shape[i];
  }
  return size;
}

/* ---- inputs --------------------------------------------------------------------------------------------------- */

PL_API PL_NORETURN void pl_bad_npy(const char *port, const char *why) {
  pl_fail("input `%s`: damaged npy file: %s", port, why);
}

/* What follows `key:` in the header's dict, or a failure. */
PL_API const char *pl_npy_entry(const char *header, const char *key, const char *port) {
  const char *p = strstr(header, key);
  if (!p) pl_bad_npy(port, "its header lacks descr, fortran_order or shape");
  p += strlen(key);
  while (*p == ' ') p++;
  if (*p != ':') pl_bad_npy(port, "its header is not a dict");
  p++;
  while (*p == ' ') p++;
  return p;
}

PL_API void pl_npy_shape(pl_tensor *t, const char *p, const char *port) {
  if (*p++ != '(') pl_bad_npy(port, "its shape is not a tuple");
  for (;;) {
    int64_t n = 0;
    int digits = 0;
    while (*p == ' ' || *p == ',') p++;
    if (*p == ')') return;
    for (; *p >= '0' && *p <= '9'; p++, digits++) {
      if (n > INT64_MAX / 10 - 1) pl_bad_npy(port, "a dimension is too large");
      n = n * 10 + (*p - '0');
    }
    if (digits == 0) pl_bad_npy(port, "its shape is not a tuple of ints");
    if (t->ndim == PL_MAX_DIMS) pl_bad_npy(port, "more than 32 dimensions");
    t->shape[t->ndim++] = n;
  }
}

/* A tensor of any dtype. */
PL_API pl_tensor pl_in_tensor(const char *port) {
  pl_bytes file = pl_map_file(pl_need_input(port, "npy", "a tensor"), port);
  pl_tensor t;
  size_t start, length, need;
  const char *header, *descr;
  int i;
  memset(&t, 0, sizeof t);
  if (file.size < 12 || memcmp(file.data, "\x93NUMPY", 6) != 0) pl_bad_npy(port, "it does not begin with \\x93NUMPY");
  if (file.data[6] < 1 || file.data[6] > 3) pl_bad_npy(port, "a version other than 1, 2 or 3");
  start = file.data[6] == 1 ? 10 : 12;
  length = (size_t)file.data[8] | (size_t)file.data[9] << 8;
  if (start == 12) length |= (size_t)file.data[10] << 16 | (size_t)file.data[11] << 24;
  if (length > file.size - start || length > 65535) pl_bad_npy(port, "its header ends beyond the file");
  header = pl_copy_text(file.data + start, length);
  start += length;

  descr = pl_npy_entry(header, "'descr'", port);
  for (i = 0; i <= PL_F64; i++)
    if (descr[0] == '\'' && strncmp(descr + 1, pl_npy_code((pl_dtype)i), 3) == 0 && descr[4] == '\'') break;
  if (i > PL_F64)
    pl_fail("input `%s`: dtype %.*s is not one of b1 i1 i2 i4 i8 u1 u2 u4 u8 f4 f8, little endian", port,
            (int)strcspn(descr, ","), descr);
  t.dtype = (pl_dtype)i;
  pl_npy_shape(&t, pl_npy_entry(header, "'shape'", port), port);
  if (strncmp(pl_npy_entry(header, "'fortran_order'", port), "True", 4) == 0 && t.ndim > 1)
    pl_fail("input `%s`: the tensor is in Fortran order; store it in C order (numpy.ascontiguousarray)", port);

  t.size = pl_shape_size(t.shape, t.ndim, pl_dtype_size(t.dtype));
  need = (size_t)t.size * pl_dtype_size(t.dtype);
  if (t.size < 0 || need > file.size - start)
    pl_fail("input `%s`: damaged npy file: %lu bytes of data, its shape needs %s%lu", port,
            (unsigned long)(file.size - start), t.size < 0 ? "more than " : "",
            (unsigned long)(t.size < 0 ? 1ul << 62 : need));
  t.data = file.data + start;
  if (start % pl_dtype_size(t.dtype) != 0) { /* not a file of ours: writers before numpy 1.14 did not align */
    void *copy = pl_alloc(need);
    memcpy(copy, t.data, need);
    t.data = copy;
  }
  return t;
}

/* ---- outputs -------------------------------------------------------------------------------------------------- */

/* The memory of a new tensor, zeroed, in C order. Fill it before the cell ends; there is nothing to close. */
PL_API void *pl_out_tensor(const char *port, pl_dtype dtype, const int64_t *shape, int ndim) {
  char header[1024];
  size_t used, total;
  int64_t size;
  unsigned char *map;
  int i, fd;
  pl_check_port(port);
  if ((int)dtype < 0 || dtype > PL_F64) pl_fail("output `%s`: a tensor cannot hold %s", port, pl_dtype_name(dtype));
  if (ndim < 0 || ndim > PL_MAX_DIMS)
    pl_fail("output `%s`: %d dimensions; 0 to %d are possible", port, ndim, PL_MAX_DIMS);
  size = pl_shape_size(shape, ndim, pl_dtype_size(dtype));
  if (size < 0) pl_fail("output `%s`: a dimension is negative, or the shape too large", port);

  used = (size_t)snprintf(header, sizeof header, "\x93NUMPY%c%c  {'descr': '%s', 'fortran_order': False, 'shape': (", 1,
                          0, pl_npy_code(dtype));
  memcpy(header, "\x93NUMPY\x01\0\0\0", 10);
  for (i = 0; i < ndim; i++)
    used += (size_t)snprintf(header + used, sizeof header - used, "%s%lld", i ? ", " : "", (long long)shape[i]);
  used += (size_t)snprintf(header + used, sizeof header - used, "%s), }", ndim == 1 ? "," : "");
  total = (used + 1 + 63) / 64 * 64;
  memset(header + used, ' ', total - used);
  header[total - 1] = '\n';
  header[8] = (char)((total - 10) & 255);
  header[9] = (char)((total - 10) >> 8);

  fd = pl_create(pl_join(pl_out_dir_root(), "", port, "npy"), port);
  map = pl_map_output(fd, total + (size_t)size * pl_dtype_size(dtype), port);
  close(fd);
  memcpy(map, header, total);
  return map + total;
}

/* ---- one type each -------------------------------------------------------------------------------------------- */

/* For each type T of f64 f32 i64 i32 i16 i8 u64 u32 u16 u8 flags (flags: a tensor of bool, one byte each, 0 or 1):
 *   pl_span_T           { data, size, ndim, shape }: a tensor of T, mapped, in C order
 *   pl_in_T(port)       the tensor; another dtype is an error that names it
 *   pl_out_T(port, n)   memory of a new tensor of shape [n]
 *   pl_out_tensor_T(port, shape, ndim) */
#define PL_TENSOR_OF(T, TYPE, DTYPE)                                                                   \
  typedef struct pl_span_##T {                                                                         \
    const TYPE *data;                                                                                  \
    int64_t size;                                                                                      \
    int ndim;                                                                                          \
    int64_t shape[PL_MAX_DIMS];                                                                        \
  } pl_span_##T;                                                                                       \
  PL_API pl_span_##T pl_in_##T(const char *port) {                                                     \
    pl_tensor t = pl_in_tensor(port);                                                                  \
    pl_span_##T span;                                                                                  \
    if (t.dtype != DTYPE)                                                                              \
      pl_fail("input `%s`: expected a tensor of %s, found one of %s; read it with pl_in_%s", port, #T, \
              pl_dtype_name(t.dtype), t.dtype == PL_BOOL ? "flags" : pl_dtype_name(t.dtype));          \
    span.data = (const TYPE *)t.data;                                                                  \
    span.size = t.size;                                                                                \
    span.ndim = t.ndim;                                                                                \
    memcpy(span.shape, t.shape, sizeof t.shape);                                                       \
    return span;                                                                                       \
  }                                                                                                    \
  PL_API TYPE *pl_out_tensor_##T(const char *port, const int64_t *shape, int ndim) {                   \
    return (TYPE *)pl_out_tensor(port, DTYPE, shape, ndim);                                            \
  }
#define PL_VECTOR_OF(T, TYPE) \
  PL_API TYPE *pl_out_##T(const char *port, int64_t n) { return pl_out_tensor_##T(port, &n, 1); }

PL_TENSOR_OF(f64, double, PL_F64)
PL_TENSOR_OF(f32, float, PL_F32)
PL_TENSOR_OF(i64, int64_t, PL_I64)
PL_TENSOR_OF(i32, int32_t, PL_I32)
PL_TENSOR_OF(i16, int16_t, PL_I16)
PL_TENSOR_OF(i8, int8_t, PL_I8)
PL_TENSOR_OF(u64, uint64_t, PL_U64)
PL_TENSOR_OF(u32, uint32_t, PL_U32)
PL_TENSOR_OF(u16, uint16_t, PL_U16)
PL_TENSOR_OF(u8, uint8_t, PL_U8)
PL_TENSOR_OF(flags, uint8_t, PL_BOOL) /* pl_in_bool is the scalar */
PL_VECTOR_OF(f64, double)
PL_VECTOR_OF(f32, float)
PL_VECTOR_OF(i64, int64_t)
PL_VECTOR_OF(i32, int32_t)
PL_VECTOR_OF(i16, int16_t)
PL_VECTOR_OF(i8, int8_t)
PL_VECTOR_OF(u64, uint64_t)
PL_VECTOR_OF(u32, uint32_t)
PL_VECTOR_OF(u16, uint16_t)
PL_VECTOR_OF(u8, uint8_t)
PL_VECTOR_OF(flags, uint8_t)

#endif
