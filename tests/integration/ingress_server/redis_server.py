"""A Redis of the test's own, on a socket in its folder: started, killed, frozen, and read."""

import json
import os
import shutil
import signal
import subprocess
import time

PATIENCE = 60
QUEUE = "{mayfly:mayfly}:q"


def program(kind):
    """redis-server or redis-cli, or Valkey's; None if neither is there."""
    return shutil.which(f"redis-{kind}") or shutil.which(f"valkey-{kind}")


class Redis:
    """A context manager; not yet running at first. Each write is on disk before it is confirmed."""

    def __init__(self, folder):
        self.folder = folder
        self.socket = os.path.join(folder, "redis.sock")
        self.url = f"redis://{self.socket}?deadline_ms=1000"
        self.process = None

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.kill()

    def start(self):
        command = [program("server"), "--port", "0", "--unixsocket", self.socket,
                   "--dir", self.folder, "--appendonly", "yes", "--appendfsync", "always",
                   "--save", "", "--logfile", os.path.join(self.folder, "redis.log")]
        self.process = subprocess.Popen(command)
        deadline = time.monotonic() + PATIENCE
        while self.call("PING") != "PONG":
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise AssertionError("Redis does not start")
        return self

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def call(self, *words):
        """The answer as Python has it; None for none, and while there is no server."""
        done = subprocess.run([program("cli"), "-s", self.socket, "--json", *words],
                              capture_output=True, text=True, timeout=PATIENCE)
        try:
            return json.loads(done.stdout)
        except ValueError:
            return None

    def deliveries(self, lane):
        """The delivery ids of a lane, in order."""
        found = []
        for _, (_, number) in self.call("XRANGE", f"{QUEUE}:s:{lane}", "-", "+") or []:
            body = self.call("HGET", f"{QUEUE}:m:{number}", "b")
            found.append(json.loads(body)["delivery"])
        return found
