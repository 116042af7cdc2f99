/* value_in.h: reading nested values: MessagePack as the store keeps it. Map keys are str, ints are 64-bit signed, floats are
 * f64, there are no ext types. It does not know the declared type of a port.
 */
#ifndef POLYLOOM_VALUE_IN_H
#define POLYLOOM_VALUE_IN_H

#include "base.h"

typedef enum pl_kind {
  PL_KIND_NULL,
  PL_KIND_BOOL,
  PL_KIND_INT,
  PL_KIND_FLOAT,
  PL_KIND_STR,
  PL_KIND_BYTES,
  PL_KIND_LIST,
  PL_KIND_MAP
} pl_kind;

/* One value inside a mapped document. A small struct to be passed by value; it points into the input. */
typedef struct pl_value {
  pl_kind kind;
  int64_t integer;           /* int; bool as 0 or 1 */
  double number;             /* float */
  size_t size;               /* str, bytes: bytes; list, map: items */
  const unsigned char *body; /* what follows the value's head */
  const unsigned char *end;  /* end of the document */
  const char *port;
} pl_value;

/* ---- decoding one head ---------------------------------------------------------------------------------------- */

PL_API uint64_t pl_big_endian(const unsigned char *p, int bytes) {
  uint64_t n = 0;
  int i;
  for (i = 0; i < bytes; i++) n = n << 8 | p[i];
  return n;
}

PL_API PL_NORETURN void pl_bad_value(const char *port, const char *why) {
  pl_fail("input `%s`: damaged value: %s", port, why);
}

/* Reads the head at `p`; the content of a str or bytes lies within the document when this returns. */
PL_API pl_value pl_decode(const char *port, const unsigned char *p, const unsigned char *end) {
  pl_value v;
  unsigned tag;
  int head = 0; /* bytes of length or number after the tag */
  uint64_t raw = 0;
  memset(&v, 0, sizeof v);
  v.port = port;
  v.end = end;
  if (p >= end) pl_bad_value(port, "it ends too early");
  tag = *p++;
  if (tag >= 0xc4 && tag <= 0xdf) {
    static const unsigned char heads[28] = {1, 2, 4, 0, 0, 0, 4, 8, 1, 2, 4, 8, 1, 2,
                                            4, 8, 0, 0, 0, 0, 0, 1, 2, 4, 2, 4, 2, 4};
    head = heads[tag - 0xc4];
    if (end - p < head) pl_bad_value(port, "it ends too early");
    raw = pl_big_endian(p, head);
    p += head;
  }
  v.body = p;
  if (tag < 0x80 || tag >= 0xe0) {
    v.kind = PL_KIND_INT;
    v.integer = tag < 0x80 ? (int64_t)tag : (int64_t)tag - 256;
  } else if (tag < 0x90) {
    v.kind = PL_KIND_MAP;
    v.size = tag & 15;
  } else if (tag < 0xa0) {
    v.kind = PL_KIND_LIST;
    v.size = tag & 15;
  } else if (tag < 0xc0 || (tag >= 0xd9 && tag <= 0xdb)) {
    v.kind = PL_KIND_STR;
    v.size = tag < 0xc0 ? tag & 31 : (size_t)raw;
  } else if (tag == 0xc0) {
    v.kind = PL_KIND_NULL;
  } else if (tag == 0xc2 || tag == 0xc3) {
    v.kind = PL_KIND_BOOL;
    v.integer = tag == 0xc3;
  } else if (tag >= 0xc4 && tag <= 0xc6) {
    v.kind = PL_KIND_BYTES;
    v.size = (size_t)raw;
  } else if (tag == 0xca) {
    uint32_t bits = (uint32_t)raw;
    float f;
    memcpy(&f, &bits, 4);
    v.kind = PL_KIND_FLOAT;
    v.number = (double)f;
  } else if (tag == 0xcb) {
    v.kind = PL_KIND_FLOAT;
    memcpy(&v.number, &raw, 8);
  } else if (tag >= 0xcc && tag <= 0xcf) {
    if (raw > (uint64_t)INT64_MAX) pl_bad_value(port, "an int beyond 64 bits signed");
    v.kind = PL_KIND_INT;
    v.integer = (int64_t)raw;
  } else if (tag >= 0xd0 && tag <= 0xd3) {
    v.kind = PL_KIND_INT;
    v.integer = tag == 0xd0   ? (int64_t)(int8_t)raw
                : tag == 0xd1 ? (int64_t)(int16_t)raw
                : tag == 0xd2 ? (int64_t)(int32_t)raw
                              : (int64_t)raw;
  } else if (tag >= 0xdc && tag <= 0xdf) {
    v.kind = tag <= 0xdd ? PL_KIND_LIST : PL_KIND_MAP;
    v.size = (size_t)raw;
  } else {
    pl_bad_value(port, "an extension type or a reserved byte");
  }
  if ((v.kind == PL_KIND_STR || v.kind == PL_KIND_BYTES) && v.size > (size_t)(end - p))
    pl_bad_value(port, "it ends too early");
  return v;
}

