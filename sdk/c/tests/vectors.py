"""Writes the protocol's golden tensors into a folder and prints their names, or compares a folder with them. Standard library only."""
import json
import pathlib
import sys

what, folder = sys.argv[1], pathlib.Path(sys.argv[2])
file = pathlib.Path(__file__).parents[3] / "protocol" / "vectors" / "npy.json"
rows = json.loads(file.read_text())["files"] if file.exists() else []
for row in rows:
    path = folder / f"{row['name']}.npy"
    if what == "write":
        path.write_bytes(bytes.fromhex(row["file"]))
        print(row["name"])
    elif path.read_bytes().hex() != row["file"]:
        sys.exit(f"{row['name']}: written as {path.read_bytes()!r}")
