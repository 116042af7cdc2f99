"""A worker with a session that can be saved, snapshots and a catalogue, in as few lines as the protocol allows; its argument is what it does wrong."""

import os
import sys
import time

flaw = sys.argv[2]
sys.path.insert(0, sys.argv[1])
from polyloom import _frames as wire  # noqa: E402

KNOWN = {"session", "cell", "code", "inputs", "outputs", "out", "argv", "seed", "deadline_ms", "interactive", "source"}
PREPARE, DESCRIBE, RESET, SNAPSHOT, RESTORE = 67, 71, 72, 73, 74
CATALOG = 9

line = wire.adopt(int(os.environ["POLYLOOM_W"] if flaw == "announcing" else os.environ.pop("POLYLOOM_W")))
line.send_preamble()
features = ["session", "snapshot", "catalog", "prepare", "display", "durable", "interactive", "source"]
hello = {"executor": "state", "version": "1", "protocol": [{"major": 1, "minor": 0}], "features": features, "runtime": ""}
line.send(wire.HELLO, 0, hello)
state, kept, agreed = {}, {}, []
while True:
    try:
        frame = line.receive()
    except wire.ConnectionClosed:
        if flaw == "orphaned":
            time.sleep(600)
        break
    if frame.kind == wire.HELLO_OK:
        agreed = frame.body["features"]
    elif frame.kind == wire.EXEC:
        if flaw == "strict-key" and not KNOWN.issuperset(frame.body):
            sys.exit("an unknown key")
        source = None if flaw == "illiterate" else frame.body.get("source")
        if source is None:
            with open(frame.body["code"]) as code:
                source = code.read()
        exec(source, state)
        sys.stdout.flush()
        if flaw == "chatty" or "display" in agreed and (flaw == "eager" or frame.body.get("interactive") and flaw != "shy"):
            line.send(wire.DISPLAY, frame.exec_id, {"media": "text/plain", "data": str(state.get("x")).encode()})
        line.send(wire.DONE, frame.exec_id, {"ok": True, "session_changed": flaw != "silent"})
    elif frame.kind == wire.PING:
        line.pong(7 if flaw == "absent-minded" else frame.body["n"])
    elif frame.kind == wire.CREDIT:
        if flaw == "surprised":
            sys.exit("credit for no cell")
    elif frame.kind == PREPARE:
        if flaw == "unprepared":
            break
    elif frame.kind == DESCRIBE:
        if flaw != "uncatalogued":
            line.send(CATALOG, 0, {"entries": [{"name": "nothing"}]})
    elif frame.kind == RESET:
        if flaw != "unforgetting":
            state.clear()
    elif frame.kind == SNAPSHOT:
        kept[frame.body["name"]] = dict(state)
    elif frame.kind == RESTORE:
        if flaw != "unrestored":
            state = dict(kept[frame.body["name"]])
    elif frame.kind == wire.SAVE:
        with open(f"{frame.body['out']}/x", "w") as file:
            file.write(str(state["x"]))
        line.send(wire.SAVED, 0, {"saved": [] if flaw == "unsaved" else ["x"], "unsaved": []})
    elif frame.kind == wire.LOAD:
        with open(f"{frame.body['path']}/x") as file:
            state["x"] = 0 if flaw == "unloaded" else int(file.read())
        line.send(wire.SAVED, 0, {"saved": ["x"], "unsaved": []})
    elif frame.kind in (wire.SHUTDOWN, wire.HELLO_NO, wire.ERROR):
        if flaw == "undying":
            time.sleep(600)
        sys.exit(3 if flaw == "sulking" else 0)
    elif frame.must_understand and flaw != "obliging":
        sys.exit(3)
    elif flaw == "strict-kind":
        sys.exit("an unknown kind")
