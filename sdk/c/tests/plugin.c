/* A small host for libraries behind polyloom_plugin.h: loads one, gives it cells and prints what it asks for. Knows no language.
 *   plugin LIBRARY FOLDER        the cells below, and every function of the header
 *   plugin LIBRARY FOLDER N      N cells of random words
 */
#include <polyloom_plugin.h>

#include <dlfcn.h>
#include <stdlib.h>

static int quiet, failed, asked, cancel_after;
/* What `text` gave: it lives until the exec ends. */
static char *given[64];
static size_t given_length;

/* A copy that ends where its memory does, so that reading beyond it is found. */
static char *copy(const char *data, size_t length) {
  char *text = (char *)malloc(length + 1);
  if (!text) exit(3);
  if (length) memcpy(text, data, length);
  text[length] = '\0';
  return text;
}

static void print(const char *what, const char *data, size_t length) {
  size_t i;
  if (quiet) return;
  printf("  %s", what);
  for (i = 0; i < length; i++) {
    unsigned char c = (unsigned char)data[i];
    if (c < ' ' || c == 127) printf("\\x%02x", c);
    else putchar(c);
  }
  putchar('\n');
}

static void host_log(plx_exec *x, int32_t level, const char *text, size_t length) {
  (void)x;
  if (!quiet) printf("  level %d\n", (int)level);
  print("log ", text, length);
}

static void host_progress(plx_exec *x, double fraction, const char *text) {
  (void)x;
  if (!quiet) printf("  progress %g %s\n", fraction, text);
}

static int32_t host_display(plx_exec *x, const char *media, const void *data, size_t length) {
  (void)x;
  print("display ", media, strlen(media));
  print("      of ", (const char *)data, length);
  return 0;
}

static int32_t host_artifact(plx_exec *x, const char *name, const char *path, const char *media) {
  (void)x;
  if (!quiet) printf("  artifact %s %s %s\n", name, path, media ? media : "-");
  return 0;
}

static void host_fail(plx_exec *x, uint32_t line, uint32_t column, const char *message) {
  (void)x;
  failed = 1;
  if (!quiet) printf("  at %u:%u\n", (unsigned)line, (unsigned)column);
  print("fail ", message, strlen(message));
}

static void host_warn(plx_exec *x, uint32_t line, uint32_t column, const char *message) {
  (void)x;
  if (!quiet) printf("  warn %u:%u %s\n", (unsigned)line, (unsigned)column, message);
}

static int32_t host_cancelled(plx_exec *x) {
  (void)x;
  return ++asked > cancel_after;
}

static const char *host_text(plx_exec *x, const char *port, size_t *length) {
  const char *text = strcmp(port, "n") == 0 ? "7" : strcmp(port, "raw") == 0 ? "a\0b" : NULL;
  (void)x;
  if (!text || given_length == sizeof given / sizeof *given) return NULL;
  *length = strcmp(port, "n") == 0 ? 1 : 3;
  return given[given_length++] = copy(text, *length);
}

static int32_t host_write(plx_exec *x, const char *name, const void *data, size_t length) {
  if (!*name || *name == '.' || strchr(name, '/')) {
    host_fail(x, 0, 0, "no name of an output");
    return -1;
  }
  print("write ", name, strlen(name));
  print("    of ", (const char *)data, length);
  return 0;
}

static int32_t host_run(plx_exec *x, const char *const *argv) {
  (void)x;
  for (; *argv; argv++) print("run ", *argv, strlen(*argv));
  return 5;
}

static int32_t host_compile_and_run(plx_exec *x, const char *const *compiler, const char *const *program) {
  (void)host_run(x, compiler);
  (void)host_run(x, program);
  return -1;
}

static plx_host host;

static void new_host(void) {
  host.size = sizeof host;
  host.log = host_log;
  host.progress = host_progress;
  host.display = host_display;
  host.artifact = host_artifact;
  host.fail = host_fail;
  host.warn = host_warn;
  host.cancelled = host_cancelled;
  host.text = host_text;
  host.write = host_write;
  host.run = host_run;
  host.compile_and_run = host_compile_and_run;
}

static plx_exec new_exec(const char *code) {
  static const plx_input inputs[] = {
      {"n", "int", "/cell/in/n.msgpack", "msgpack", NULL}, {"raw", "bytes", "/cell/in/raw.msgpack", "msgpack", NULL}};
  static const plx_output outputs[] = {{"y", "str"}};
  static const char *const argv[] = {"one", "two words", NULL};
  plx_exec x;
  memset(&x, 0, sizeof x);
  x.size = sizeof x;
  x.cell = "cell";
  x.code = code;
  x.out = "/cell/out";
  x.argv = argv;
  x.argc = 2;
  x.inputs = inputs;
  x.inputs_length = sizeof inputs / sizeof *inputs;
  x.outputs = outputs;
  x.outputs_length = 1;
  x.host = &host;
  failed = asked = 0;
  cancel_after = 3;
  return x;
}

