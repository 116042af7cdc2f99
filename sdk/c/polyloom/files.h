/* files.h: ports that are whole files or directories: file, image, dir. It does not look into them.
 */
#ifndef POLYLOOM_FILES_H
#define POLYLOOM_FILES_H

#include "base.h"

/* ---- inputs --------------------------------------------------------------------------------------------------- */

/* The path of an input: of the file of a file or image, of the directory of a dir, of the encoded form of the rest. */
PL_API const char *pl_in_path(const char *port) {
  const char *path = pl_find_input(port);
  if (!path) pl_fail("there is no input `%s`; the inputs are: %s", port, pl_input_names());
  return path;
}

/* The content of a file or image, mapped. */
PL_API pl_bytes pl_in_map(const char *port) { return pl_map_file(pl_in_path(port), port); }

/* ---- outputs -------------------------------------------------------------------------------------------------- */

/* The path at which to create the file or image `port`; `ext` without dot, "" for none. Write it, close it, done. */
PL_API const char *pl_out_file(const char *port, const char *ext) {
  pl_check_port(port);
  if (ext[0] == '.') ext++;
  if (strchr(ext, '/')) pl_fail("output `%s`: `%s` is not a file extension", port, ext);
  return pl_join(pl_out_dir_root(), "", port, ext);
}

/* Writes a file or image from memory. */
PL_API void pl_out_data(const char *port, const char *ext, const void *data, size_t size) {
  pl_out_file(port, ext);
  pl_save(port, ext[0] == '.' ? ext + 1 : ext, data, size);
}

/* Makes the directory of a dir output and gives its path. */
PL_API const char *pl_out_dir(const char *port) {
  const char *path = pl_out_file(port, "");
  if (mkdir(path, 0755) != 0 && errno != EEXIST)
    pl_fail("output `%s`: cannot make %s: %s", port, path, strerror(errno));
  return path;
}

PL_API void pl_copy_file(const char *from, const char *to, const char *port) {
  static const size_t chunk = 1 << 18;
  char *buffer = (char *)malloc(chunk);
  int in = open(from, O_RDONLY | PL_CLOEXEC), out;
  ssize_t n;
  if (!buffer) pl_fail("out of memory");
  if (in < 0) pl_fail("output `%s`: cannot open %s: %s", port, from, strerror(errno));
  out = pl_create(to, port);
  while ((n = read(in, buffer, chunk)) != 0) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) pl_fail("output `%s`: cannot read %s: %s", port, from, strerror(errno));
    pl_write_all(out, buffer, (size_t)n, port);
  }
  free(buffer);
  close(in);
  if (close(out) != 0) pl_fail("output `%s`: cannot write: %s", port, strerror(errno));
}

PL_API void pl_copy_tree(const char *from, const char *to, const char *port, int depth) {
  struct stat st;
  DIR *dir;
  struct dirent *entry;
  if (stat(from, &st) != 0) pl_fail("output `%s`: cannot read %s: %s", port, from, strerror(errno));
  if (S_ISREG(st.st_mode)) {
    pl_copy_file(from, to, port);
    return;
  }
  if (!S_ISDIR(st.st_mode)) pl_fail("output `%s`: %s is neither a file nor a directory", port, from);
  if (depth == 0) pl_fail("output `%s`: %s is nested too deep, or a link leads back into it", port, from);
  if (mkdir(to, 0755) != 0 && errno != EEXIST) pl_fail("output `%s`: cannot make %s: %s", port, to, strerror(errno));
  dir = opendir(from);
  if (!dir) pl_fail("output `%s`: cannot read %s: %s", port, from, strerror(errno));
  while ((entry = readdir(dir)))
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      pl_copy_tree(pl_join(from, "", entry->d_name, ""), pl_join(to, "", entry->d_name, ""), port, depth - 1);
  closedir(dir);
}

/* Copies a file or a whole directory into the output; a file keeps its extension. Links are followed. */
PL_API void pl_out_copy(const char *port, const char *path) {
  const char *name = strrchr(path, '/');
  const char *ext = strchr(name ? name + 1 : path, '.');
  struct stat st;
  pl_check_port(port);
  if (stat(path, &st) != 0) pl_fail("output `%s`: cannot read %s: %s", port, path, strerror(errno));
  if (S_ISDIR(st.st_mode) || !ext || ext == (name ? name + 1 : path)) ext = "";
  pl_copy_tree(path, pl_out_file(port, ext), port, 64);
}

#endif
