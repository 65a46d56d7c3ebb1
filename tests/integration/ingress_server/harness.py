"""Runs mayfly-ingress on a queue file of its own, and speaks HTTP to it byte by byte.

Nothing here sleeps to wait: it waits on a log line, on bytes, on the end of a process, or asks the
metrics until they say so. Every wait ends after PATIENCE seconds with a failure.
"""

import hashlib
import hmac
import json
import os
import queue
import signal
import socket
import sqlite3
import ssl
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request
import uuid

import bodies

BUILD = os.environ["MAYFLY_BUILD"]
PROGRAM = os.path.join(BUILD, "ingress", "mayfly-ingress")
LOAD = os.path.join(BUILD, "tests", "bench", "ingress", "ingress-load")
PATIENCE = 60
SECRET = "the webhook secret"


def spawn(command, **options):
    """A process that ends with this one, however that ends."""
    return subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], **options)


class Ingress:
    """One running mayfly-ingress; a context manager. `settings` go into its ingress section.
    queue_url: another queue than a file in the folder."""

    def __init__(self, folder, secrets=(SECRET,), queue_url=None, **settings):
        self.folder = folder
        self.config_path = os.path.join(folder, "mayfly.yaml")
        self.queue_path = os.path.join(folder, "queue.db")
        self.settings = {"listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0", "threads": 2}
        self.settings.update(settings)
        self.queue_url = queue_url or f"sqlite://{self.queue_path}"
        self.write_config(secrets)
        self.process = None
        self.wrapper = []

    def as_user(self, uid):
        """From the next start on, without any capability."""
        self.wrapper = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]

    def write_config(self, secrets, retry_after="10s", **top):
        config = {
            "queue": self.queue_url,
            "ledger": f"sqlite://{self.folder}/ledger.db",
            "github": {"webhook_secrets": list(secrets)},
            "ingress": {**self.settings, "retry_after": retry_after},
            "classes": [{
                "name": "small",
                "labels": ["self-hosted", "linux", "x64"],
                "required_labels": ["self-hosted"],
                "provider": "qemu",
                "qemu": {"image": "/nowhere"},
            }],
            **top,
        }
        with open(self.config_path, "w", encoding="utf-8") as f:
            json.dump(config, f)

    def launch(self):
        """Starts the process, which may not listen yet."""
        self.lines = queue.Queue()
        self.log = []
        self.process = spawn([*self.wrapper, PROGRAM, "--config", self.config_path], stderr=subprocess.PIPE,
                             text=True)
        threading.Thread(target=self._read_log, args=(self.process.stderr,), daemon=True).start()

    def start(self):
        self.launch()
        started = self.wait_log("started")
        self.port = started["port"]
        self.admin_port = started["admin_port"]
        return self

    def _read_log(self, stream):
        with stream:
            for line in stream:
                try:
                    self.lines.put(json.loads(line))
                except ValueError:
                    self.lines.put({"msg": "not json", "line": line})
        self.lines.put(None)

    def wait_log(self, event):
        """The next log line of that event."""
        deadline = time.monotonic() + PATIENCE
        while True:
            line = self.lines.get(timeout=max(0.01, deadline - time.monotonic()))
            if line is None:
                raise AssertionError(f"it ended without {event}: {self.log[-5:]}")
            self.log.append(line)
            if line["msg"] == event:
                return line

    def line_of(self, event):
        """A log line of that event, one that came already or the next."""
        return next((line for line in self.log if line["msg"] == event), None) or self.wait_log(event)

    def wait_exit(self):
        code = self.process.wait(PATIENCE)
        while (line := self.lines.get(timeout=PATIENCE)) is not None:
            self.log.append(line)
        return code

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        """A graceful end; whatever else it said must be sound JSON."""
        self.signal(signal.SIGTERM)
        code = self.wait_exit()
        strange = [line for line in self.log if line["msg"] == "not json"]
        if code != 0 or strange:
            raise AssertionError(f"exit code {code}, log {strange or self.log[-3:]}")

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, trace):
        if kind is None and self.process.poll() is None:
            self.stop()

    def metric(self, name, **labels):
        """The sum of the samples of that name that carry those labels."""
        url = f"http://127.0.0.1:{self.admin_port}/metrics"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            text = answer.read().decode()
        total = 0.0
        for line in text.splitlines():
            key, _, value = line.rpartition(" ")
            wanted = all(f'{k}="{v}"' in key for k, v in labels.items())
            if key.split("{")[0] == name and wanted:
                total += float(value)
        return total

    def wait_metric(self, minimum, name, **labels):
        deadline = time.monotonic() + PATIENCE
        while (value := self.metric(name, **labels)) < minimum:
            if time.monotonic() > deadline:
                raise AssertionError(f"{name} {labels} is {value}, not {minimum}")
        return value

    def wait_metric_is(self, value, name, **labels):
        deadline = time.monotonic() + PATIENCE
        while (now := self.metric(name, **labels)) != value:
            if time.monotonic() > deadline:
                raise AssertionError(f"{name} {labels} is {now}, not {value}")

    def wait_metric_at_most(self, maximum, name, **labels):
        deadline = time.monotonic() + PATIENCE
        while (now := self.metric(name, **labels)) > maximum:
            if time.monotonic() > deadline:
                raise AssertionError(f"{name} {labels} is {now}, more than {maximum}")

    def ready(self):
        """The status of /readyz, and what it says."""
        try:
            url = f"http://127.0.0.1:{self.admin_port}/readyz"
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def connect(self):
        return Connection(self.port)

    def deliver(self, delivery=None, **options):
        """One delivery on a connection of its own; returns its Answer."""
        with self.connect() as c:
            c.send(request(delivery, **options))
            return c.answer()

    def queued(self):
        """The job events on the queue: {delivery id: [(lane, record), ...]}."""
        found = {}
        with sqlite3.connect(f"file:{self.queue_path}?mode=ro", uri=True, timeout=PATIENCE) as db:
            for lane, body in db.execute("SELECT lane, body FROM messages"):
                record = json.loads(bytes(body))
                found.setdefault(record["delivery"], []).append((lane, record))
        return found


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    def json(self):
        return json.loads(self.body)