/* Gives a cell to the plugin. What failed has said why. */
static void cell(const plx_plugin *plugin, void *self, const char *file, const char *code, size_t length) {
  FILE *to = fopen(file, "w");
  char *path = copy(file, strlen(file));
  plx_exec x = new_exec(path);
  int result;
  if (!to || fwrite(code, 1, length, to) != length || fclose(to) != 0) exit(3);
  if (!quiet) printf("#\n%.*s\n", (int)length, code);
  result = plugin->exec(self, &x);
  if (!quiet) printf("= %d\n", result);
  if ((result != 0) != failed) exit(4);
  while (given_length > 0) free(given[--given_length]);
  free(path);
}

static const char *const cells[] = {
    "", "say", "# nothing", "say hello\nsay grüße, 世界 🌍\r\nsay", "say $n, $n$n.", "show $raw", "put y $n", "put y.txt kept\nput z", "show <b>$n</b>",
    "say so far\nfail too much\nsay never", "\n\nsing", "say $", "say $none", "say $a_name_that_is_longer_than_any_port_may_be_called_in_a_flow_of_cells", "put ../y 1",
    "put", "wait 0", "wait 60", "wait -1", "wait soon", "wait nan", "wait", "say twice\nfail",
};

/* Every function of the header. */
static void functions(void) {
  static const char *const words[] = {"cc", "a file.c", NULL}, *const none[] = {NULL};
  plx_exec x = new_exec("code");
  size_t length = 9;
  const char *text;
  plx_log(&x, PLX_ERROR, "noted");
  plx_progress(&x, 0.5, "half");
  printf("%d\n", plx_display(&x, "text/plain", "shown", 5));
  printf("%d\n", plx_artifact(&x, "more", "more.csv", NULL));
  printf("%d\n", plx_artifact(&x, "more", "more.csv", "text/csv"));
  plx_warn(&x, 1, 2, "rather not");
  printf("%d\n", plx_fail(&x, 3, 4, "no"));
  while (!plx_cancelled(&x)) puts("not yet");
  text = plx_text(&x, "raw", &length);
  print("raw ", text, length);
  printf("%s\n", plx_text(&x, "n", NULL));
  printf("%d\n", plx_text(&x, "none", &length) == NULL);
  printf("%d\n", plx_write(&x, "y.bin", "\0\1", 2));
  printf("%d\n", plx_write_text(&x, "y", "", 0));
  printf("%d\n", plx_run(&x, words));
  printf("%d\n", plx_compile_and_run(&x, words, none));
  while (given_length > 0) free(given[--given_length]);
}

static unsigned long state = 1;

static size_t chance(size_t below) {
  state = state * 1103515245u + 12345u;
  return (size_t)(state >> 16) % below;
}

int main(int argc, char **argv) {
  static const char *const words[] = {"say ", "put ", "show ", "fail ", "wait 0", "wait ", "# ", "$n", "$raw", "$none", "$", "y", ".", "/", " ", "\n", "\r\n", "é"};
  void *library = argc > 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL, *symbol, *self;
  const plx_plugin *plugin;
  plx_entry entry;
  char file[4096];
  size_t i, rounds = argc > 3 ? (size_t)strtoul(argv[3], NULL, 10) : 0;
  if (!library) return fprintf(stderr, "%s\n", argc > 2 ? dlerror() : "usage: plugin LIBRARY FOLDER [N]"), 2;
  symbol = dlsym(library, "polyloom_plugin_v1");
  if (!symbol) return fprintf(stderr, "%s\n", dlerror()), 2;
  /* ISO C has no conversion between the two kinds of pointer; POSIX says that they are the same bytes. */
  memcpy(&entry, &symbol, sizeof entry);
  plugin = entry();
  if (!plugin || plugin->size != PLX_PLUGIN_SIZE || !plugin->exec) return 2;
  new_host();
  self = plugin->open ? plugin->open() : NULL;
  snprintf(file, sizeof file, "%s/cell.code", argv[2]);
  if (rounds == 0) {
    printf("%s %s %s %s\n", plugin->id, plugin->version, plugin->runtime, plugin->features);
    for (i = 0; i < sizeof cells / sizeof *cells; i++) cell(plugin, self, file, cells[i], strlen(cells[i]));
    printf("%s\n", plugin->catalog ? plugin->catalog(self) : "no catalog");
    puts("# every function");
    functions();
  }
  for (quiet = rounds > 0; rounds > 0; rounds--) {
    char code[1024];
    size_t length = 0, pieces = chance(40);
    for (i = 0; i < pieces; i++) {
      const char *word = words[chance(sizeof words / sizeof *words)];
      if (chance(8) == 0) code[length++] = (char)chance(256);
      memcpy(code + length, word, strlen(word));
      length += strlen(word);
    }
    cell(plugin, self, file, code, length);
  }
  if (plugin->reset) plugin->reset(self);
  if (plugin->close) plugin->close(self);
  return 0;
}
