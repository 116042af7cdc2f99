/* arrow.h: the shape of an Arrow IPC file (https://arrow.apache.org/docs/format/Columnar.html) and of the FlatBuffers in it
 * (https://flatbuffers.dev/internals): reading with every offset checked, writing front to back. It knows neither
 * columns nor rows.
 *
 *     "ARROW1\0\0"  schema message  dictionary and record batch messages, each followed by its body  footer  "ARROW1"
 */
#ifndef POLYLOOM_ARROW_H
#define POLYLOOM_ARROW_H

#include "base.h"

/* Numbers of the `Type` union in Schema.fbs. */
enum {
  PL_ARROW_NULL = 1,
  PL_ARROW_INT = 2,
  PL_ARROW_FLOAT = 3,
  PL_ARROW_BINARY = 4,
  PL_ARROW_UTF8 = 5,
  PL_ARROW_BOOL = 6,
  PL_ARROW_DECIMAL = 7,
  PL_ARROW_DATE = 8,
  PL_ARROW_TIME = 9,
  PL_ARROW_TIMESTAMP = 10,
  PL_ARROW_INTERVAL = 11,
  PL_ARROW_LIST = 12,
  PL_ARROW_STRUCT = 13,
  PL_ARROW_UNION = 14,
  PL_ARROW_FIXED_BINARY = 15,
  PL_ARROW_FIXED_LIST = 16,
  PL_ARROW_MAP = 17,
  PL_ARROW_DURATION = 18,
  PL_ARROW_LARGE_BINARY = 19,
  PL_ARROW_LARGE_UTF8 = 20,
  PL_ARROW_LARGE_LIST = 21,
  PL_ARROW_RUN_END = 22,
  PL_ARROW_BINARY_VIEW = 23,
  PL_ARROW_UTF8_VIEW = 24,
  PL_ARROW_LIST_VIEW = 25,
  PL_ARROW_LARGE_LIST_VIEW = 26
};

/* Kinds of `MessageHeader` in Message.fbs. */
enum { PL_ARROW_SCHEMA = 1, PL_ARROW_DICTIONARY_BATCH = 2, PL_ARROW_RECORD_BATCH = 3 };

/* ---- reading a FlatBuffer ------------------------------------------------------------------------------------- */

/* The whole file; positions are offsets into it, 0 means absent. */
typedef struct pl_flat {
  const unsigned char *data;
  size_t size;
  const char *port;
} pl_flat;

PL_API PL_NORETURN void pl_bad_arrow(const pl_flat *f, const char *why) {
  pl_fail("input `%s`: damaged Arrow file: %s", f->port, why);
}

PL_API void pl_flat_check(const pl_flat *f, uint64_t at, uint64_t size) {
  if (at > f->size || size > f->size - at) pl_bad_arrow(f, "an offset leads outside");
}

/* A little-endian number of 1, 2, 4 or 8 bytes. */
PL_API uint64_t pl_flat_uint(const pl_flat *f, uint64_t at, int bytes) {
  uint64_t n = 0;
  pl_flat_check(f, at, (uint64_t)bytes);
  while (bytes-- > 0) n = n << 8 | f->data[at + (uint64_t)bytes];
  return n;
}

PL_API int64_t pl_flat_i64(const pl_flat *f, uint64_t at) { return (int64_t)pl_flat_uint(f, at, 8); }

/* Follows the relative offset stored at `at`. */
PL_API uint64_t pl_flat_follow(const pl_flat *f, uint64_t at) {
  uint64_t to = at + pl_flat_uint(f, at, 4);
  pl_flat_check(f, to, 4);
  return to;
}

/* The position of field `index` of a table, 0 when it has its default. */
PL_API uint64_t pl_flat_field(const pl_flat *f, uint64_t table, int index) {
  int64_t back = (int32_t)pl_flat_uint(f, table, 4);
  uint64_t vtable = (uint64_t)((int64_t)table - back), slot = 4 + 2 * (uint64_t)index, offset;
  if (back > (int64_t)table || slot + 2 > pl_flat_uint(f, vtable, 2)) return 0;
  offset = pl_flat_uint(f, vtable + slot, 2);
  return offset ? table + offset : 0;
}

PL_API int64_t pl_flat_number(const pl_flat *f, uint64_t table, int index, int bytes, int64_t otherwise) {
  uint64_t at = pl_flat_field(f, table, index), n;
  if (!at) return otherwise;
  n = pl_flat_uint(f, at, bytes);
  return bytes == 2 ? (int64_t)(int16_t)n : bytes == 4 ? (int64_t)(int32_t)n : (int64_t)n;
}

