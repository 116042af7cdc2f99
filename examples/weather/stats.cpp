// Mean and quantiles of a tensor, read where it lies.
#include <polyloom.h>

#include <algorithm>
#include <cstdio>
#include <vector>

int main() {
  auto temps = polyloom::in<polyloom::span<const double>>("temps");
  std::vector<double> sorted(temps.begin(), temps.end());
  std::sort(sorted.begin(), sorted.end());

  double sum = 0;
  for (double t : temps) sum += t;
  polyloom::out("mean", sum / temps.size());

  pl_writer *quantiles = pl_out_value("quantiles");
  pl_begin_map(quantiles);
  for (int p : {5, 25, 50, 75, 95}) {
    char name[8];
    std::snprintf(name, sizeof name, "p%02d", p);
    pl_key(quantiles, name);
    pl_put_float(quantiles, sorted[(sorted.size() - 1) * p / 100]);
  }
  pl_end(quantiles);
  return 0;
}
