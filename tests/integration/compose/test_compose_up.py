"""deploy/compose as an operator uses it: podman-compose brings its file up, jobs run through it, and it goes down in order.

No registry is asked: the images of others, under the names that compose.yaml gives them, are a Debian root with the same programs
(Redis for Valkey); Grafana has none. All happens in a network namespace of the test's own: compose's networks, its published ports, and
203.0.113.10, a public address at which the stand-in for GitHub is, so that what VMs may reach is as it is in production.

Needs root, podman with netavark, buildah, runc, mmdebstrap (deploy/packages container), QEMU (run), Node.js and what builds the demo
image (image); exits 77 without.
"""

import ctypes
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import unittest
import urllib.request
import venv

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "container"))
# pylint: disable=wrong-import-position
from containers import SOURCE, TOOLS, build, close_store, debian_root, open_store, run, skip_without, until  # noqa: E402

BUILD = os.environ["MAYFLY_BUILD"]
PODMAN_COMPOSE = "podman-compose==1.6.0"
GITHUB = "203.0.113.10"
CLONE_NEWNET = 0x40000000
STEP_SECONDS = 600  # without KVM, on a busy machine: a boot, and a job that goes on
REPOSITORY = "octo-org/octo-repo"
SECRET = "a webhook secret"
TOKEN = "ghp_" + "a" * 36


def podman_compose():
    folder = os.path.join(SOURCE, "build", "podman-compose")
    program = os.path.join(folder, "bin", "podman-compose")
    if not os.path.exists(program):
        venv.create(folder, with_pip=True, clear=True)
        run(os.path.join(folder, "bin", "pip"), "install", "--quiet", PODMAN_COMPOSE)
    return program


def images_of_others():
    """Under their names in compose.yaml; with the entry points that these images have."""
    with open(os.path.join(SOURCE, "deploy/compose/compose.yaml"), encoding="utf-8") as f:
        names = dict(re.findall(r"image: \$\{(\w+)_IMAGE:-(docker\.io/[^}]+)\}", f.read()))
    if all(run("podman", "image", "exists", names[n], check=False).returncode == 0 for n in ("PROMETHEUS", "SQUID", "REDIS")):
        return
    root = debian_root("services", ("redis-server", "prometheus", "squid", "ca-certificates"))
    run("podman", "import", "--quiet", "--change", 'ENTRYPOINT ["prometheus"]', "--change", "USER 65534",
        root, names["PROMETHEUS"])
    run("podman", "import", "--quiet", "--change", 'ENTRYPOINT ["squid", "-NYC", "-f", "/etc/squid/squid.conf"]',
        root, names["SQUID"])
    container = run("podman", "create", names["SQUID"]).stdout.strip()
    mounted = run("podman", "mount", container).stdout.strip()
    os.symlink("redis-server", os.path.join(mounted, "usr/bin/valkey-server"))
    entry = os.path.join(mounted, "usr/local/bin/docker-entrypoint.sh")
    with open(entry, "w", encoding="utf-8") as f:
        f.write('#!/bin/sh\nexec "$@"\n')
    os.chmod(entry, 0o755)
    run("podman", "commit", "--quiet", "--change", "ENTRYPOINT []", container, names["REDIS"])
    run("podman", "rm", container)


