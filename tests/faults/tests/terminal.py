"""Runs a command on a terminal of its own and does to it what its first argument says; prints what became of it as JSON.

hangup: the terminal goes away once `ready` was seen. twice: Ctrl-C twice. stop: Ctrl-Z, and on again after a second.
"""

import json
import os
import pty
import select
import signal
import sys
import termios
import time


def main() -> None:
    what, command = sys.argv[1], sys.argv[2:]
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.close(master)
        if what == "stop":
            # A group of its own below a session leader that stays: only then does Ctrl-Z stop.
            import fcntl

            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            inner = os.fork()
            if inner:
                os.setpgid(inner, inner)
                signal.signal(signal.SIGTTOU, signal.SIG_IGN)
                os.tcsetpgrp(slave, inner)
                _, status = os.waitpid(inner, os.WUNTRACED)
                stopped = os.WIFSTOPPED(status)
                if stopped:
                    time.sleep(1)
                    os.killpg(inner, signal.SIGCONT)
                    _, status = os.waitpid(inner, 0)
                os._exit(os.waitstatus_to_exitcode(status) if stopped else 99)
            os.setpgid(0, 0)
        login(slave)
        os.environ.pop("NO_COLOR", None)
        os.environ["TERM"] = "xterm"
        os.execvp(command[0], command)
    text = b""
    began = None
    open_ = True
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        ready, _, _ = select.select([master] if open_ else [], [], [], 0.02)
        if ready:
            try:
                text += os.read(master, 65536)
            except OSError:
                open_ = False
        if began is None and b"ready" in text:
            began = time.monotonic()
            if what == "hangup":
                # The slave, too: else the terminal stays.
                os.close(slave)
                os.close(master)
                open_ = False
            elif what == "twice":
                os.write(master, b"\x03")
                time.sleep(0.1)
                os.write(master, b"\x03")
            elif what == "stop":
                os.write(master, b"\x1a")
    else:
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    took = time.monotonic() - (began or time.monotonic())
    after = termios.tcgetattr(slave) if what != "hangup" else before
    hidden = text.rfind(b"\x1b[?25l") > text.rfind(b"\x1b[?25h")
    code = os.waitstatus_to_exitcode(status)
    facts = {"code": code, "took": took, "restored": before == after and not hidden}
    print(json.dumps(facts | {"text": text.decode(errors="replace")}))


def login(slave: int) -> None:
    import fcntl

    try:
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    except OSError:
        pass
    for fd in range(3):
        os.dup2(slave, fd)
    if slave > 2:
        os.close(slave)


main()
