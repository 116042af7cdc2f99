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

#include "files.h"
#include "scalars.h"
#include "table_in.h"
#include "table_out.h"
#include "tensor.h"

namespace polyloom {

/* ---- what a type is ------------------------------------------------------------------------------------------- */

namespace detail {

enum category { scalar_like, text_like, list_like, map_like };

template <class T>
struct probe {
  typedef char yes;
  typedef char (&no)[2];
  template <class U>
  static yes traits(typename U::traits_type *);
  template <class U>
  static no traits(...);
  template <class U>
  static yes mapped(typename U::mapped_type *);
  template <class U>
  static no mapped(...);
  template <class U>
  static yes element(typename U::value_type *);
  template <class U>
  static no element(...);
  static const category value = sizeof(traits<T>(nullptr)) == 1    ? text_like
                                : sizeof(mapped<T>(nullptr)) == 1  ? map_like
                                : sizeof(element<T>(nullptr)) == 1 ? list_like
                                                                   : scalar_like;
};

template <class T>
struct plain {
  typedef T type;
};
template <class T>
struct plain<const T> {
  typedef T type;
};

/* Numbers: their dtype, and how they come from and go to a value. Undefined for other types. */
template <class T>
struct number {
  static const bool known = false;
};

template <class T>
struct integer {
  static const bool known = true;
  static const pl_dtype dtype =
      static_cast<pl_dtype>((T(-1) < T(0) ? PL_I8 : PL_U8) + (sizeof(T) == 1 ? 0 : sizeof(T) == 2 ? 1 : sizeof(T) == 4 ? 2 : 3));
  static T get(pl_value v) {
    int64_t n = pl_as_int(v);
    if (static_cast<int64_t>(static_cast<T>(n)) != n || (n < 0 && !(T(-1) < T(0))))
      pl_fail("input `%s`: %lld does not fit the type asked for, %s", v.port, static_cast<long long>(n), pl_dtype_name(dtype));
    return static_cast<T>(n);
  }
  static void put(pl_writer *w, T x) {
    if (x > T(0) && static_cast<uint64_t>(x) > static_cast<uint64_t>(INT64_MAX))
      pl_fail("output `%s`: an int is 64 bits signed, %llu is too large", w->port, static_cast<unsigned long long>(x));
    pl_put_int(w, static_cast<int64_t>(x));
  }
};

template <class T>
struct real {
  static const bool known = true;
  static const pl_dtype dtype = sizeof(T) == 4 ? PL_F32 : PL_F64;
  static T get(pl_value v) { return static_cast<T>(pl_as_float(v)); }
  static void put(pl_writer *w, T x) { pl_put_float(w, static_cast<double>(x)); }
};

template <>
struct number<signed char> : integer<signed char> {};
template <>
struct number<short> : integer<short> {};
template <>
struct number<int> : integer<int> {};
template <>
struct number<long> : integer<long> {};
template <>
struct number<long long> : integer<long long> {};
template <>
struct number<unsigned char> : integer<unsigned char> {};
template <>
struct number<unsigned short> : integer<unsigned short> {};
template <>
struct number<unsigned> : integer<unsigned> {};
template <>
struct number<unsigned long> : integer<unsigned long> {};
template <>
struct number<unsigned long long> : integer<unsigned long long> {};
template <>
struct number<float> : real<float> {};
template <>
struct number<double> : real<double> {};
template <>
struct number<bool> {
  static const bool known = true;
  static const pl_dtype dtype = PL_BOOL;
  static bool get(pl_value v) { return pl_as_bool(v) != 0; }
  static void put(pl_writer *w, bool x) { pl_put_bool(w, x); }
};

}  // namespace detail

/* ---- arrays --------------------------------------------------------------------------------------------------- */

/* Memory of someone else: of an input (span<const T>) or of an output (span<T>), in C order. */
template <class T>
class span {
 public:
  typedef T element_type;
  span() : data_(nullptr), size_(0), ndim_(0), shape_() {}
  span(T *data, int64_t size) : data_(data), size_(size), ndim_(1), shape_() { shape_[0] = size; }
  span(T *data, int64_t size, const int64_t *shape, int ndim) : data_(data), size_(size), ndim_(ndim), shape_() {
    for (int i = 0; i < ndim; i++) shape_[i] = shape[i];
  }
  T *data() const { return data_; }
  T *begin() const { return data_; }
  T *end() const { return data_ + size_; }
  int64_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  int ndim() const { return ndim_; }
  int64_t shape(int axis) const { return shape_[axis]; }
  T &operator[](int64_t i) const { return data_[i]; }
  /* Row i, column j of a matrix. */
  T &operator()(int64_t i, int64_t j) const { return data_[i * shape_[1] + j]; }

