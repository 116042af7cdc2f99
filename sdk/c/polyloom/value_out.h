/* value_out.h: building nested values. Scalars come out in the canonical form; lists and maps have their count in four bytes,
 * since it is known only at their end: the host writes them anew.
 */
#ifndef POLYLOOM_VALUE_OUT_H
#define POLYLOOM_VALUE_OUT_H

#include "value_in.h"

/* Builds one value. The output file is written at the moment its outermost value is complete.
 *     pl_writer *w = pl_out_value("summary");
 *     pl_begin_map(w);
 *     pl_key(w, "mean"); pl_put_float(w, 1.5);
 *     pl_key(w, "tags"); pl_begin_list(w); pl_put_str(w, "a"); pl_end(w);
 *     pl_end(w); */
typedef struct pl_writer {
  const char *port;
  pl_buffer buffer;
  int depth, done, keyed; /* keyed: a key waits for its value */
  struct {
    size_t head;
    uint32_t count;
    int map;
  } open[PL_MAX_DEPTH];
} pl_writer;

PL_API pl_writer *pl_out_value(const char *port) {
  pl_writer *w = (pl_writer *)pl_alloc(sizeof(pl_writer));
  pl_check_port(port);
  w->port = pl_copy_text(port, strlen(port));
  return w;
}

PL_API void pl_put_big_endian(pl_buffer *buffer, unsigned tag, uint64_t n, int bytes) {
  unsigned char raw[9];
  int i;
  raw[0] = (unsigned char)tag;
  for (i = 0; i < bytes; i++) raw[bytes - i] = (unsigned char)(n >> (8 * i));
  pl_buffer_add(buffer, raw, (size_t)bytes + 1);
}

PL_API void pl_before_value(pl_writer *w) {
  if (w->done) pl_fail("output `%s`: a second value; a port holds one", w->port);
  if (w->depth > 0 && w->open[w->depth - 1].map) {
    if (!w->keyed) pl_fail("output `%s`: a value in a map without a key; call pl_key first", w->port);
    w->keyed = 0;
  }
  if (w->depth > 0) w->open[w->depth - 1].count += 1;
}

PL_API void pl_after_value(pl_writer *w) {
  if (w->depth > 0) return;
  w->done = 1;
  pl_save(w->port, "msgpack", w->buffer.data, w->buffer.size);
  free(w->buffer.data);
  memset(&w->buffer, 0, sizeof w->buffer);
}

PL_API void pl_put_sized(pl_writer *w, const void *data, size_t size, int text) {
  pl_buffer *b = &w->buffer;
  if (size > UINT32_MAX)
    pl_fail("output `%s`: a %s of %lu bytes; at most 4 GiB", w->port, text ? "str" : "bytes", (unsigned long)size);
  if (text && size < 32)
    pl_put_big_endian(b, 0xa0 | (unsigned)size, 0, 0);
  else if (size < 256)
    pl_put_big_endian(b, text ? 0xd9 : 0xc4, size, 1);
  else if (size < 65536)
    pl_put_big_endian(b, text ? 0xda : 0xc5, size, 2);
  else
    pl_put_big_endian(b, text ? 0xdb : 0xc6, size, 4);
  pl_buffer_add(b, data, size);
}

/* The key of the next value in a map. */
PL_API void pl_key(pl_writer *w, const char *key) {
  if (w->done || w->depth == 0 || !w->open[w->depth - 1].map || w->keyed)
    pl_fail("output `%s`: key `%s` outside a map, or after another key", w->port, key);
  pl_put_sized(w, key, strlen(key), 1);
  w->keyed = 1;
}

PL_API void pl_begin(pl_writer *w, int map) {
  pl_before_value(w);
  if (w->depth == PL_MAX_DEPTH) pl_fail("output `%s`: nested deeper than %d", w->port, PL_MAX_DEPTH);
  w->open[w->depth].head = w->buffer.size;
  w->open[w->depth].count = 0;
  w->open[w->depth].map = map;
  w->depth += 1;
  pl_put_big_endian(&w->buffer, map ? 0xdf : 0xdd, 0, 4); /* the count is filled in by pl_end */
}

PL_API void pl_begin_list(pl_writer *w) { pl_begin(w, 0); }
PL_API void pl_begin_map(pl_writer *w) { pl_begin(w, 1); }

/* Ends the innermost list or map. */
PL_API void pl_end(pl_writer *w) {
  int i;
  if (w->depth == 0 || w->keyed) pl_fail("output `%s`: pl_end without a begin, or after a key", w->port);
  w->depth -= 1;
  for (i = 0; i < 4; i++)
    w->buffer.data[w->open[w->depth].head + 4 - (size_t)i] = (unsigned char)(w->open[w->depth].count >> (8 * i));
  pl_after_value(w);
}

PL_API void pl_put_null(pl_writer *w) {
  pl_before_value(w);
  pl_put_big_endian(&w->buffer, 0xc0, 0, 0);
  pl_after_value(w);
}

PL_API void pl_put_bool(pl_writer *w, int value) {
  pl_before_value(w);
  pl_put_big_endian(&w->buffer, value ? 0xc3 : 0xc2, 0, 0);
  pl_after_value(w);
}

PL_API void pl_put_int(pl_writer *w, int64_t value) {
  pl_buffer *b = &w->buffer;
  uint64_t u = (uint64_t)value;
  pl_before_value(w);
  if (value >= -32 && value < 128)
    pl_put_big_endian(b, (unsigned)u & 0xff, 0, 0);
  else if (value >= 0)
    pl_put_big_endian(b,
                      u < 1u << 8       ? 0xcc
                      : u < 1u << 16    ? 0xcd
                      : u <= UINT32_MAX ? 0xce
                                        : 0xcf,
                      u,
                      u < 1u << 8       ? 1
                      : u < 1u << 16    ? 2
                      : u <= UINT32_MAX ? 4
                                        : 8);
  else
    pl_put_big_endian(b,
                      value >= INT8_MIN    ? 0xd0
                      : value >= INT16_MIN ? 0xd1
                      : value >= INT32_MIN ? 0xd2
                                           : 0xd3,
                      u,
                      value >= INT8_MIN    ? 1
                      : value >= INT16_MIN ? 2
                      : value >= INT32_MIN ? 4
                                           : 8);
  pl_after_value(w);
}

PL_API void pl_put_float(pl_writer *w, double value) {
  uint64_t bits = UINT64_C(0x7ff8000000000000); /* the one NaN */
  pl_before_value(w);
  if (value == value) memcpy(&bits, &value, 8);
  pl_put_big_endian(&w->buffer, 0xcb, bits, 8);
  pl_after_value(w);
}

/* `size` bytes of UTF-8. */
PL_API void pl_put_text(pl_writer *w, const char *data, size_t size) {
  pl_before_value(w);
  pl_put_sized(w, data, size, 1);
  pl_after_value(w);
}

PL_API void pl_put_str(pl_writer *w, const char *text) { pl_put_text(w, text, strlen(text)); }

PL_API void pl_put_bytes(pl_writer *w, const void *data, size_t size) {
  pl_before_value(w);
  pl_put_sized(w, data, size, 0);
  pl_after_value(w);
}

#endif
