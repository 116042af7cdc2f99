/* cpp.h: the same ports with C++ types (C++11). A thin layer: every function here calls one of the C headers, fails as they do, and
 * throws nothing. It includes no header of the C++ library, which would cost each cell 0.1 s: std::string, std::vector and std::map
 * are recognised by their members, so the cell includes those it uses.
 *
 *     double x = polyloom::in<double>("x");                       polyloom::out("mean", x);
 *     auto name = polyloom::in<std::string>("name");              polyloom::out("name", name);
 *     auto t = polyloom::in<polyloom::span<const double>>("t");   auto u = polyloom::out_tensor<double>("u", {rows, columns});
 *     auto tags = polyloom::in<std::vector<std::string>>("tags"); polyloom::out("tags", tags);
 *     polyloom::table days("days");                               auto temp = days.column<double>("temp");
 */
#ifndef POLYLOOM_CPP_H
#define POLYLOOM_CPP_H

#include <initializer_list>

#include "column.h"
#include "cpp_types.h"
#include "table_out.h"

namespace polyloom {

/* ---- ports ---------------------------------------------------------------------------------------------------- */

/* An input as T: bool, any int (checked to fit), float, double, const char*, std::string (str or bytes), std::vector (of numbers: list or
 * one-dimensional view of a tensor; of anything else: list), std::map<std::string, T>, span<const T> (tensor), pl_value, pl_tensor. */
template <class T>
T in(const char *port) {
  return detail::input<T>::get(port);
}

/* Whether there is an input of this name. */
inline bool has(const char *port) { return pl_has_input(port) != 0; }

/* An output of a bool, number, text, list or map. A sequence of numbers becomes a tensor of one dimension: for a list use out_list. */
template <class T>
void out(const char *port, const T &x) {
  detail::output<T, detail::is_numbers<T, detail::probe<T>::value>::value>::put(port, x);
}
inline void out(const char *port, const char *text) { pl_out_str(port, text); }
inline void out(const char *port, decltype(nullptr)) { pl_out_null(port); }

/* A sequence as a list. */
template <class T>
void out_list(const char *port, const T &x) {
  detail::print<T>(pl_out_value(port), x);
}

/* The zeroed memory of a new tensor: fill it, there is nothing to close. */
template <class T>
span<T> out_tensor(const char *port, std::initializer_list<int64_t> shape) {
  static_assert(detail::number<T>::known, "a tensor holds bool, ints of 8 to 64 bits, float or double");
  int ndim = static_cast<int>(shape.size());
  void *data = pl_out_tensor(port, detail::number<T>::dtype, shape.begin(), ndim);
  return span<T>(static_cast<T *>(data), pl_shape_size(shape.begin(), ndim, sizeof(T)), shape.begin(), ndim);
}
template <class T>
span<T> out_tensor(const char *port, int64_t size) {
  return out_tensor<T>(port, {size});
}

/* ---- tables --------------------------------------------------------------------------------------------------- */

/* A table input. Columns are read whole; for batches use t.get() with the functions of table_in.h. */
class table {
 public:
  explicit table(const char *port) : table_(pl_in_table(port)) {}
  const pl_table *get() const { return table_; }
  int64_t rows() const { return pl_table_rows(table_); }
  int columns() const { return pl_table_columns(table_); }
  const char *name(int column) const { return pl_table_name(table_, column); }
  bool has(const char *column) const { return pl_table_find(table_, column) >= 0; }
  /* T is double (null is NaN), int64_t (null is an error) or pl_text. */
  template <class T>
  span<const T> column(const char *name) const;

 private:
  pl_table *table_;
};

template <>
inline span<const double> table::column<double>(const char *name) const {
  return span<const double>(pl_table_f64(table_, name), rows());
}
template <>
inline span<const int64_t> table::column<int64_t>(const char *name) const {
  return span<const int64_t>(pl_table_i64(table_, name), rows());
}
template <>
inline span<const pl_text> table::column<pl_text>(const char *name) const {
  return span<const pl_text>(pl_table_text(table_, name), rows());
}

/* A table output; see pl_out_table for `columns`. It is there once closed. */
class table_out {
 public:
  table_out(const char *port, int64_t capacity, const char *columns) : table_(pl_out_table(port, capacity, columns)) {}
  /* The memory of a column of numbers; for a date T is int32_t, for a timestamp int64_t. */
  template <class T>
  span<T> column(const char *name) {
    const pl_dtype dtype = detail::number<T>::dtype;
    void *data = pl_fill_column(table_, name, dtype,
                                dtype == PL_I64   ? PL_TIMESTAMP
                                : dtype == PL_I32 ? PL_DATE
                                                  : dtype);
    return span<T>(static_cast<T *>(data), table_->capacity);
  }
  /* A std::string or anything else with data() and size(). */
  template <class T>
  void put(const char *name, int64_t row, const T &text) {
    pl_put_text_at(table_, name, row, text.data(), text.size());
  }
  void put(const char *name, int64_t row, pl_text text) { pl_put_text_at(table_, name, row, text.data, text.size); }
  void put(const char *name, int64_t row, const char *text) { pl_put_str_at(table_, name, row, text); }
  void put(const char *name, int64_t row, bool value) { pl_put_bool_at(table_, name, row, value); }
  void put_null(const char *name, int64_t row) { pl_put_null_at(table_, name, row); }
  void close() { pl_close_table(table_, table_->capacity); }
  void close(int64_t rows) { pl_close_table(table_, rows); }

 private:
  pl_table_out *table_;
};

}  // namespace polyloom

#endif
