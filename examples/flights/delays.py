"""How late flights are by the hour of departure, over the mapped columns."""


def numbers(column):
    """A column's numbers where they lie in the file, through pyarrow if the cell has it."""
    if hasattr(column, "view"):
        return column.view
    array = column.chunk(0)
    return memoryview(array.buffers()[1]).cast({"int16": "h", "float": "f"}[str(array.type)])


delays = numbers(flights["delay"])
rows = len(delays)
total_delay = sum(delays)

late, count = [0] * 24, [0] * 24
for delay, time in zip(delays, numbers(flights["time"])):
    hour = int(time)
    late[hour] += delay
    count[hour] += 1
by_hour = [minutes / max(flown, 1) for minutes, flown in zip(late, count)]
print(f"{rows:,} rows; " + ", ".join(f"{h}h {m:.0f}" for h, m in enumerate(by_hour) if h % 4 == 0))
