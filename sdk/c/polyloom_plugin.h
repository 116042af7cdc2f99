/* polyloom_plugin.h: how an executor (a language for polyloom's cells) is written as a shared library. C99 or later, C++11 or later.
 *
 * A library exports one function, and polyloom loads it into a sandboxed process of its own, never into the host:
 *
 *     #include <polyloom_plugin.h>
 *
 *     static int run(void *self, plx_exec *x) {
 *       (void)self;
 *       printf("the code is in %s\n", x->code);
 *       return plx_write_text(x, "y", "42", 2);
 *     }
 *     PLX_EXPORT const plx_plugin *polyloom_plugin_v1(void) {
 *       static const plx_plugin plugin = {PLX_PLUGIN_SIZE, "mine", "1", "mine 1.0", "cancel.soft", NULL, run, NULL, NULL, NULL, NULL, NULL};
 *       return &plugin;
 *     }
 *
 *     cc -shared -fPIC -o libmine.so mine.c             and in executor.toml:  kind = "native"
 *                                                                              [native]
 *                                                                              library = "libmine.so"
 *
 * Process.   The functions are called one at a time, in one thread. The library is loaded once and never unloaded. Standard
 *            output and standard error are the cell's: print what the cell prints; stdio is flushed after each cell.
 * Files.     An output is a file of the folder `out`: text, `.npy`, Arrow, a picture, by its declared type, as for any program
 *            (executors/README.md). An input of type tensor or table is a file to be mapped; see `plx_input`.
 * Text.      UTF-8. `const char *` ends with NUL; where there is a length, NUL may be inside.
 * Lifetime.  What an exec points to lives until `exec` returns. What `plx_text` gave lives as long.
 * Failure.   `exec` returns 0 for a cell that ended well. Otherwise it failed, and should have said why with `plx_fail`.
 *            No C++ exception and no longjmp may leave a function that polyloom calls: the process is ended then.
 * Versions.  What begins with `size` may grow at its end, within version 1; look at `size` before using what is newer than
 *            the header you compile with. Anything else that changes is `polyloom_plugin_v2`.
 */
