/* What a cell says beside what it prints: log lines, progress, things to look at, results beyond the declared outputs.
 * Knows the lines that the descriptor POLYLOOM_SAY takes (executors/README.md); without it, logs go to stderr and the rest is dropped. */
#ifndef POLYLOOM_SAY_H
#define POLYLOOM_SAY_H

#include "base.h"

/* Longest content of a display. */
#define PL_DISPLAY_MOST ((size_t)48 << 10)

/* The descriptor, or -1. */
PL_API int pl_say_fd_(void) {
  const char *number = getenv("POLYLOOM_SAY");
  char *end;
  long fd;
  if (!number || !*number) return -1;
  fd = strtol(number, &end, 10);
  return *end || fd < 3 || fd > 1023 ? -1 : (int)fd;
}

/* Writes a whole line; what nobody reads is dropped. */
PL_API void pl_say_(pl_buffer *line) {
  const int fd = pl_say_fd_();
  size_t at = 0;
  pl_buffer_add(line, "\n", 1);
  while (fd >= 0 && at < line->size) {
    const ssize_t written = write(fd, line->data + at, line->size - at);
    if (written > 0) at += (size_t)written;
    else if (written < 0 && errno != EINTR) break;
  }
  free(line->data);
  line->data = NULL;
  line->size = line->capacity = 0;
}

PL_API void pl_say_text_(pl_buffer *line, const char *text) { pl_buffer_add(line, text, strlen(text)); }

/* One line: what would end it becomes a blank. */
PL_API void pl_say_plain_(pl_buffer *line, const char *text, size_t size) {
  const size_t start = line->size;
  size_t i;
  pl_buffer_add(line, text, size);
  for (i = start; i < line->size; i++)
    if (line->data[i] == '\n' || line->data[i] == '\r') line->data[i] = ' ';
}

PL_API PL_PRINTF(2, 0) void pl_vlog_(const char *level, const char *format, va_list args) {
  char text[4096];
  int size = vsnprintf(text, sizeof text, format, args);
  const char *from = text, *end;
  if (size < 0) return;
  if ((size_t)size >= sizeof text) size = (int)sizeof text - 1;
  end = text + size;
  for (;;) {
    const char *stop = (const char *)memchr(from, '\n', (size_t)(end - from));
    const size_t length = (size_t)((stop ? stop : end) - from);
    if (pl_say_fd_() < 0) {
      fwrite(from, 1, length, stderr);
      fputc('\n', stderr);
    } else {
      pl_buffer line = {NULL, 0, 0};
      pl_say_text_(&line, "log ");
      pl_say_text_(&line, level);
      pl_buffer_add(&line, " ", 1);
      pl_say_plain_(&line, from, length);
      pl_say_(&line);
    }
    if (!stop || stop + 1 == end) return;
    from = stop + 1;
  }
}

/* Lines for the log, of 4 KiB at most together. */
PL_API PL_PRINTF(1, 2) void pl_log(const char *format, ...) {
  va_list args;
  va_start(args, format);
  pl_vlog_("info", format, args);
  va_end(args);
}

/* The same as a warning. */
PL_API PL_PRINTF(1, 2) void pl_warn(const char *format, ...) {
  va_list args;
  va_start(args, format);
  pl_vlog_("warn", format, args);
  va_end(args);
}

/* How far the cell is: between 0 and 1, or a negative number where that is not known; and a few words, or NULL. */
PL_API void pl_progress(double fraction, const char *text) {
  pl_buffer line = {NULL, 0, 0};
  char number[32];
  if (fraction >= 0) snprintf(number, sizeof number, "progress %.6f ", fraction > 1 ? 1.0 : fraction);
  pl_say_text_(&line, fraction >= 0 ? number : "progress - ");
  if (text) pl_say_plain_(&line, text, strlen(text));
  pl_say_(&line);
}

/* Something to look at while the cell runs: "text/html", "image/png", ... at most PL_DISPLAY_MOST bytes; larger is an artifact. */
PL_API void pl_display(const char *media, const void *data, size_t size) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const unsigned char *bytes = (const unsigned char *)data;
  pl_buffer line = {NULL, 0, 0};
  size_t i;
  if (size > PL_DISPLAY_MOST)
    pl_fail("a display has %lu bytes, at most %lu may be: write a file and call pl_artifact", (unsigned long)size,
            (unsigned long)PL_DISPLAY_MOST);
  pl_say_text_(&line, "display ");
  pl_say_plain_(&line, media, strcspn(media, " "));
  pl_say_text_(&line, ";base64 ");
  for (i = 0; i < size; i += 3) {
    const size_t left = size - i;
    const uint32_t three = (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) | (left > 2 ? bytes[i + 2] : 0);
    char four[4];
    four[0] = digits[three >> 18];
    four[1] = digits[three >> 12 & 63];
    four[2] = left > 1 ? digits[three >> 6 & 63] : '=';
    four[3] = left > 2 ? digits[three & 63] : '=';
    pl_buffer_add(&line, four, 4);
  }
  pl_say_(&line);
}

/* Keeps a file of $OUT as a result beyond the declared outputs; `path` is relative to $OUT, `name` has no blank. */
PL_API void pl_artifact(const char *name, const char *path) {
  pl_buffer line = {NULL, 0, 0};
  if (!*name || strchr(name, ' ')) pl_fail("`%s` is no name of an artifact: it may have A-Z a-z 0-9 . _ -", name);
  pl_say_text_(&line, "artifact ");
  pl_say_plain_(&line, name, strlen(name));
  pl_buffer_add(&line, " ", 1);
  pl_say_plain_(&line, path, strlen(path));
  pl_say_(&line);
}

#endif
