/* polyloom.h: how a cell written in C or C++ reads its inputs and writes its outputs.
 *
 * It knows the directories a cell sees ($IN, $OUT) and the forms in which values lie there. It does not know the
 * host, the flow, or the declared types: the host checks every output against its declaration.
 *
 *     #include <polyloom.h>                             C99 or later
 *     int main(void) {
 *       pl_span_f64 t = pl_in_f64("temps");
 *       double sum = 0;
 *       for (int64_t i = 0; i < t.size; i++) sum += t.data[i];
 *       pl_out_float("mean", sum / t.size);
 *       return 0;
 *     }
 *
 *     #include <polyloom.h>                             C++11 or later
 *     int main() {
 *       auto t = polyloom::in<polyloom::span<const double>>("temps");
 *       double sum = 0;
 *       for (double x : t) sum += x;
 *       polyloom::out("mean", sum / t.size());
 *     }
 *
 * Reading.   Big data is mapped, never copied: the memory of a tensor or of a column is the file of the input.
 * Writing.   A tensor or a table is born in its output file: pl_out_tensor_* gives the memory, fill it.
 * Memory.    Everything a function returns lives until the process ends. Nothing is to be freed.
 * Errors.    A wrong type, a missing input, a damaged file or a full disk prints one line `polyloom: ...` that says what
 *            was found and what would be valid, and ends the cell with exit code 70. No function returns an error.
 * Names.     A port name is [a-z][a-z0-9_]{0,63}.
 * Threads.   Reading different ports in different threads is fine once each has been opened; opening is not locked.
 *
 *     polyloom/base.h       failure, memory, files
 *     polyloom/scalars.h    int, float, bool, str, bytes, null
 *     polyloom/value_in.h   list, map, record, any: reading        polyloom/value_out.h   building
 *     polyloom/files.h      file, image, dir
 *     polyloom/say.h        log, progress, display, artifact
 *     polyloom/seed.h       the seed of a cell, derived
 *     polyloom/tensor.h     tensor<dtype,[shape]>
 *     polyloom/table_in.h   table: opening, batches                polyloom/column.h      its values
 *     polyloom/table_out.h  table: writing                         polyloom/arrow.h, schema.h   the format
 *     polyloom/cpp.h        namespace polyloom (C++ only)          polyloom/cpp_types.h   which type is what
 */
#ifndef POLYLOOM_H
#define POLYLOOM_H

#include "polyloom/column.h"
#include "polyloom/files.h"
#include "polyloom/say.h"
#include "polyloom/scalars.h"
#include "polyloom/seed.h"
#include "polyloom/table_in.h"
#include "polyloom/table_out.h"
#include "polyloom/tensor.h"
#ifdef __cplusplus
#include "polyloom/cpp.h"
#endif

#endif