/* The table in field `index`, or 0. */
PL_API uint64_t pl_flat_table(const pl_flat *f, uint64_t table, int index) {
  uint64_t at = pl_flat_field(f, table, index);
  return at ? pl_flat_follow(f, at) : 0;
}

/* A vector's first element and, in `*count`, the number of its elements, which lie within the file. */
PL_API uint64_t pl_flat_vector(const pl_flat *f, uint64_t table, int index, size_t width, uint64_t *count) {
  uint64_t at = pl_flat_field(f, table, index);
  *count = 0;
  if (!at) return 0;
  at = pl_flat_follow(f, at);
  *count = pl_flat_uint(f, at, 4);
  pl_flat_check(f, at + 4, *count * width);
  return at + 4;
}

/* A message: its header table, and where its body lies. `at` and `meta` come from a Block of the footer. */
typedef struct pl_arrow_message {
  uint64_t header, body, body_size;
} pl_arrow_message;

PL_API pl_arrow_message pl_arrow_read(const pl_flat *f, uint64_t block, int kind) {
  pl_arrow_message m;
  uint64_t at = (uint64_t)pl_flat_i64(f, block), meta = pl_flat_uint(f, block + 8, 4), table;
  m.body_size = (uint64_t)pl_flat_i64(f, block + 16);
  pl_flat_check(f, at, meta);
  m.body = at + meta;
  pl_flat_check(f, m.body, m.body_size);
  if (pl_flat_uint(f, at, 4) == 0xffffffffu) at += 4; /* absent before Arrow 0.15 */
  at += 4;
  table = pl_flat_follow(f, at);
  if (pl_flat_number(f, table, 1, 1, 0) != kind) pl_bad_arrow(f, "a message of the wrong kind");
  m.header = pl_flat_table(f, table, 2);
  if (!m.header) pl_bad_arrow(f, "a message without header");
  return m;
}

/* ---- writing a FlatBuffer ------------------------------------------------------------------------------------- */

/* Objects are written parent first; an offset is patched when its target gets written. Positions are relative to the buffer. */
PL_API void pl_flat_align(pl_buffer *b, size_t to, size_t ahead) {
  while ((b->size + ahead) % to != 0) pl_buffer_add(b, "", 1);
}

PL_API void pl_flat_set(pl_buffer *b, size_t at, int bytes, uint64_t n) {
  int i;
  for (i = 0; i < bytes; i++) b->data[at + (size_t)i] = (unsigned char)(n >> (8 * i));
}

PL_API void pl_flat_add(pl_buffer *b, int bytes, uint64_t n) {
  pl_buffer_add(b, "\0\0\0\0\0\0\0", (size_t)bytes);
  pl_flat_set(b, b->size - (size_t)bytes, bytes, n);
}

/* Lets the offset at `at` lead to what is written next. */
PL_API void pl_flat_here(pl_buffer *b, size_t at) { pl_flat_set(b, at, 4, b->size - at); }

/* A table whose fields have these widths (0 = absent); `where` gets the field positions. The offset at `from` leads to it. */
PL_API void pl_flat_new_table(pl_buffer *b, size_t from, const char *widths, int fields, size_t *where) {
  size_t vtable, table, size = 4;
  int i, width;
  for (width = 8; width > 0; width /= 2)
    for (i = 0; i < fields; i++)
      if (widths[i] == width) {
        size = (size + (size_t)width - 1) / (size_t)width * (size_t)width;
        where[i] = size;
        size += (size_t)width;
      }
  pl_flat_align(b, 8, 4 + 2 * (size_t)fields);
  vtable = b->size;
  table = vtable + 4 + 2 * (size_t)fields;
  pl_flat_add(b, 2, table - vtable);
  pl_flat_add(b, 2, size);
  for (i = 0; i < fields; i++) pl_flat_add(b, 2, widths[i] ? where[i] : 0);
  pl_flat_here(b, from);
  pl_flat_add(b, 4, table - vtable);
  while (b->size < table + size) pl_buffer_add(b, "", 1);
  for (i = 0; i < fields; i++) where[i] += table;
}

/* The head of a vector; `align` is the alignment of its elements, which the caller adds. */
PL_API void pl_flat_new_vector(pl_buffer *b, size_t from, size_t count, size_t align) {
  pl_flat_align(b, align < 4 ? 4 : align, 4);
  pl_flat_here(b, from);
  pl_flat_add(b, 4, count);
}

PL_API void pl_flat_new_string(pl_buffer *b, size_t from, const char *text, size_t size) {
  pl_flat_new_vector(b, from, size, 1);
  pl_buffer_add(b, text, size);
  pl_buffer_add(b, "", 1);
}

#endif
