/* fuzz.c: damages an input in many ways and reads each: the reader must print it or end with PL_EXIT_CODE and a message.
 *     fuzz FILE ROUNDS        the input's name is that of the file; $IN is an empty folder */
#include <sys/wait.h>

#include "dump.h"

static unsigned char *data; /* not on the stack: the children's leak check must see it */
static uint64_t seed = 0x9e3779b97f4a7c15u;

static uint64_t next_random(void) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return seed;
}

/* Cuts, flips, overwrites with extremes, or copies a piece over another. */
static size_t damage(size_t size) {
  static const unsigned char extremes[] = {0, 1, 4, 0x7f, 0x80, 0xdf, 0xfe, 0xff};
  size_t hits = 1 + next_random() % 4, at;
  if (size == 0) return 0;
  if (next_random() % 8 == 0) return next_random() % size;
  for (; hits > 0; hits--) {
    at = next_random() % size;
    switch (next_random() % 3) {
      case 0:
        data[at] = (unsigned char)(data[at] ^ (1u << next_random() % 8));
        break;
      case 1:
        memset(data + at, extremes[next_random() % sizeof extremes], size - at < 4 ? size - at : 4);
        break;
      default:
        memmove(data + at, data + next_random() % (size - (size - at < 8 ? size - at : 8) + 1),
                size - at < 8 ? size - at : 8);
    }
  }
  return size;
}

int main(int argc, char **argv) {
  pl_bytes original = pl_map_file(argv[1], "fuzz");
  const char *name = strrchr(argv[1], '/') + 1;
  char port[65], text[256];
  int rounds = argc > 2 ? atoi(argv[2]) : 100, round, status, failed = 0;
  data = (unsigned char *)malloc(original.size + 8);
  snprintf(port, sizeof port, "%.*s", (int)strcspn(name, "."), name);
  for (round = 0; round < rounds; round++) {
    int said[2], input = pl_create(pl_join(pl_in_dir(), "", name, ""), port);
    ssize_t length;
    pid_t child;
    memcpy(data, original.data, original.size);
    pl_write_all(input, data, damage(original.size), port);
    close(input);
    if (pipe(said) != 0) return 2;
    child = fork();
    if (child == 0) {
      dup2(said[1], 2);
      close(said[0]);
      if (!freopen("/dev/null", "w", stdout)) _exit(3);
      dump(port);
      exit(0);
    }
    close(said[1]);
    length = read(said[0], text, sizeof text - 1);
    text[length > 0 ? length : 0] = 0;
    waitpid(child, &status, 0);
    close(said[0]);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
    if (WIFEXITED(status) && WEXITSTATUS(status) == PL_EXIT_CODE && strncmp(text, "polyloom: ", 10) == 0 && ++failed)
      continue;
    fprintf(stderr, "%s: round %d: status %x: %s\n", name, round, (unsigned)status, text);
    return 1;
  }
  printf("%s: %d of %d refused\n", name, failed, rounds);
  free(data);
  return 0;
}