 private:
  T *data_;
  int64_t size_;
  int ndim_;
  int64_t shape_[PL_MAX_DIMS];
};

namespace detail {

template <class T>
span<const T> tensor_in(const char *port) {
  static_assert(number<T>::known, "a tensor holds bool, ints of 8 to 64 bits, float or double");
  pl_tensor t = pl_in_tensor(port);
  if (t.dtype != number<T>::dtype)
    pl_fail("input `%s`: expected a tensor of %s, found one of %s", port, pl_dtype_name(number<T>::dtype), pl_dtype_name(t.dtype));
  return span<const T>(static_cast<const T *>(t.data), t.size, t.shape, t.ndim);
}

/* ---- reading a value as T ------------------------------------------------------------------------------------- */

template <class T, category C>
struct reader;

template <class T>
T read(pl_value v) {
  return reader<T, probe<T>::value>::get(v);
}

template <class T>
struct reader<T, scalar_like> {
  static_assert(number<T>::known, "no port type reads as this; use bool, a number, std::string, std::vector, std::map or span");
  static T get(pl_value v) { return number<T>::get(v); }
};
template <>
struct reader<const char *, scalar_like> {
  static const char *get(pl_value v) { return pl_as_str(v); }
};
template <>
struct reader<pl_value, scalar_like> {
  static pl_value get(pl_value v) { return v; }
};
template <class T>
struct reader<T, text_like> {
  static T get(pl_value v) {
    pl_bytes b = pl_as_bytes(v);
    return T(reinterpret_cast<const char *>(b.data), b.size);
  }
};
template <class T>
struct reader<T, list_like> {
  static T get(pl_value v) {
    T list;
    pl_cursor c = pl_items(v);
    pl_value item;
    if (v.kind != PL_KIND_LIST) pl_wrong_kind(v, "list");
    while (pl_next(&c, nullptr, &item)) list.push_back(read<typename T::value_type>(item));
    return list;
  }
};
template <class T>
struct reader<T, map_like> {
  static T get(pl_value v) {
    T map;
    pl_cursor c = pl_items(v);
    pl_value key, item;
    if (v.kind != PL_KIND_MAP) pl_wrong_kind(v, "map or record");
    while (pl_next(&c, &key, &item)) map[read<typename T::key_type>(key)] = read<typename T::mapped_type>(item);
    return map;
  }
};

/* ---- writing a value of type T -------------------------------------------------------------------------------- */

template <class T, category C>
struct printer;

template <class T>
void print(pl_writer *w, const T &x) {
  printer<T, probe<T>::value>::put(w, x);
}

template <class T>
struct printer<T, scalar_like> {
  static_assert(number<T>::known, "no port type holds this; use bool, a number, std::string, std::vector or std::map");
  static void put(pl_writer *w, T x) { number<T>::put(w, x); }
};
template <>
struct printer<const char *, scalar_like> {
  static void put(pl_writer *w, const char *x) { pl_put_str(w, x); }
};
template <class T>
struct printer<T, text_like> {
  static void put(pl_writer *w, const T &x) { pl_put_text(w, x.data(), x.size()); }
};
template <class T>
struct printer<T, list_like> {
  static void put(pl_writer *w, const T &x) {
    pl_begin_list(w);
    for (typename T::const_iterator i = x.begin(); i != x.end(); ++i) print<typename T::value_type>(w, *i);
    pl_end(w);
  }
};
template <class T>
struct printer<T, map_like> {
  static void put(pl_writer *w, const T &x) {
    pl_begin_map(w);
    for (typename T::const_iterator i = x.begin(); i != x.end(); ++i) {
      pl_key(w, i->first.c_str());
      print<typename T::mapped_type>(w, i->second);
    }
    pl_end(w);
  }
};

/* ---- a port as T ---------------------------------------------------------------------------------------------- */

template <class T>
struct input {
  static T get(const char *port) { return from(port, static_cast<select<probe<T>::value == list_like> *>(nullptr)); }

 private:
  template <bool>
  struct select {};
  static T from(const char *port, select<false> *) { return read<T>(pl_in_value(port)); }
  /* A sequence of numbers reads a tensor as well as a list. */
  static T from(const char *port, select<true> *) {
    return sequence(port, static_cast<select<number<typename T::value_type>::known> *>(nullptr));
  }
  static T sequence(const char *port, select<false> *) { return read<T>(pl_in_value(port)); }
  static T sequence(const char *port, select<true> *) {
    const char *path = pl_in_path(port), *dot = strrchr(path, '.');
    if (!dot || strcmp(dot, ".npy") != 0) return read<T>(pl_in_value(port));
    span<const typename T::value_type> t = tensor_in<typename T::value_type>(port);
    return T(t.begin(), t.end());
  }
};
template <class T>
struct input<span<T>> {
  static span<T> get(const char *port) { return tensor_in<typename plain<T>::type>(port); }
};
template <>
struct input<pl_tensor> {
  static pl_tensor get(const char *port) { return pl_in_tensor(port); }
};

template <class T, bool Tensor>
struct output {
  static void put(const char *port, const T &x) { print<T>(pl_out_value(port), x); }
};
template <class T>
struct output<T, true> {
  static void put(const char *port, const T &x) {
    typedef typename T::value_type E;
    int64_t n = static_cast<int64_t>(x.size());
    E *to = static_cast<E *>(pl_out_tensor(port, number<E>::dtype, &n, 1));
    for (typename T::const_iterator i = x.begin(); i != x.end(); ++i) *to++ = *i;
  }
};

template <class T, category C>
struct is_numbers {
  static const bool value = false;
};
template <class T>
struct is_numbers<T, list_like> {
  static const bool value = number<typename T::value_type>::known;
};

}  // namespace detail

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
    void *data = pl_fill_column(table_, name, dtype, dtype == PL_I64 ? PL_TIMESTAMP : dtype == PL_I32 ? PL_DATE : dtype);
    return span<T>(static_cast<T *>(data), table_->capacity);
  }
  /* A std::string or anything else with data() and size(). */
  template <class T>
  void put(const char *name, int64_t row, const T &text) {
    pl_put_text_at(table_, name, row, text.data(), text.size());
  }
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
