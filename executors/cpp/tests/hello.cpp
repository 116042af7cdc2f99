#include <cstdio>
#include <polyloom.h>
#include <string>

int main() {
  std::printf("hello %s\n", polyloom::in<std::string>("name").c_str());
  polyloom::out("y", polyloom::in<int>("x") * 2 + 2);
}
