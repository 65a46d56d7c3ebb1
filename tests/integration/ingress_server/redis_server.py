"""A Redis of the test's own, on a socket in its folder: started, killed, frozen, and read."""

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time

from harness import spawn

PATIENCE = 60
QUEUE = "{mayfly:mayfly}:q"


def program(kind):
    """redis-server or redis-cli, or Valkey's; None if neither is there. REDIS_SERVER names another."""
    if named := os.environ.get("REDIS_SERVER"):
        return named.removesuffix("-server") + f"-{kind}"
    return shutil.which(f"redis-{kind}") or shutil.which(f"valkey-{kind}")


class Redis:
    """A context manager; not yet running at first. Each write is on disk before it is confirmed."""

    def __init__(self, folder):
        self.folder = folder
        self.socket = os.path.join(folder, "redis.sock")
        self.url = f"redis://{self.socket}?timeout=1s"
        self.process = None

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.kill()

    def start(self):
        command = [program("server"), "--port", "0", "--unixsocket", self.socket,
                   "--dir", self.folder, "--appendonly", "yes", "--appendfsync", "always",
                   "--save", "", "--logfile", os.path.join(self.folder, "redis.log")]
        self.process = spawn(command)
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

    def wait_deliveries(self, count, lane):
        """Until so many lie in a lane."""
        deadline = time.monotonic() + PATIENCE
        while self.call("ZCARD", f"{QUEUE}:r:{lane}") != count:
            if time.monotonic() > deadline:
                raise AssertionError(f"{lane} has {self.deliveries(lane)}, not {count}")

    def deliveries(self, lane):
        """The delivery ids of a lane, in order."""
        found = []
        for number in self.call("ZRANGE", f"{QUEUE}:r:{lane}", "0", "-1") or []:
            body = self.call("HGET", f"{QUEUE}:m:{number}", "b")
            found.append(json.loads(body)["delivery"])
        return found


class Gate:
    """Stands before a Redis, on a socket of its own, and passes everything on, until bytes that it
    was told of go by: they still reach Redis, but no answer leaves it before `release`. A context
    manager."""

    def __init__(self, folder, redis):
        self.redis = redis
        self.url = f"redis://{folder}/gate.sock?timeout=30s"
        self.needle = None
        self.seen = threading.Event()
        self.open = threading.Event()
        self.open.set()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(os.path.join(folder, "gate.sock"))
        self.listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.open.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def hold(self, needle):
        """From now on: the answer to what holds these bytes, and all after it, are kept back."""
        self.needle = needle

    def wait_held(self):
        if not self.seen.wait(PATIENCE):
            raise AssertionError(f"nothing with {self.needle} came to the gate")

    def release(self):
        self.needle = None
        self.open.set()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(self.redis.socket)
        except OSError:
            client.close()
            server.close()
            return
        threading.Thread(target=self._copy, args=(server, client, self._wait_open),
                         daemon=True).start()
        self._copy(client, server, self._look)

    def _look(self, data):
        if self.needle is not None and self.needle in data:
            self.open.clear()
            self.seen.set()

    def _wait_open(self, data):
        self.open.wait()

    @staticmethod
    def _copy(source, target, before):
        try:
            while data := source.recv(1 << 20):
                before(data)
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()
