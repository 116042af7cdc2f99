"""Reads the CSV file into one list, one tensor and one table."""
import array
import csv as csv_module

with open(csv, newline="", encoding="utf-8") as lines:
    rows = list(csv_module.DictReader(lines))

dates = [row["date"] for row in rows]
temps = array.array("d", (float(row["temp_max"]) for row in rows))
days = {
    "date": dates,
    "temp_max": [float(row["temp_max"]) for row in rows],
    "temp_min": [float(row["temp_min"]) for row in rows],
    "wind": [float(row["wind"]) for row in rows],
    "weather": [row["weather"] for row in rows],
}
print(f"{len(rows)} days from {dates[0]} to {dates[-1]}")
