// Whether longer flights are later, batch by batch over the mapped columns.
#include <polyloom.h>

#include <cmath>
#include <cstdio>

int main() {
  pl_table *flights = pl_in_table("flights");
  double n = 0, x = 0, y = 0, xx = 0, yy = 0, xy = 0;
  for (int batch = 0; batch < pl_table_batches(flights); batch++) {
    pl_column delays = pl_table_column(flights, "delay", batch);
    pl_column distances = pl_table_column(flights, "distance", batch);
    const int16_t *delay = pl_values_i16(&delays);
    const int16_t *distance = pl_values_i16(&distances);
    for (int64_t i = 0; i < delays.rows; i++) {
      double late = delay[i], far = distance[i];
      n++;
      x += far;
      y += late;
      xx += far * far;
      yy += late * late;
      xy += far * late;
    }
  }
  double correlation = (n * xy - x * y) / std::sqrt((n * xx - x * x) * (n * yy - y * y));
  std::printf("%.0f miles on average, correlation with delay %.3f\n", x / n, correlation);

  polyloom::out("rows", pl_table_rows(flights));
  polyloom::out("total_delay", static_cast<int64_t>(y));
  polyloom::out("correlation", correlation);
}
