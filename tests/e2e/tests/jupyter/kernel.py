"""A Jupyter kernel that misbehaves to order: the code of a cell says how.

Standard library alone, so its ZMTP is its own.
"""

import hashlib
import hmac
import json
import os
import signal
import socket
import sys
import threading
import time

START = os.environ.get("KERNEL_START", "")
CONNECTION = json.load(open(sys.argv[-1]))
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)


def frame(body, flags=0):
    if len(body) < 256:
        return bytes([flags, len(body)]) + body
    return bytes([flags | 2]) + len(body).to_bytes(8, "big") + body


def message(parts):
    return b"".join(frame(part, index + 1 < len(parts)) for index, part in enumerate(parts))


class Channel:
    """One socket of the kernel with one client."""

    def __init__(self, port, kind):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{CONNECTION['ip']}-{port}")
        listener.listen()
        self.listener, self.kind = listener, kind

    def accept(self):
        self.line = self.listener.accept()[0]
        self.line.sendall(GREETING)
        self.exactly(64)
        kind = len(self.kind).to_bytes(4, "big") + self.kind
        self.line.sendall(frame(b"\x05READY\x0bSocket-Type" + kind, 4))
        self.frame()

    def exactly(self, length):
        data = b""
        while len(data) < length:
            piece = self.line.recv(length - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def frame(self):
        flags, length = self.exactly(2)
        if flags & 2:
            length = int.from_bytes(bytes([length]) + self.exactly(7), "big")
        return flags, self.exactly(length)

    def receive(self):
        parts = []
        while True:
            flags, body = self.frame()
            parts.append(body)
            if not flags & 1:
                return parts

    def send(self, kind, content, parent, key=None, topic=()):
        tables = ({"msg_type": kind, "msg_id": "x"}, parent, {}, content)
        parts = [json.dumps(table).encode() for table in tables]
        key = (key or CONNECTION["key"]).encode()
        signed = hmac.new(key, b"".join(parts), hashlib.sha256).hexdigest()
        self.line.sendall(message([*topic, b"<IDS|MSG>", signed.encode(), *parts]))


if START == "ends":
    print("starting\nno such library: libm\x1b[31moon", file=sys.stderr)
    sys.exit(3)
if START == "mute":
    time.sleep(600)
print("a word of the start", file=sys.stderr, flush=True)
shell, iopub, control = Channel(1, b"ROUTER"), Channel(2, b"PUB"), Channel(4, b"ROUTER")
if START == "junk":
    shell.listener.accept()[0].sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"x" * 200)
    time.sleep(600)
interrupted = threading.Event()
for channel in (shell, iopub, control):
    channel.accept()


def obey():
    while True:
        parts = control.receive()
        if json.loads(parts[2])["msg_type"] == "interrupt_request":
            interrupted.set()


threading.Thread(target=obey, daemon=True).start()


def publish(kind, content, parent, **more):
    iopub.send(kind, content, parent, topic=[b"kernel.topic"], **more)


def status(state, parent):
    publish("status", {"execution_state": state}, parent)


def show(data, parent):
    publish("display_data", {"data": data, "metadata": {}}, parent)


def say(text, parent):
    publish("stream", {"name": "stdout", "text": text}, parent)


def run(code, parent):
    """Does what is asked for; gives the content of the reply, nothing for none."""
    ok = {"status": "ok", "execution_count": 1}
    if code == "hello":
        say("hello\n", parent)
    elif code == "wrong signature":
        for n in range(3):
            publish("stream", {"name": "stdout", "text": f"forged {n}\n"}, parent, key="another")
        say("signed\n", parent)
    elif code == "no messages":
        for parts in ([b"topic", b"no delimiter"], [b"<IDS|MSG>"], [b"\xff" * 300]):
            iopub.line.sendall(message(parts))
        say("after it\n", parent)
    elif code == "odd types":
        tables = ({"data": 7}, {"data": {"text/plain": {"a": 1}}}, {"text": [1, {}]})
        for content in ([], None, 7, "text", *tables):
            for kind in ("stream", "display_data", "error", "status", "no_such_thing", 7, None):
                if kind != "error" or not isinstance(content, dict):
                    publish(kind, content, parent)
        say(["in ", "pieces\n"], {})
    elif code == "not zmtp":
        iopub.line.sendall(b"\x80" + b"junk" * 100)
    elif code == "claims":
        iopub.line.sendall(b"\x02" + (1 << 62).to_bytes(8, "big"))
    elif code == "many frames":
        iopub.line.sendall(b"\x01\x01x" * 100_000)
    elif code == "large":
        piece = frame(bytes(1 << 21), 1)
        for _ in range(40):
            iopub.line.sendall(piece)
    elif code == "closes":
        iopub.line.close()
    elif code == "no idle":
        say("no idle comes\n", parent)
    elif code == "no reply":
        return None
    elif code == "no status":
        return {}
    elif code == "aborted":
        return {"status": "aborted"}
    elif code == "error in the reply alone":
        told = {"ename": "Odd", "evalue": "told once", "traceback": ["Cell In[1], line 2"]}
        return {"status": "error", **told}
    elif code == "displays":
        for n in range(1200):
            show({"text/plain": f"display {n}"}, parent)
    elif code == "large displays":
        for n in range(70):
            show({"text/html": f"{n}" * 50_000}, parent)
    elif code == "dies":
        print("last words", file=sys.stderr, flush=True)
        os._exit(7)
    elif code == "is killed":
        say("so far\n", parent)
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(60)
    elif code == "deaf":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        say("asleep\n", parent)
        time.sleep(600)
    elif code == "waits":
        say("asleep\n", parent)
        interrupted.wait(600)
        return {"status": "aborted"}
    return ok


while True:
    parts = shell.receive()
    header, content = json.loads(parts[2]), json.loads(parts[5])
    if header["msg_type"] == "kernel_info_request":
        if START != "unpublished":
            status("busy", header)
            status("idle", header)
        shell.send("kernel_info_reply", {"status": "ok"}, header)
        continue
    code = content["code"].strip()
    try:
        status("busy", header)
        reply = run(code, header)
        if reply is not None:
            shell.send("execute_reply", reply, header)
        if code != "no idle":
            status("idle", header)
    except OSError:
        time.sleep(600)
