/* The executor of the golden conversations: protocol/vectors/README.md has its language. executors/native/tests/golden.rs replays them. */
#define _POSIX_C_SOURCE 200809L
#include <polyloom_plugin.h>

#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#define ROOM 512

static char kept[ROOM], snapshot_name[ROOM], snapshot_of[ROOM];

static void copy(char *to, const char *from) { snprintf(to, ROOM, "%s", from); }

/* Ends a text at its first blank; what follows it. */
static char *cut(char *text) {
  char *rest = text + strcspn(text, " ");
  if (*rest) *rest++ = '\0';
  return rest;
}

static void *open_it(void) {
  *kept = *snapshot_name = *snapshot_of = '\0';
  return NULL;
}

static int log_it(plx_exec *x, const char *level, const char *text) {
  static const char *const levels[] = {"debug", "info", "warn", "error"};
  int32_t at = 0;
  while (at < PLX_ERROR && strcmp(levels[at], level) != 0) at++;
  plx_log(x, at, text);
  return 0;
}

static int artifact(plx_exec *x, const char *name, const char *text) {
  char path[2 * ROOM];
  FILE *file;
  snprintf(path, sizeof path, "%s/_artifacts", x->out);
  mkdir(path, 0777);
  snprintf(path, sizeof path, "%s/_artifacts/%s", x->out, name);
  file = fopen(path, "w");
  if (!file) return plx_fail(x, 0, 0, "no file can be written");
  fputs(text, file);
  fclose(file);
  return plx_artifact(x, name, path + strlen(x->out) + 1, NULL);
}

static int read_it(plx_exec *x, const char *port, uint32_t line) {
  char words[ROOM];
  const char *text = plx_text(x, port, NULL);
  if (text) return log_it(x, "info", text);
  snprintf(words, sizeof words, "there is no input `%.64s`", port);
  return plx_fail(x, line, 0, words);
}

static int argv(plx_exec *x) {
  char text[ROOM] = "";
  size_t at, length = 0;
  for (at = 0; at < x->argc && length < sizeof text; at++)
    length += (size_t)snprintf(text + length, sizeof text - length, "%s%s", at ? ", " : "", x->argv[at]);
  return log_it(x, "info", text);
}

static int seed(plx_exec *x) {
  char text[32] = "none";
  if (x->has_seed) snprintf(text, sizeof text, "%lld", (long long)x->seed);
  return log_it(x, "info", text);
}

static int wait_for_the_end(plx_exec *x, uint32_t line) {
  struct timespec pause = {0, 1000000};
  while (!plx_cancelled(x)) nanosleep(&pause, NULL);
  return plx_fail(x, line, 0, "stopped");
}

static int act(plx_exec *x, char *words, uint32_t line) {
  char whole[ROOM], told[ROOM], *rest = cut(words), *last;
  if (!*words) return 0;
  copy(whole, rest);
  last = cut(rest);
  if (strcmp(words, "log") == 0) return log_it(x, rest, last);
  if (strcmp(words, "progress") == 0) return plx_progress(x, *rest == '-' ? -1 : strtod(rest, NULL), last), 0;
  if (strcmp(words, "display") == 0) return plx_display(x, rest, last, strlen(last));
  if (strcmp(words, "artifact") == 0) return artifact(x, rest, last);
  if (strcmp(words, "warn") == 0) {
    char *text = cut(last);
    return plx_warn(x, (uint32_t)strtoul(rest, NULL, 10), (uint32_t)strtoul(last, NULL, 10), text), 0;
  }
  if (strcmp(words, "read") == 0) return read_it(x, whole, line);
  if (strcmp(words, "argv") == 0) return argv(x);
  if (strcmp(words, "seed") == 0) return seed(x);
  if (strcmp(words, "keep") == 0) return copy(kept, whole), plx_session_changed(x), 0;
  if (strcmp(words, "kept") == 0) return log_it(x, "info", kept);
  if (strcmp(words, "wait") == 0) return wait_for_the_end(x, line);
  if (strcmp(words, "fail") == 0) return plx_fail(x, line, 0, whole);
  snprintf(told, sizeof told, "`%.64s` is no word", words);
  return plx_fail(x, line, 0, told);
}

static int run(void *self, plx_exec *x) {
  char words[ROOM];
  uint32_t line = 0;
  int failed = 0;
  FILE *code = fopen(x->code, "r");
  (void)self;
  if (!code) return plx_fail(x, 0, 0, "the code can't be read");
  while (!failed && fgets(words, sizeof words, code)) {
    words[strcspn(words, "\n")] = '\0';
    failed = act(x, words, ++line);
  }
  fclose(code);
  return failed;
}

static void reset(void *self) {
  (void)self;
  *kept = '\0';
}

static void snapshot(void *self, const char *name) {
  (void)self;
  copy(snapshot_name, name);
  copy(snapshot_of, kept);
}

static void restore(void *self, const char *name) {
  (void)self;
  copy(kept, strcmp(name, snapshot_name) == 0 ? snapshot_of : "");
}

static const char *catalog(void *self) {
  (void)self;
  return "[{\"name\": \"keep\", \"takes\": [\"str\"], \"keeps\": true, \"most\": null, \"cost\": 0.5, \"rank\": -7}, {\"name\": \"kept\"}]";
}

PLX_EXPORT const plx_plugin *polyloom_plugin_v1(void) {
  static const plx_plugin plugin = {
      PLX_PLUGIN_SIZE, "golden", "1", "golden 1", "cancel.soft display progress session snapshot catalog", open_it, run, reset, snapshot, restore, NULL, catalog,
  };
  return &plugin;
}
