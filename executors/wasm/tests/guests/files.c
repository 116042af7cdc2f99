// Reads an input, writes an output, and ends with a code of its own.
// Built with: clang --target=wasm32-wasi -Os -s files.c -o files.wasm
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    FILE *in = fopen("/in/n.txt", "r");
    int n = 0;
    if (in == NULL || fscanf(in, "%d", &n) != 1) return 10;
    if (fopen("/in/n.txt", "w") != NULL) return 11;
    if (fopen("/etc/passwd", "r") != NULL || fopen("/in/../../etc/passwd", "r") != NULL) return 12;

    FILE *out = fopen("/out/twice", "w");
    if (out == NULL) return 13;
    fprintf(out, "%d\n", 2 * n);
    fclose(out);

    FILE *note = fopen("note.txt", "w");
    if (note == NULL) return 14;
    fputs("in the work directory", note);
    fclose(note);

    printf("%s %d %s %s\n", argv[0], argc, argc > 1 ? argv[1] : "-", getenv("COLOUR"));
    return 3;
}
