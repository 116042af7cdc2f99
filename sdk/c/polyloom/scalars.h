/* scalars.h: the ports of most cells: one number, one text. Everything here is pl_value and pl_writer in one call.
 */
#ifndef POLYLOOM_SCALARS_H
#define POLYLOOM_SCALARS_H

#include "value_in.h"
#include "value_out.h"

/* ---- inputs --------------------------------------------------------------------------------------------------- */

/* Whether the cell has an input of this name. */
PL_API int pl_has_input(const char *port) { return pl_find_input(port) != NULL; }

/* Whether the input is null. An input that is not a value is not null. */
PL_API int pl_in_is_null(const char *port) {
  const char *path = pl_find_input(port);
  const char *dot = path ? strrchr(path, '.') : NULL;
  return dot && strcmp(dot, ".msgpack") == 0 && pl_is_null(pl_in_value(port));
}

/* int and seed. */
PL_API int64_t pl_in_int(const char *port) { return pl_as_int(pl_in_value(port)); }

/* float; an int is taken as well. */
PL_API double pl_in_float(const char *port) { return pl_as_float(pl_in_value(port)); }

/* bool as 0 or 1. */
PL_API int pl_in_bool(const char *port) { return pl_as_bool(pl_in_value(port)); }

/* str, enum and color: UTF-8, NUL-terminated. */
PL_API const char *pl_in_str(const char *port) { return pl_as_str(pl_in_value(port)); }

/* str with its length, where it lies in the input; for text that may hold a NUL. */
PL_API pl_text pl_in_text(const char *port) { return pl_as_text(pl_in_value(port)); }

/* bytes (or the UTF-8 of a str), where they lie in the input. */
PL_API pl_bytes pl_in_bytes(const char *port) { return pl_as_bytes(pl_in_value(port)); }

/* ---- outputs -------------------------------------------------------------------------------------------------- */

PL_API void pl_out_null(const char *port) { pl_put_null(pl_out_value(port)); }
PL_API void pl_out_bool(const char *port, int value) { pl_put_bool(pl_out_value(port), value); }
PL_API void pl_out_int(const char *port, int64_t value) { pl_put_int(pl_out_value(port), value); }
PL_API void pl_out_float(const char *port, double value) { pl_put_float(pl_out_value(port), value); }

/* str, enum, color: NUL-terminated UTF-8. */
PL_API void pl_out_str(const char *port, const char *text) { pl_put_str(pl_out_value(port), text); }

/* str of `size` bytes of UTF-8. */
PL_API void pl_out_text(const char *port, const char *data, size_t size) {
  pl_put_text(pl_out_value(port), data, size);
}

PL_API void pl_out_bytes(const char *port, const void *data, size_t size) {
  pl_put_bytes(pl_out_value(port), data, size);
}

#endif