#ifndef POLYLOOM_PLUGIN_H
#define POLYLOOM_PLUGIN_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#ifdef __cplusplus
#define PLX_EXPORT extern "C" __attribute__((visibility("default")))
extern "C" {
#else
#define PLX_EXPORT __attribute__((visibility("default")))
#endif

/* An input of the cell. */
typedef struct plx_input {
  const char *port;
  const char *type;     /* as in the flow: "int", "list<str>", "tensor<f64,[3]>" */
  const char *path;     /* its file, or its folder */
  const char *encoding; /* "msgpack" (a value), "npy" (a tensor), "arrow" (a table), "raw" (a file), "dir" (a folder) */
  const char *media;    /* its media type, or NULL */
} plx_input;

/* An output that the cell declares. */
typedef struct plx_output {
  const char *port;
  const char *type;
} plx_output;

/* How much a line of the log matters. */
enum { PLX_DEBUG = 0, PLX_INFO = 1, PLX_WARN = 2, PLX_ERROR = 3 };

/* The run of one cell. */
typedef struct plx_exec plx_exec;

/* What the host does for a plugin. Use the functions below. */
typedef struct plx_host {
  size_t size; /* of this struct, in the host */
  void (*log)(plx_exec *x, int32_t level, const char *text, size_t length);
  void (*progress)(plx_exec *x, double fraction, const char *text);
  int32_t (*display)(plx_exec *x, const char *media, const void *data, size_t length);
  int32_t (*artifact)(plx_exec *x, const char *name, const char *path, const char *media);
  void (*fail)(plx_exec *x, uint32_t line, uint32_t column, const char *message);
  void (*warn)(plx_exec *x, uint32_t line, uint32_t column, const char *message);
  int32_t (*cancelled)(plx_exec *x);
  const char *(*text)(plx_exec *x, const char *port, size_t *length);
  int32_t (*write)(plx_exec *x, const char *name, const void *data, size_t length);
  int32_t (*run)(plx_exec *x, const char *const *argv);
  int32_t (*compile_and_run)(plx_exec *x, const char *const *compiler, const char *const *program);
  void (*session_changed)(plx_exec *x);
} plx_host;

struct plx_exec {
  size_t size;      /* of this struct, in the host */
  const char *cell; /* the cell's id */
  const char *code; /* path of its code */
  const char *out;  /* path of the folder for outputs */
  const char *const *argv; /* the cell's arguments, NULL at the end */
  size_t argc;
  const plx_input *inputs;
  size_t inputs_length;
  const plx_output *outputs;
  size_t outputs_length;
  uint64_t deadline_ms; /* time until the host stops the cell, or 0 */
  int64_t seed;         /* for random numbers, where has_seed is not 0 */
  int32_t has_seed;
  const plx_host *host;
  void *context; /* the host's */
};

/* An executor. */
typedef struct plx_plugin {
  size_t size;          /* PLX_PLUGIN_SIZE */
  const char *id;       /* as in its manifest */
  const char *version;  /* its own */
  const char *runtime;  /* the language and its version, or NULL */
  const char *features; /* of cancel.soft, display, progress, session, snapshot, catalog, with blanks between, as in its manifest; or NULL */
  void *(*open)(void);  /* gives `self`; NULL if there is nothing to be opened */
  int (*exec)(void *self, plx_exec *x); /* runs a cell */
  void (*reset)(void *self);            /* forgets what cells left, with the feature "session"; or NULL */
  void (*snapshot)(void *self, const char *name); /* keeps it under a name, with the feature "snapshot"; or NULL */
  void (*restore)(void *self, const char *name);  /* goes back to what was kept; or NULL */
  void (*close)(void *self);            /* before the process ends well; or NULL */
  /* What it offers by name, with the feature "catalog": JSON, an array of objects whose keys are the plugin's own, such as
   * [{"name": "say", "takes": "str"}]. At most 1 MiB of text, 30 arrays and objects within an entry, itself included, 65,536 values in all. It
   * lives until the next call. Anything else, NULL as well, ends the process, which says why. Or NULL, which is no entry.
   * What is compiled with a header before it was here is loaded, too, and has no entry. */
  const char *(*catalog)(void *self);
} plx_plugin;

#define PLX_PLUGIN_SIZE sizeof(plx_plugin)

/* What a library exports. It is called once; what it returns lives as long as the process. NULL: it can't be used here. */
typedef const plx_plugin *(*plx_entry)(void);
PLX_EXPORT const plx_plugin *polyloom_plugin_v1(void);

#if defined(__GNUC__)
#define PLX_API static __attribute__((__unused__))
#else
#define PLX_API static inline
#endif

/* Says a line for the log. May wait until the host has taken in earlier ones. */
PLX_API void plx_log(plx_exec *x, int32_t level, const char *text) { x->host->log(x, level, text, strlen(text)); }

/* Says how far the cell is: between 0 and 1, or a negative number where that is not known. */
PLX_API void plx_progress(plx_exec *x, double fraction, const char *text) { x->host->progress(x, fraction, text); }

/* Shows something while the cell runs: "text/plain", "text/html", "image/png", ... Fails beyond 48 KiB. 0 or -1. */
PLX_API int plx_display(plx_exec *x, const char *media, const void *data, size_t length) {
  return x->host->display(x, media, data, length);
}

/* Keeps a file of the folder `out` as a result beyond the declared outputs; `path` is relative to it, `media` may be NULL. 0 or -1. */
PLX_API int plx_artifact(plx_exec *x, const char *name, const char *path, const char *media) {
  return x->host->artifact(x, name, path, media);
}

/* Says why the cell failed, at a place of its code from 1, or 0 where there is none. To be returned: `return plx_fail(…)`. */
PLX_API int plx_fail(plx_exec *x, uint32_t line, uint32_t column, const char *message) {
  x->host->fail(x, line, column, message);
  return 1;
}

/* Says what is probably wrong at a place of the code. */
PLX_API void plx_warn(plx_exec *x, uint32_t line, uint32_t column, const char *message) { x->host->warn(x, line, column, message); }

/* Whether the cell is to stop. Ask between pieces of work, and offer "cancel.soft" when you do. */
PLX_API int plx_cancelled(plx_exec *x) { return x->host->cancelled(x); }

/* The input as a program would find it in `$PORT`: the text of a number, a bool, a str; JSON of a list or a map; the bytes of
 * bytes; the path of any other. NUL follows. NULL when the cell has no such input. */
PLX_API const char *plx_text(plx_exec *x, const char *port, size_t *length) {
  size_t ignored;
  return x->host->text(x, port, length ? length : &ignored);
}

/* Writes a file of the folder `out`, whole or not at all; `name` is PORT or PORT.EXTENSION. 0 or -1. */
PLX_API int plx_write(plx_exec *x, const char *name, const void *data, size_t length) {
  return x->host->write(x, name, data, length);
}

/* Writes the output `port` as text, or JSON, by its declared type. 0 or -1. */
PLX_API int plx_write_text(plx_exec *x, const char *port, const char *text, size_t length) {
  return x->host->write(x, port, text, length);
}

/* Runs a program (argv ends with NULL) as a part of the cell; its output is the cell's. Its exit code, 128 and the signal's
 * number, or -1 when it can't be started or the cell is to stop: then what `plx_fail` would say is said already. */
PLX_API int plx_run(plx_exec *x, const char *const *argv) { return x->host->run(x, argv); }

/* Runs a compiler, reports what it says as FILE:LINE:COLUMN as diagnostics, and runs the program if it ended well.
 * 0 or -1, and then why is said already: `return plx_compile_and_run(…)`. */
PLX_API int plx_compile_and_run(plx_exec *x, const char *const *compiler, const char *const *program) {
  return x->host->compile_and_run(x, compiler, program);
}

/* Says that the cell changed what later cells of its session find, with the feature "session". */
PLX_API void plx_session_changed(plx_exec *x) { x->host->session_changed(x); }

#ifdef __cplusplus
}
#endif
#endif