class Connection:
    """A raw client; a context manager."""

    def __init__(self, port, context=None):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.unread = b""

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def receive(self):
        """More bytes; b"" at the end, however it came."""
        try:
            return self.socket.recv(65536)
        except (ConnectionResetError, BrokenPipeError, ssl.SSLError):
            return b""

    def head(self):
        """The next answer's head, as bytes; what follows it stays."""
        while b"\r\n\r\n" not in self.unread:
            self.unread += self.receive()
        head, _, self.unread = self.unread.partition(b"\r\n\r\n")
        return head

    def answer(self):
        """The next answer; None if the connection ended before one."""
        while b"\r\n\r\n" not in self.unread:
            more = self.receive()
            if not more:
                return None
            self.unread += more
        head, _, rest = self.unread.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
        status = int(lines[0].split()[1])
        if status != 100 and "content-length" not in headers:
            self.unread = b""
            return Answer(status, headers, rest + self.wait_end())
        length = int(headers.get("content-length", 0))
        while len(rest) < length:
            more = self.receive()
            if not more:
                return None
            rest += more
        self.unread = rest[length:]
        return Answer(status, headers, rest[:length])

    def wait_end(self):
        """Reads until the server hangs up; returns what came before."""
        seen = self.unread
        while more := self.receive():
            seen += more
        return seen


def sign(body, secret=SECRET):
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def request(delivery=None, guid=None, secret=SECRET, event="workflow_job", path="/webhook",
            method="POST", version="1.1", content_type="application/json", body=None, drop=(),
            **headers):
    """A whole request as bytes. delivery: a dict or bytes (a queued job by default); body: what is
    sent in its place after signing; drop: headers to leave out; headers: more of them, or others,
    with _ for -."""
    if delivery is None:
        delivery = bodies.workflow_job()
    payload = delivery if isinstance(delivery, bytes) else bodies.encode(delivery)
    sent = payload if body is None else body
    fields = {
        "Host": "localhost",
        "User-Agent": "GitHub-Hookshot/test",
        "Content-Type": content_type,
        "Content-Length": str(len(sent)),
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": guid or str(uuid.uuid4()),
        "X-Hub-Signature-256": sign(payload, secret),
    }
    fields.update({k.replace("_", "-"): v for k, v in headers.items()})
    lines = [f"{k}: {v}" for k, v in fields.items() if k not in drop]
    head = "\r\n".join([f"{method} {path} HTTP/{version}", *lines])
    return head.encode("latin-1") + b"\r\n\r\n" + sent


class TestCase(unittest.TestCase):
    """With a folder of its own, in which `ingress` makes the program's files."""

    def setUp(self):
        self._folder = tempfile.TemporaryDirectory(prefix="mayfly-ingress-")
        self.folder = self._folder.name
        self.addCleanup(self._folder.cleanup)

    def ingress(self, folder=None, **settings):
        server = Ingress(folder or self.folder, **settings)
        self.addCleanup(server.kill)
        return server

    def enter(self, manager):
        self.addCleanup(manager.__exit__, None, None, None)
        return manager.__enter__()

    def load(self, server, **options):
        """Starts ingress-load; the ids that were answered 202 go to the file it returns."""
        body = os.path.join(self.folder, "body.json")
        acked = os.path.join(self.folder, f"acked-{server.port}")
        with open(body, "wb") as f:
            f.write(bodies.encode(bodies.workflow_job(), 12257))
        arguments = {"port": server.port, "body": body, "secret": SECRET, "acked": acked, **options}
        command = [LOAD]
        for name, value in arguments.items():
            command += [f"--{name}", str(value)]
        process = self.enter(spawn(command, stdout=subprocess.PIPE, text=True))
        self.addCleanup(process.kill)
        return process, acked

    def finish(self, process):
        """What it reports in the end."""
        return json.loads(process.communicate(timeout=600)[0])

    def check(self, answer, status, **members):
        self.assertIsNotNone(answer, "the connection ended without an answer")
        self.assertEqual(status, answer.status, answer.body)
        if members:
            self.assertEqual(members, answer.json())


class Result(unittest.TextTestResult):
    """Reports a failure when it happens, and a signal as the failure of what it interrupts: no more
    tests begin, and what that one started is stopped."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.reported = (0, 0)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._interrupt)

    def _interrupt(self, number, frame):
        self.stop()
        raise AssertionError(f"ended by {signal.Signals(number).name}")

    def stopTest(self, test):
        super().stopTest(test)
        self.printErrors()

    def printErrors(self):
        errors, failures = self.reported
        self.printErrorList("ERROR", self.errors[errors:])
        self.printErrorList("FAIL", self.failures[failures:])
        self.reported = (len(self.errors), len(self.failures))


def main():
    unittest.main(testRunner=unittest.TextTestRunner(resultclass=Result))
