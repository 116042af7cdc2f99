/* base.h: failure, memory that lives as long as the process, and the two directories of a cell.
 * It does not know what the files in them mean.
 */
#ifndef POLYLOOM_BASE_H
#define POLYLOOM_BASE_H

#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE 1 /* -std=c99 hides POSIX otherwise */
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#ifdef O_CLOEXEC
#define PL_CLOEXEC O_CLOEXEC
#else
#define PL_CLOEXEC 0 /* a strict standard mode, and a system header was included before this one */
#endif

#if defined(__GNUC__)
/* `static`, not `inline`: at -O1 the unused ones cost nothing and the used ones stay out of line. */
#define PL_API static __attribute__((__unused__))
#define PL_PRINTF(text, first) __attribute__((__format__(__printf__, text, first)))
#define PL_NORETURN __attribute__((__noreturn__))
#else
#define PL_API static inline
#define PL_PRINTF(text, first)
#define PL_NORETURN
#endif

/* The exit code of a cell that used its ports wrongly (EX_SOFTWARE of sysexits.h). */
#define PL_EXIT_CODE 70

/* A run of bytes that belongs to someone else: an input file, or memory of this library. */
typedef struct pl_bytes {
  const unsigned char *data;
  size_t size;
} pl_bytes;

/* UTF-8 text of `size` bytes, not terminated by NUL. */
typedef struct pl_text {
  const char *data;
  size_t size;
} pl_text;

/* ---- failure ------------------------------------------------------------------------------------------------- */

/* Ends the cell: prints `polyloom: <text>` to stderr and exits with PL_EXIT_CODE. */
PL_API PL_NORETURN PL_PRINTF(1, 2) void pl_fail(const char *format, ...) {
  va_list args;
  va_start(args, format);
  fflush(stdout);
  fputs("polyloom: ", stderr);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  exit(PL_EXIT_CODE);
}

/* ---- memory --------------------------------------------------------------------------------------------------- */

typedef struct pl_block {
  struct pl_block *next;
  uint64_t align_; /* the memory behind the block is aligned as malloc's */
} pl_block;

/* Keeps every block reachable, so that leak checkers see that living until exit is meant. */
static pl_block *pl_blocks_;

/* Zeroed memory that lives until the process ends; fails instead of returning NULL. */
PL_API void *pl_alloc(size_t size) {
  pl_block *block = NULL;
  if (size <= SIZE_MAX - sizeof(pl_block)) block = (pl_block *)calloc(1, sizeof(pl_block) + size);
  if (!block) pl_fail("out of memory: %lu bytes asked for", (unsigned long)size);
  block->next = pl_blocks_;
  pl_blocks_ = block;
  return block + 1;
}

/* A NUL-terminated copy of `size` bytes. */
PL_API char *pl_copy_text(const void *data, size_t size) {
  char *copy = (char *)pl_alloc(size + 1);
  if (size) memcpy(copy, data, size);
  return copy;
}

/* A growing buffer; `data` moves when it grows. */
typedef struct pl_buffer {
  unsigned char *data;
  size_t size, capacity;
} pl_buffer;

PL_API void pl_buffer_add(pl_buffer *buffer, const void *data, size_t size) {
  if (size > buffer->capacity - buffer->size) {
    size_t capacity = buffer->capacity ? buffer->capacity : 256;
    unsigned char *moved;
    while (capacity - buffer->size < size) {
      if (capacity > SIZE_MAX / 2) pl_fail("out of memory");
      capacity *= 2;
    }
    moved = (unsigned char *)realloc(buffer->data, capacity);
    if (!moved) pl_fail("out of memory: %lu bytes asked for", (unsigned long)capacity);
    buffer->data = moved;
    buffer->capacity = capacity;
  }
  if (size) memcpy(buffer->data + buffer->size, data, size);
  buffer->size += size;
}

/* ---- names and places ----------------------------------------------------------------------------------------- */

PL_API const char *pl_in_dir(void) {
  const char *dir = getenv("IN");
  return dir && *dir ? dir : "/cell/in";
}

PL_API const char *pl_out_dir_root(void) {
  const char *dir = getenv("OUT");
  return dir && *dir ? dir : "/cell/out";
}

PL_API void pl_check_port(const char *port) {
  size_t n = 0;
  if (port && port[0] >= 'a' && port[0] <= 'z')
    for (n = 1; (port[n] >= 'a' && port[n] <= 'z') || (port[n] >= '0' && port[n] <= '9') || port[n] == '_'; n++) {
    }
  if (n == 0 || n > 64 || port[n] != 0)
    pl_fail("`%s` is not a port name; a port name is [a-z][a-z0-9_]{0,63}", port ? port : "(null)");
}