class GitHub:
    """The stand-in, and a way to it from the public address."""

    def __init__(self, folder, *options):
        self.log = os.path.join(folder, "github.jsonl")
        self.process = subprocess.Popen(
            ["node", os.path.join(SOURCE, "tests/fakes/github/main.mjs"), "--port", "0", "--log", self.log, "--org", "octo-org",
             "--repo", REPOSITORY, "--webhook-url", "http://127.0.0.1:8080/webhook", "--webhook-secret", SECRET,
             "--runner-url", f"http://{GITHUB}", *options], stdout=subprocess.PIPE, text=True)
        first = self.process.stdout.readline()
        self.port = int(re.search(r":(\d+)", first)[1])
        self.listener = socket.create_server((GITHUB, 80))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.carry, args=(near,), daemon=True).start()

    def carry(self, near):
        with near, socket.create_connection(("127.0.0.1", self.port)) as far:
            back = threading.Thread(target=self.copy, args=(far, near), daemon=True)
            back.start()
            self.copy(near, far)
            back.join()

    @staticmethod
    def copy(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for s in (source, sink):
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, None if body is None else json.dumps(body), {"content-type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status >= 300:
            raise AssertionError(f"{method} {path}: {answer.status} {text[:300]}")
        return json.loads(text) if text else None

    def run_jobs(self, count, command):
        asked = self.ask("POST", "/_fake/jobs", {"repo": REPOSITORY, "labels": ["self-hosted", "linux", "x64", "microvm"],
                                                 "command": command, "count": count})
        ids = {job["id"] for job in asked}

        def states():
            return {job["id"]: job["state"] for job in self.ask("GET", "/_fake/jobs") if job["id"] in ids}
        known = states()
        while any(state != "completed" for state in known.values()):
            until(f"one of {count} jobs has gone on from {known}", lambda before=known: states() != before, STEP_SECONDS)
            known = states()
        return [self.ask("GET", f"/_fake/jobs/{job}") for job in sorted(ids)]

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)  # accept() returns
        self.listener.close()
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


def setUpModule():
    global store
    store = open_store()
    build(tag="localhost/mayfly")
    build("--target", "worker-qemu", tag="localhost/mayfly-worker-qemu")
    images_of_others()
    podman_compose()
    if not os.path.isdir(os.path.join(SOURCE, "tests/fakes/node_modules")):
        run("npm", "ci", "--omit=dev", "--no-audit", "--no-fund", "--loglevel=error", cwd=os.path.join(SOURCE, "tests/fakes"))
    run(os.path.join(SOURCE, "deploy/image/build-demo-image"), "--agent", os.path.join(BUILD, "deploy/image/agent/mayfly-agent"),
        "--output", os.path.join(store, "image"))
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    run("ip", "link", "set", "lo", "up")
    run("ip", "address", "add", f"{GITHUB}/32", "dev", "lo")


def tearDownModule():
    close_store(store)


class Box:
    """A copy of deploy/compose, filled in as its README says."""

    def __init__(self, name, profile, values):
        self.folder = os.path.join(store, name, "compose")
        shutil.rmtree(os.path.join(store, name), ignore_errors=True)
        for part in ("compose", "prometheus", "grafana"):
            shutil.copytree(os.path.join(SOURCE, "deploy", part), os.path.join(store, name, part))
        with open(os.path.join(self.folder, ".env.example"), encoding="utf-8") as f:
            lines = f.read()
        for key, value in {"COMPOSE_PROFILES": profile, **values}.items():
            lines, found = re.subn(rf"^(# )?{key}=.*$", f"{key}={value}", lines, flags=re.M)
            assert found == 1, key
        with open(os.path.join(self.folder, ".env"), "w", encoding="utf-8") as f:
            f.write(lines)
        self.give_limits()

    def give_limits(self):
        """podman-compose sends limits of its own, which a container without rights to raise them refuses."""
        with open(os.path.join(self.folder, "compose.yaml"), encoding="utf-8") as f:
            services = re.findall(r"^  ([a-z-]+):$", f.read().split("\nservices:\n")[1].split("\nnetworks:\n")[0], re.M)
        with open(os.path.join(self.folder, "compose.override.yaml"), "w", encoding="utf-8") as f:
            f.write("services:\n" + "".join(f"  {s}: {{ulimits: {{nofile: 1024, nproc: 4096}}}}\n" for s in services))

    def compose(self, *arguments, check=True):
        return run(podman_compose(), *arguments, cwd=self.folder, check=check)

    def container(self, service):
        return f"mayfly_{service}_1"

    def inside(self, service, *command, check=True):
        return run("podman", "exec", self.container(service), *command, check=check)

    def events(self, service):
        done = run("podman", "logs", self.container(service))
        return [json.loads(line) for line in (done.stdout + done.stderr).splitlines() if line.startswith("{")]

    def state(self, service):
        return json.loads(run("podman", "inspect", self.container(service)).stdout)[0]["State"]


COMMON = {"WEBHOOK_SECRET": SECRET, "REDIS_PASSWORD": "b" * 64, "GITHUB_API_URL": f"http://{GITHUB}", "NUM_CPUS": "1",
          "MEMORY_ALLOC": "256", "DISK_SIZE": "512MiB", "MAX_VMS": "2",
          "MAYFLY_IMAGE": "localhost/mayfly", "MAYFLY_WORKER_IMAGE": "localhost/mayfly-worker-qemu"}


def kvm():
    if os.path.exists("/dev/kvm"):
        return {"KVM_GROUP": str(os.stat("/dev/kvm").st_gid)}
    return {"KVM_DEVICE": "/dev/null", "KVM_GROUP": "65532"}


class Compose(unittest.TestCase):
    def start(self, profile, values, *github_options):
        self.github = GitHub(store, *github_options)
        self.addCleanup(self.github.close)
        self.box = Box(profile, profile, {**COMMON, **kvm(), "RUNNER_IMAGE": os.path.join(store, "image"), **values})
        self.addCleanup(self.box.compose, "down", "--timeout", "1", "--volumes", check=False)
        self.box.compose("up", "--detach")
        self.addCleanup(self.explain)

    def explain(self):
        if self._outcome.success:
            return
        for name in run("podman", "ps", "--all", "--format", "{{.Names}} {{.Status}}").stdout.splitlines():
            logs = run("podman", "logs", "--tail", "25", name.split()[0], check=False)
            print(f"--- {name}\n{logs.stdout[-6000:]}{logs.stderr[-6000:]}", file=sys.stderr)

    def healthy(self, service):
        return run("podman", "healthcheck", "run", self.box.container(service), check=False).returncode == 0

    def test_direct(self):
        key = os.path.join(store, "app-key.pem")
        run("openssl", "genrsa", "-out", key, "2048")
        os.chown(key, 65532, 65532)
        self.start("direct", {"GITHUB_APP_ID": "123456", "GITHUB_APP_KEY_FILE": key}, "--app-id", "123456", "--app-key", key)
        for service in ("ingress", "worker", "reaper"):
            until(f"{service} is healthy", lambda s=service: self.healthy(s))
        until("the worker has started", lambda: any(e["msg"] == "started" for e in self.box.events("worker")), STEP_SECONDS)
        jobs = self.github.run_jobs(4, "echo on $(hostname)")
        self.assertEqual({"success"}, {job["conclusion"] for job in jobs})
        self.assertEqual(4, len({job["output"] for job in jobs}))
        self.look_at_the_confinement()
        self.assertNotIn(COMMON["REDIS_PASSWORD"], run("ps", "-e", "-o", "args").stdout)
        self.look_at_prometheus()
        said = self.box.inside("reaper", "mayflyctl", "status").stdout
        self.assertIn("box", said)
        until("no VM is left", lambda: json.loads(self.box.inside("reaper", "mayflyctl", "vms", "--json").stdout or "[]") == [])
        states = self.box.inside("worker", "sh", "-c", "cat /proc/[0-9]*/stat").stdout
        self.assertNotRegex(states, r"\) Z ", "an ended VM's processes are taken leave of")
        self.box.compose("stop")
        for service in ("ingress", "worker", "reaper"):
            self.assertEqual(0, self.box.state(service)["ExitCode"], service)
            self.assertIn("stopped", [e["msg"] for e in self.box.events(service)])

    def test_missing_key_is_named_and_no_directory_takes_its_place(self):
        self.box = Box("missing", "direct", {**COMMON, **kvm(), "RUNNER_IMAGE": os.path.join(store, "image"), "GITHUB_APP_ID": "123456"})
        self.addCleanup(self.box.compose, "down", "--timeout", "1", "--volumes", check=False)
        key = os.path.join(self.box.folder, "app.pem")
        done = self.box.compose("up", "--detach", check=False)
        self.assertNotEqual(0, done.returncode)
        self.assertIn(f"bind source path does not exist: {key}", done.stdout + done.stderr)
        self.assertFalse(os.path.exists(key))

    def look_at_the_confinement(self):
        for service in ("ingress", "worker", "reaper"):
            pid = self.box.state(service)["Pid"]
            children = {int(p) for p in os.listdir("/proc") if p.isdigit() and self.pid_namespace(p) == self.pid_namespace(pid)}
            for process in children | {pid}:
                with open(f"/proc/{process}/status", encoding="utf-8") as f:
                    status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
                self.assertEqual("65532", status["Uid"].split()[0], status["Name"])
                self.assertEqual(0, int(status["CapEff"], 16), status["Name"])
                self.assertEqual("1", status["NoNewPrivs"], status["Name"])
        refused = [e for e in self.box.events("worker") if e["msg"] == "vm_network_namespace_unavailable"]
        print("QEMU's empty network namespace: " + (refused[0]["error"] if refused else "used"), file=sys.stderr)

    @staticmethod
    def pid_namespace(pid):
        try:
            return os.readlink(f"/proc/{pid}/ns/pid")
        except OSError:
            return None

    def look_at_prometheus(self):
        def ask(path):
            with urllib.request.urlopen(f"http://127.0.0.1:9090/api/v1/{path}", timeout=30) as answer:
                return json.load(answer)["data"]

        def all_up():
            targets = ask("targets")["activeTargets"]
            return len(targets) == 3 and all(t["health"] == "up" for t in targets)
        until("Prometheus scrapes the three programs", all_up)
        self.assertGreater(sum(len(group["rules"]) for group in ask("rules")["groups"]), 10)

    def test_proxied(self):
        self.start("proxied", {"MAYFLY_CONFIG_FILE": "proxied.yaml", "GITHUB_TOKEN": TOKEN, "GITHUB_REPOSITORY": REPOSITORY},
                   "--token", TOKEN)
        until("the worker has started", lambda: any(e["msg"] == "started" for e in self.box.events("worker-proxied")), STEP_SECONDS)
        command = f"""
            fetch() {{ printf 'GET %s HTTP/1.0\\r\\n\\r\\n' "$1" | busybox nc -w 10 $2 $3 | busybox head -n 1; }}
            echo "proxy $http_proxy"
            echo "private through it: $(fetch http://10.0.0.1/ 10.0.2.2 3128)"
            echo "around it: $(fetch / {GITHUB} 80)."
        """
        [job] = self.github.run_jobs(1, command)
        self.assertEqual("success", job["conclusion"], job)
        self.assertIn("proxy http://10.0.2.2:3128", job["output"])
        self.assertRegex(job["output"], r"(?m)^private through it: HTTP/1.[01] 403")
        self.assertRegex(job["output"], r"(?m)^around it: \.")
        routes = self.box.inside("worker-proxied", "cat", "/proc/net/route").stdout
        self.assertNotIn("\t00000000\t", "\t".join(line.split("\t")[1] + "\t" for line in routes.splitlines()[1:]))
        # The runner's own calls, from its VM; the worker's are a registration more.
        squid = run("podman", "logs", self.box.container("squid"))
        self.assertRegex(squid.stdout + squid.stderr, rf"TCP_MISS/200 .*http://{GITHUB}/_runner/")


if __name__ == "__main__":
    skip_without(*TOOLS, "node", "ip", "openssl", "qemu-img")
    unittest.main(verbosity=2)
