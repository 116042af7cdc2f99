/* cpp_types.h: which C++ type reads and writes what; span. Types of the C++ library are recognised by their members
 * (traits_type: text; mapped_type: map; value_type: list), not by name.
 */
#ifndef POLYLOOM_CPP_TYPES_H
#define POLYLOOM_CPP_TYPES_H

#include "files.h"
#include "scalars.h"
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
  static const pl_dtype dtype = static_cast<pl_dtype>((T(-1) < T(0) ? PL_I8 : PL_U8) + (sizeof(T) == 1   ? 0
                                                                                        : sizeof(T) == 2 ? 1
                                                                                        : sizeof(T) == 4 ? 2
                                                                                                         : 3));
  static T get(pl_value v) {
    int64_t n = pl_as_int(v);
    if (static_cast<int64_t>(static_cast<T>(n)) != n || (n < 0 && !(T(-1) < T(0))))
      pl_fail("input `%s`: %lld does not fit the type asked for, %s", v.port, static_cast<long long>(n),
              pl_dtype_name(dtype));
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
    pl_fail("input `%s`: expected a tensor of %s, found one of %s", port, pl_dtype_name(number<T>::dtype),
            pl_dtype_name(t.dtype));
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
  static_assert(number<T>::known,
                "no port type reads as this; use bool, a number, std::string, std::vector, std::map or span (a table: polyloom::table t(port))");
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

}  // namespace polyloom

#endif