/* `dir/.port.ext` (hidden: the host ignores it) or `dir/port.ext`; an empty `ext` leaves the dot out. */
PL_API char *pl_join(const char *dir, const char *hidden, const char *port, const char *ext) {
  size_t size = strlen(dir) + strlen(port) + strlen(ext) + 4;
  char *path = (char *)pl_alloc(size);
  snprintf(path, size, "%s/%s%s%s%s", dir, hidden, port, *ext ? "." : "", ext);
  return path;
}

PL_API int pl_exists(const char *path) {
  struct stat st;
  return stat(path, &st) == 0;
}

/* Whether `file` belongs to the port: it is called PORT or PORT.<anything>; port names have no dot. */
PL_API int pl_is_entry_of(const char *file, const char *port) {
  size_t n = strlen(port);
  return strncmp(file, port, n) == 0 && (file[n] == 0 || file[n] == '.');
}

PL_API int pl_compare_names(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* The names of the inputs there are, for messages: "a, b, c" or "none". */
PL_API const char *pl_input_names(void) {
  char *names[256];
  size_t count = 0, i;
  pl_buffer text = {NULL, 0, 0};
  DIR *dir = opendir(pl_in_dir());
  struct dirent *entry;
  while (dir && count < 256 && (entry = readdir(dir)))
    if (entry->d_name[0] != '.') names[count++] = pl_copy_text(entry->d_name, strcspn(entry->d_name, "."));
  if (dir) closedir(dir);
  qsort(names, count, sizeof names[0], pl_compare_names);
  for (i = 0; i < count; i++) {
    if (i > 0 && strcmp(names[i], names[i - 1]) == 0) continue; /* a value has its .msgpack and its .txt */
    if (i > 0) pl_buffer_add(&text, ", ", 2);
    pl_buffer_add(&text, names[i], strlen(names[i]));
  }
  pl_buffer_add(&text, count ? "" : "none", count ? 1 : 5);
  return (const char *)text.data;
}

/* The path of the encoded file of an input, or NULL. A value's file is its .msgpack, not its text beside it. */
PL_API const char *pl_find_input(const char *port) {
  static const char *const exts[] = {"msgpack", "npy", "arrow"};
  char *path;
  size_t i;
  DIR *dir;
  struct dirent *entry;
  pl_check_port(port);
  for (i = 0; i < 3; i++) {
    path = pl_join(pl_in_dir(), "", port, exts[i]);
    if (pl_exists(path)) return path;
  }
  path = NULL;
  dir = opendir(pl_in_dir());
  while (dir && !path && (entry = readdir(dir)))
    if (pl_is_entry_of(entry->d_name, port)) path = pl_join(pl_in_dir(), "", entry->d_name, "");
  if (dir) closedir(dir);
  return path;
}

/* What an input's file says about its type, for messages. */
PL_API const char *pl_file_kind(const char *path) {
  const char *name = strrchr(path, '/');
  const char *dot = strrchr(name ? name : path, '.');
  struct stat st;
  if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return "dir; read it with pl_in_path";
  if (dot && strcmp(dot, ".msgpack") == 0)
    return "value; read it with pl_in_int, pl_in_float, pl_in_str, ... or pl_in_value";
  if (dot && strcmp(dot, ".npy") == 0) return "tensor; read it with pl_in_tensor or pl_in_f64, ...";
  if (dot && strcmp(dot, ".arrow") == 0) return "table; read it with pl_in_table";
  return "file; read it with pl_in_path or pl_in_map";
}

/* The path of an input that must be stored with the extension `ext`; `wanted` names the type for the message. */
PL_API const char *pl_need_input(const char *port, const char *ext, const char *wanted) {
  const char *path;
  pl_check_port(port);
  path = pl_join(pl_in_dir(), "", port, ext);
  if (pl_exists(path)) return path;
  path = pl_find_input(port);
  if (!path) pl_fail("there is no input `%s`; the inputs are: %s", port, pl_input_names());
  pl_fail("input `%s`: expected %s, found a %s", port, wanted, pl_file_kind(path));
}

/* ---- files ---------------------------------------------------------------------------------------------------- */

/* Maps a regular file for reading. The inputs of a cell never change, so the map is the data. */
PL_API pl_bytes pl_map_file(const char *path, const char *port) {
  static const unsigned char nothing[1] = {0};
  pl_bytes bytes = {nothing, 0};
  struct stat st;
  void *map;
  int fd = open(path, O_RDONLY | PL_CLOEXEC);
  if (fd < 0 || fstat(fd, &st) != 0) pl_fail("input `%s`: cannot open %s: %s", port, path, strerror(errno));
  if (!S_ISREG(st.st_mode)) pl_fail("input `%s`: expected a file, found a %s", port, pl_file_kind(path));
  if (st.st_size > 0) {
    map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED) pl_fail("input `%s`: cannot map %s: %s", port, path, strerror(errno));
    bytes.data = (const unsigned char *)map;
    bytes.size = (size_t)st.st_size;
  }
  close(fd);
  return bytes;
}

