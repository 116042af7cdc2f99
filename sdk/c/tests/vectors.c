/* vectors.c: reads each tensor named on the command line and writes it again under the same name. */
#include <polyloom.h>

int main(int argc, char **argv) {
  int i;
  for (i = 1; i < argc; i++) {
    pl_tensor t = pl_in_tensor(argv[i]);
    void *out = pl_out_tensor(argv[i], t.dtype, t.shape, t.ndim);
    if (t.size > 0) memcpy(out, t.data, (size_t)t.size * pl_dtype_size(t.dtype));
    printf("%s\n", pl_dtype_name(t.dtype));
  }
  return 0;
}
