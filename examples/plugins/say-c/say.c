/* Say: a language of a few words, to show how an executor is written in C. One statement a line:
 *
 *     say TEXT           prints it; `$port` in a text is the text of that input
 *     put PORT TEXT      is the output PORT
 *     show TEXT          shows it while the cell runs
 *     wait SECONDS       waits, and ends when it is asked to
 *     fail TEXT          fails
 *     # TEXT             says nothing
 */
#define _POSIX_C_SOURCE 200809L
#include <polyloom_plugin.h>

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

/* A text that grows. */
typedef struct text {
  char *data;
  size_t length, room;
} text;

static int add(text *to, const char *data, size_t length) {
  if (to->room - to->length < length) {
    size_t room = to->room * 2 + length;
    char *grown = (char *)realloc(to->data, room);
    if (!grown) return 0;
    to->data = grown;
    to->room = room;
  }
  if (length) memcpy(to->data + to->length, data, length);
  to->length += length;
  return 1;
}

/* `from` with the inputs it names. */
static int fill(plx_exec *x, text *to, const char *from, uint32_t line) {
  to->length = 0;
  while (*from) {
    size_t plain = strcspn(from, "$"), length = 0, name = 0;
    char port[65];
    const char *value;
    if (!add(to, from, plain)) return plx_fail(x, line, 0, "out of memory");
    from += plain;
    if (!*from) break;
    from++;
    while (isalnum((unsigned char)from[name]) || from[name] == '_') name++;
    if (name == 0 || name >= sizeof port) return plx_fail(x, line, 0, "a port's name has to follow `$`");
    memcpy(port, from, name);
    port[name] = '\0';
    value = plx_text(x, port, &length);
    if (!value) return plx_fail(x, line, 0, "there is no input of that name");
    if (!add(to, value, length)) return plx_fail(x, line, 0, "out of memory");
    from += name;
  }
  return 0;
}

static int wait_for(plx_exec *x, const char *seconds, uint32_t line) {
  char *end;
  double left = strtod(seconds, &end);
  if (end == seconds || *end || !(left >= 0)) return plx_fail(x, line, 0, "`wait` takes a number of seconds");
  fflush(stdout);
  while (left > 0) {
    struct timespec pause = {0, 10000000};
    if (plx_cancelled(x)) return plx_fail(x, line, 0, "stopped");
    nanosleep(&pause, NULL);
    left -= 0.01;
  }
  return 0;
}

static int statement(plx_exec *x, char *words, uint32_t line, text *filled) {
  char *rest = words + strcspn(words, " "), *port;
  int failed;
  if (*rest) *rest++ = '\0';
  if (!*words || *words == '#') return 0;
  if (strcmp(words, "wait") == 0) return wait_for(x, rest, line);
  if (strcmp(words, "fail") == 0) return plx_fail(x, line, 0, rest);
  port = rest;
  if (strcmp(words, "put") == 0) {
    rest += strcspn(rest, " ");
    if (*rest) *rest++ = '\0';
  } else if (strcmp(words, "say") != 0 && strcmp(words, "show") != 0) {
    return plx_fail(x, line, 1, "expected `say`, `put`, `show`, `wait`, `fail` or `#`");
  }
  failed = fill(x, filled, rest, line);
  if (failed) return failed;
  if (strcmp(words, "put") == 0) return plx_write(x, port, filled->data, filled->length);
  if (strcmp(words, "show") == 0) return plx_display(x, "text/plain", filled->data, filled->length);
  if (filled->length) fwrite(filled->data, 1, filled->length, stdout);
  putchar('\n');
  fflush(stdout);
  return 0;
}

static int run(void *self, plx_exec *x) {
  char *words = NULL;
  size_t room = 0;
  uint32_t line = 0;
  int failed = 0;
  text filled = {NULL, 0, 0};
  FILE *code = fopen(x->code, "r");
  (void)self;
  if (!code) return plx_fail(x, 0, 0, strerror(errno));
  while (!failed) {
    ssize_t length = getline(&words, &room, code);
    if (length < 0) break;
    words[strcspn(words, "\r\n")] = '\0';
    failed = statement(x, words, ++line, &filled);
  }
  if (ferror(code)) failed = plx_fail(x, line, 0, "the code can't be read");
  fclose(code);
  free(words);
  free(filled.data);
  return failed;
}

/* What a program that offers the language's words would show of them. */
static const char *catalog(void *self) {
  (void)self;
  return "[{\"name\": \"say\", \"takes\": [\"TEXT\"], \"doc\": \"prints it\"},"
         " {\"name\": \"put\", \"takes\": [\"PORT\", \"TEXT\"], \"doc\": \"is the output PORT\"},"
         " {\"name\": \"show\", \"takes\": [\"TEXT\"], \"doc\": \"shows it while the cell runs\"},"
         " {\"name\": \"wait\", \"takes\": [\"SECONDS\"], \"doc\": \"waits\"},"
         " {\"name\": \"fail\", \"takes\": [\"TEXT\"], \"doc\": \"fails\"}]";
}

PLX_EXPORT const plx_plugin *polyloom_plugin_v1(void) {
  static const plx_plugin plugin = {
      PLX_PLUGIN_SIZE, "say-c", "1", "say 1", "cancel.soft display progress catalog", NULL, run, NULL, NULL, NULL, NULL, catalog,
  };
  return &plugin;
}