PL_API void pl_write_all(int fd, const void *data, size_t size, const char *port) {
  const char *p = (const char *)data;
  while (size > 0) {
    ssize_t n = write(fd, p, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) pl_fail("output `%s`: cannot write: %s", port, strerror(errno));
    p += n;
    size -= (size_t)n;
  }
}

PL_API int pl_create(const char *path, const char *port) {
  int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | PL_CLOEXEC, 0644);
  if (fd < 0) pl_fail("output `%s`: cannot create %s: %s", port, path, strerror(errno));
  return fd;
}

/* Makes a hidden file visible to the host under its final name. */
PL_API void pl_publish(const char *from, const char *to, const char *port) {
  if (rename(from, to) != 0) pl_fail("output `%s`: cannot rename to %s: %s", port, to, strerror(errno));
}

/* Writes a whole output; it appears under its name only when it is complete. */
PL_API void pl_save(const char *port, const char *ext, const void *data, size_t size) {
  const char *hidden, *path;
  int fd;
  pl_check_port(port);
  hidden = pl_join(pl_out_dir_root(), ".", port, ext);
  path = pl_join(pl_out_dir_root(), "", port, ext);
  fd = pl_create(hidden, port);
  pl_write_all(fd, data, size, port);
  if (close(fd) != 0) pl_fail("output `%s`: cannot write: %s", port, strerror(errno));
  pl_publish(hidden, path, port);
}

/* What is reserved at once is what a page of tmpfs can be as large as (Linux 6.14), and a page is what a fault fills. Not
 * 2 MiB: pages of that size are what virtual machines give back to their host, and having one again is slow. */
#define PL_RESERVED_AT_ONCE ((size_t)256 << 10)

#ifdef O_CLOEXEC
/* Gives the pages of a new file; an error number. Its size comes first: before Linux 6.14, large pages are had only
 * within it. */
PL_API int pl_reserve(int fd, size_t size) {
  size_t at = 0;
  int error = ftruncate(fd, (off_t)size) == 0 ? 0 : errno;
  while (at < size && !error) {
    size_t part = size - at < PL_RESERVED_AT_ONCE ? size - at : PL_RESERVED_AT_ONCE;
    error = posix_fallocate(fd, (off_t)at, (off_t)part);
    if (error == EINTR) {
      error = 0;
    } else {
      at += part;
    }
  }
  return error;
}
#endif

/* Gives `fd` its size and maps it writable. The pages are allocated here: on a sparse file a full disk would be a SIGBUS far
 * from here, and on tmpfs it is also several times faster than faulting them in one by one. */
PL_API unsigned char *pl_map_output(int fd, size_t size, const char *port) {
  struct statvfs fs;
  void *map;
  int error = 0;
  if (fstatvfs(fd, &fs) == 0 && fs.f_blocks > 0 && size / fs.f_frsize >= fs.f_bavail + 1)
    pl_fail("output `%s`: needs %lu bytes, the cell's disk has %lu free; raise `disk` of the cell", port,
            (unsigned long)size, (unsigned long)(fs.f_bavail * fs.f_frsize));
#ifdef O_CLOEXEC
  error = pl_reserve(fd, size);
#else
  if (lseek(fd, (off_t)(size - 1), SEEK_SET) < 0) error = errno;
  pl_write_all(fd, "", 1, port);
#endif
  if (error) pl_fail("output `%s`: cannot allocate %lu bytes: %s", port, (unsigned long)size, strerror(error));
  map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED) pl_fail("output `%s`: cannot map %lu bytes: %s", port, (unsigned long)size, strerror(errno));
  return (unsigned char *)map;
}

#endif
