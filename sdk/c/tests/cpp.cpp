// cpp.cpp: the C++ layer, checked by outputs.py and by itself.
#include <map>
#include <string>
#include <vector>

#include <polyloom.h>

static void expect(bool holds, const char *what) {
  if (!holds) pl_fail("%s", what);
}

int main() {
  using namespace polyloom;
  expect(in<int>("int") == 20 && in<unsigned char>("int") == 20 && in<long long>("negative") == -200, "ints");
  expect(in<double>("int") == 20.0 && in<float>("single") == 0.25f && in<bool>("yes"), "numbers");
  expect(in<std::string>("name") == "world" && in<std::string>("text").size() == 4, "texts");
  expect(in<std::string>("raw") == std::string("\0\xff\1", 3), "bytes");
  expect(in<std::vector<int>>("three") == std::vector<int>({1, 2, 3}), "list of numbers");
  expect(has("int") && !has("inte"), "has");

  span<const double> matrix = in<span<const double>>("matrix");
  expect(matrix.ndim() == 2 && matrix.shape(1) == 3 && matrix(1, 2) == 5, "matrix");
  double sum = 0;
  for (double x : matrix) sum += x;
  out("sum", sum);
  auto copy = in<std::vector<double>>("matrix");
  out("vec", copy);
  out_list("lst", copy);
  expect(in<std::vector<bool>>("flags") == std::vector<bool>({true, false, true}), "flags");

  out("b", true);
  out("s", "abc");
  out("n", nullptr);
  out("str", std::string("q\0r", 3));
  out("u", static_cast<unsigned long>(INT64_MAX));
  out("l", -5LL);
  std::map<std::string, std::vector<int>> map;
  map["a"] = {1, 2};
  map["z"] = {};
  out_list("m", map);
  out("words", in<std::vector<std::string>>("words"));
  out("bits", std::vector<bool>{true, false});
  out("ten", static_cast<float>(10));
  out_tensor<float>("o", {2, 2})(1, 1) = 3;

  table numbers("everything");
  expect(numbers.rows() == 6 && numbers.has("after") && !numbers.has("nope"), "table");
  expect(numbers.column<int64_t>("after")[5] == 9 && numbers.column<double>("half")[1] == 2.5, "columns");
  pl_text name = numbers.column<pl_text>("name")[2];
  expect(std::string(name.data, name.size) == "row 3", "text column");

  table_out days("days", 3, "a:f64, b:str, c:bool");
  days.column<double>("a")[1] = 2;
  days.put("b", 0, "x");
  days.put("b", 1, std::string("yy"));
  days.put("c", 1, true);
  days.put_null("c", 0);
  days.close();
}
