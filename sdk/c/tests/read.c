/* read.c: prints the inputs named on the command line. */
#include "dump.h"

int main(int argc, char **argv) {
  int i;
  for (i = 1; i < argc; i++) dump(argv[i]);
  return 0;
}