/* Lists and maps within each other: bounds the stack of code that walks a value by recursion. */
#define PL_MAX_DEPTH 64

/* The first byte after `v` and all it contains. */
PL_API const unsigned char *pl_skip(pl_value v) {
  uint64_t left[PL_MAX_DEPTH]; /* items still to come at each depth */
  int depth = 0;
  const unsigned char *p = v.body;
  for (;;) {
    uint64_t items = v.kind == PL_KIND_LIST ? v.size : v.kind == PL_KIND_MAP ? 2 * (uint64_t)v.size : 0;
    if (v.kind == PL_KIND_STR || v.kind == PL_KIND_BYTES) p = v.body + v.size;
    if (items > (uint64_t)(v.end - p)) pl_bad_value(v.port, "it ends too early"); /* an item takes a byte at least */
    if (items > 0) {
      if (depth == PL_MAX_DEPTH) pl_bad_value(v.port, "nested too deep");
      left[depth++] = items;
    }
    while (depth > 0 && left[depth - 1] == 0) depth--;
    if (depth == 0) return p;
    left[depth - 1] -= 1;
    v = pl_decode(v.port, p, v.end);
    p = v.body;
  }
}

/* ---- reading -------------------------------------------------------------------------------------------------- */

/* "int 20", "str \"abc\"", "list of 3": for messages. */
PL_API const char *pl_describe(pl_value v) {
  size_t size = 96;
  char *text = (char *)pl_alloc(size);
  unsigned long n = (unsigned long)v.size;
  switch (v.kind) {
    case PL_KIND_NULL:
      snprintf(text, size, "null");
      break;
    case PL_KIND_BOOL:
      snprintf(text, size, "bool %s", v.integer ? "true" : "false");
      break;
    case PL_KIND_INT:
      snprintf(text, size, "int %lld", (long long)v.integer);
      break;
    case PL_KIND_FLOAT:
      snprintf(text, size, "float %.17g", v.number);
      break;
    case PL_KIND_STR:
      snprintf(text, size, "str \"%.*s\"%s", (int)(n > 40 ? 40 : n), (const char *)v.body, n > 40 ? " and more" : "");
      break;
    case PL_KIND_BYTES:
      snprintf(text, size, "bytes of size %lu", n);
      break;
    case PL_KIND_LIST:
      snprintf(text, size, "list of %lu", n);
      break;
    case PL_KIND_MAP:
      snprintf(text, size, "map of %lu", n);
      break;
  }
  return text;
}

PL_API PL_NORETURN void pl_wrong_kind(pl_value v, const char *wanted) {
  pl_fail("input `%s`: expected %s, found %s", v.port, wanted, pl_describe(v));
}

/* The value of a port of any value type (null bool int float str bytes list map record enum seed vec2 color any). */
PL_API pl_value pl_in_value(const char *port) {
  pl_bytes doc = pl_map_file(pl_need_input(port, "msgpack", "a value"), port);
  pl_value v = pl_decode(pl_copy_text(port, strlen(port)), doc.data, doc.data + doc.size);
  if (pl_skip(v) != v.end) pl_bad_value(port, "bytes after its end");
  return v;
}

PL_API int pl_is_null(pl_value v) { return v.kind == PL_KIND_NULL; }

PL_API int64_t pl_as_int(pl_value v) {
  if (v.kind != PL_KIND_INT) pl_wrong_kind(v, "int");
  return v.integer;
}

/* An int is a float too. */
PL_API double pl_as_float(pl_value v) {
  if (v.kind == PL_KIND_INT) return (double)v.integer;
  if (v.kind != PL_KIND_FLOAT) pl_wrong_kind(v, "float");
  return v.number;
}

PL_API int pl_as_bool(pl_value v) {
  if (v.kind != PL_KIND_BOOL) pl_wrong_kind(v, "bool");
  return (int)v.integer;
}

