/* polyloom.h: how a cell written in C or C++ reads its inputs and writes its outputs.
 *
 * It knows the directories a cell sees ($IN, $OUT) and the forms in which values lie there. It does not know the
 * host, the flow, or the declared types: the host checks every output against its declaration.
 *
 *     #include <polyloom.h>                            // C99 or later       // C++11 or later
 *     int main(void) {                                                      // int main() {
 *       pl_span_f64 t = pl_in_f64("temps");                                 //   auto t = polyloom::in<polyloom::span<const double>>("temps");
 *       double sum = 0;                                                     //   double sum = 0;
 *       for (int64_t i = 0; i < t.size; i++) sum += t.data[i];              //   for (double x : t) sum += x;
 *       pl_out_float("mean", sum / t.size);                                 //   polyloom::out("mean", sum / t.size());
 *       return 0;
 *     }                                                                     // }
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
 *     polyloom/msgpack.h    pl_value, pl_writer: lists, maps, records
 *     polyloom/scalars.h    int, float, bool, str, bytes, null
 *     polyloom/files.h      file, image, dir
 *     polyloom/tensor.h     tensor<dtype,[shape]>
 *     polyloom/arrow.h      the shape of an Arrow file
 *     polyloom/table_in.h   reading a table
 *     polyloom/table_out.h  writing a table
 *     polyloom/cpp.h        namespace polyloom (C++ only)
 */
#ifndef POLYLOOM_H
#define POLYLOOM_H

#include "polyloom/base.h"
#include "polyloom/msgpack.h"
#include "polyloom/scalars.h"
#include "polyloom/files.h"
#include "polyloom/tensor.h"
#include "polyloom/table_in.h"
#include "polyloom/table_out.h"
#ifdef __cplusplus
#include "polyloom/cpp.h"
#endif

#endif
