/* seeds.c: prints the seed of each pair FLOW CELL on the command line. */
#include <polyloom.h>

int main(int argc, char **argv) {
  int i;
  for (i = 1; i + 1 < argc; i += 2) printf("%lld\n", (long long)pl_cell_seed(strtoll(argv[i], NULL, 10), argv[i + 1]));
  return 0;
}
