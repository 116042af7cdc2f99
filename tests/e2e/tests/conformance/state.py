"""A worker with a session, snapshots and a catalogue, in as few lines as the protocol allows; its argument is what it does wrong."""

import os
import sys

flaw = sys.argv[2]
sys.path.insert(0, sys.argv[1])
from polyloom import _frames as wire  # noqa: E402

line = wire.adopt(int(os.environ.pop("POLYLOOM_W")))
line.send_preamble()
features = ["session", "snapshot", "catalog"]
hello = {"executor": "state", "version": "1", "protocol": [{"major": 1, "minor": 0}], "features": features, "runtime": ""}
line.send(wire.HELLO, 0, hello)
state, kept = {}, {}
while True:
    try:
        frame = line.receive()
    except wire.ConnectionClosed:
        break
    if frame.kind == wire.EXEC:
        with open(frame.body["code"]) as code:
            exec(code.read(), state)
        sys.stdout.flush()
        line.send(wire.DONE, frame.exec_id, {"ok": True, "session_changed": flaw != "silent"})
    elif frame.kind == wire.PING:
        line.pong(frame.body["n"])
    elif frame.kind == 71:  # Describe
        if flaw != "uncatalogued":
            line.send(9, 0, {"entries": [{"name": "nothing"}]})
    elif frame.kind == 72:  # Reset
        if flaw != "unforgetting":
            state.clear()
    elif frame.kind == 73:  # Snapshot
        kept[frame.body["name"]] = dict(state)
    elif frame.kind == 74:  # Restore
        if flaw != "unrestored":
            state = dict(kept[frame.body["name"]])
    elif frame.kind in (wire.SHUTDOWN, wire.HELLO_NO, wire.ERROR):
        break
    elif frame.must_understand:
        sys.exit(3)