/* The text where it lies in the input: no copy, no NUL. */
PL_API pl_text pl_as_text(pl_value v) {
  pl_text text;
  if (v.kind != PL_KIND_STR) pl_wrong_kind(v, "str");
  text.data = (const char *)v.body;
  text.size = v.size;
  return text;
}

/* A NUL-terminated copy of the text. Text with a NUL inside seems shorter: use pl_as_text. */
PL_API const char *pl_as_str(pl_value v) {
  pl_text text = pl_as_text(v);
  return pl_copy_text(text.data, text.size);
}

/* The bytes where they lie in the input; a str gives its UTF-8. */
PL_API pl_bytes pl_as_bytes(pl_value v) {
  pl_bytes bytes;
  if (v.kind != PL_KIND_BYTES && v.kind != PL_KIND_STR) pl_wrong_kind(v, "bytes");
  bytes.data = v.body;
  bytes.size = v.size;
  return bytes;
}

/* The number of items of a list or of entries of a map. */
PL_API size_t pl_count(pl_value v) {
  if (v.kind != PL_KIND_LIST && v.kind != PL_KIND_MAP) pl_wrong_kind(v, "list or map");
  return v.size;
}

/* Walks a list or a map in order:
 *     pl_cursor c = pl_items(v);
 *     pl_value key, item;
 *     while (pl_next(&c, &key, &item)) ...
 * For a list `key` is its index as an int. `key` may be NULL. */
typedef struct pl_cursor {
  pl_value of;
  size_t at;
  const unsigned char *p;
} pl_cursor;

PL_API pl_cursor pl_items(pl_value v) {
  pl_cursor c;
  pl_count(v);
  c.of = v;
  c.at = 0;
  c.p = v.body;
  return c;
}

PL_API int pl_next(pl_cursor *c, pl_value *key, pl_value *item) {
  pl_value k;
  if (c->at >= c->of.size) return 0;
  if (c->of.kind == PL_KIND_MAP) {
    k = pl_decode(c->of.port, c->p, c->of.end);
    if (k.kind != PL_KIND_STR) pl_bad_value(c->of.port, "a map key that is not a str");
    c->p = pl_skip(k);
  } else {
    memset(&k, 0, sizeof k);
    k.kind = PL_KIND_INT;
    k.integer = (int64_t)c->at;
    k.port = c->of.port;
  }
  *item = pl_decode(c->of.port, c->p, c->of.end);
  c->p = pl_skip(*item);
  c->at += 1;
  if (key) *key = k;
  return 1;
}

/* Item `index` of a list; takes time proportional to what lies before it, so walk with pl_items instead of counting up. */
PL_API pl_value pl_item(pl_value list, size_t index) {
  pl_cursor c = pl_items(list);
  pl_value item = list;
  if (list.kind != PL_KIND_LIST) pl_wrong_kind(list, "list");
  if (index >= list.size)
    pl_fail("input `%s`: no item %lu in a list of %lu", list.port, (unsigned long)index, (unsigned long)list.size);
  while (c.at <= index) pl_next(&c, NULL, &item);
  return item;
}

/* Looks a key up in a map or record: 1 and `*item`, or 0. */
PL_API int pl_lookup(pl_value map, const char *key, pl_value *item) {
  pl_cursor c = pl_items(map);
  pl_value k, v;
  if (map.kind != PL_KIND_MAP) pl_wrong_kind(map, "map or record");
  while (pl_next(&c, &k, &v))
    if (k.size == strlen(key) && memcmp(k.body, key, k.size) == 0) {
      *item = v;
      return 1;
    }
  return 0;
}

/* The value of a key that must be there. */
PL_API pl_value pl_field(pl_value map, const char *key) {
  pl_value item = map;
  pl_buffer keys = {NULL, 0, 0};
  pl_cursor c;
  pl_value k;
  if (pl_lookup(map, key, &item)) return item;
  c = pl_items(map);
  while (keys.size < 500 && pl_next(&c, &k, &item)) {
    if (keys.size) pl_buffer_add(&keys, ", ", 2);
    pl_buffer_add(&keys, k.body, k.size > 64 ? 64 : k.size);
  }
  pl_fail("input `%s`: no key `%s`; the keys are: %.*s", map.port, key, (int)keys.size,
          keys.size ? (const char *)keys.data : "");
}

#endif
