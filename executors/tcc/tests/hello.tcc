#include <polyloom.h>
#include <stdio.h>

int main(void) {
  printf("hello %s\n", pl_in_str("name"));
  pl_out_int("y", pl_in_int("x") * 2 + 2);
  return 0;
}
