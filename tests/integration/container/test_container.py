"""The images of deploy/container: built on a Debian root that mmdebstrap makes (no registry is asked), judged by what is in them,
and run as a platform would: read-only, as a user without rights, without capabilities.

Needs root, podman, buildah, runc and mmdebstrap (deploy/packages container); exits 77 without. The Debian root is kept in
build/container, so that a second run is faster; MAYFLY_CONTAINER_ROOT names another.
"""

import ctypes
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import unittest
import urllib.request
import uuid

from containers import COMMIT, PATIENCE, TOOLS, build, close_store, open_store, run, skip_without, until

MIB = 1024 * 1024


def setUpModule():
    global folder
    folder = open_store()
    build()


def tearDownModule():
    close_store(folder)


def pushed(tag):
    """The image as a registry would hold it: its folder, and its manifest."""
    path = os.path.join(folder, uuid.uuid4().hex)
    run("buildah", "push", tag, f"oci:{path}:image")
    with open(os.path.join(path, "index.json"), encoding="utf-8") as f:
        digest = json.load(f)["manifests"][0]["digest"]
    with open(os.path.join(path, "blobs", *digest.split(":")), encoding="utf-8") as f:
        return digest, json.load(f)


def measured(what, tag):
    """The compressed bytes, which are printed."""
    digest, manifest = pushed(tag)
    size = sum(layer["size"] for layer in manifest["layers"])
    print(f"{what}: {size / MIB:.1f} MiB compressed, {digest}", file=sys.stderr)
    return size


def files_of(tag):
    """Every path of an image."""
    container = run("podman", "create", tag).stdout.strip()
    try:
        exported = subprocess.run(["podman", "export", container], stdout=subprocess.PIPE, check=True).stdout
    finally:
        run("podman", "rm", container)
    with tarfile.open(fileobj=io.BytesIO(exported)) as tar:
        return {"/" + member.name: member for member in tar}


class Image(unittest.TestCase):
    def test_default_holds_the_programs_and_what_they_load_alone(self):
        files = files_of("localhost/mayfly:test")
        programs = {path for path, member in files.items() if path.startswith("/usr/bin/") and member.isfile()}
        self.assertEqual({"/usr/bin/mayfly-ingress", "/usr/bin/mayfly-worker", "/usr/bin/mayfly-reaper", "/usr/bin/mayflyctl",
                          "/usr/bin/mayfly-publish-image"}, programs)
        others = {path for path, member in files.items()
                  if member.isfile() and not path.startswith(("/usr/bin/", "/usr/lib/", "/etc/", "/dev", "/proc", "/sys", "/run"))}
        self.assertEqual(set(), others)
        self.assertIn("/etc/ssl/certs/ca-certificates.crt", files)
        libraries = [path for path, member in files.items() if path.startswith("/usr/lib/") and member.isfile()]
        self.assertTrue(all(".so" in path for path in libraries), libraries)
        self.assertLess(measured(f"mayfly, {len(libraries)} libraries", "localhost/mayfly:test"), 22 * 1000 * 1000)

    def test_image_says_what_it_is_and_runs_as_nobody(self):
        image = json.loads(run("podman", "inspect", "localhost/mayfly:test").stdout)[0]
        self.assertEqual("65532:65532", image["Config"]["User"])
        labels = image["Config"]["Labels"]
        said = run("podman", "run", "--rm", "--network", "none", "localhost/mayfly:test", "mayfly-worker", "--version").stdout
        self.assertIn(labels["org.opencontainers.image.version"], said)
        self.assertIn(labels["org.opencontainers.image.revision"][:12], said)
        self.assertRegex(labels["org.opencontainers.image.version"], r"^\d+\.\d+\.\d+$")
        self.assertEqual(COMMIT, labels["org.opencontainers.image.revision"])

    def test_every_program_starts(self):
        for program in ("mayfly-ingress", "mayfly-worker", "mayfly-reaper", "mayflyctl", "mayfly-publish-image"):
            with self.subTest(program):
                run("podman", "run", "--rm", "--network", "none", "--read-only", "localhost/mayfly:test", program, "--help")

    def test_debian_variant_has_a_shell_and_is_small(self):
        tag = build("--base", "localhost/debian:12", tag="localhost/mayfly:debian")
        run("podman", "run", "--rm", "--network", "none", tag, "sh", "-c", "mayflyctl --version && test \"$(id -un)\" = mayfly")
        self.assertLess(measured("mayfly on Debian", tag), 50 * 1000 * 1000)

    def test_worker_with_qemu_has_qemu(self):
        tag = build("--target", "worker-qemu", tag="localhost/mayfly-worker-qemu:test")
        said = run("podman", "run", "--rm", "--network", "none", "--read-only", tag, "sh", "-c",
                   "mayfly-worker --version && qemu-system-$(uname -m) --version && qemu-img --version && "
                   "/usr/libexec/mayfly/mayfly-vm-net --help 2>&1; id -u").stdout
        self.assertIn("QEMU emulator version", said)
        self.assertTrue(said.endswith("65532\n"), said)
        measured("worker-qemu", tag)

    def test_builder_of_vm_images_has_its_program_and_the_agent(self):
        tag = build("--target", "image-builder", tag="localhost/mayfly-image-builder:test")
        self.assertIn("--sha256", run("podman", "run", "--rm", "--network", "none", tag).stdout)
        run("podman", "run", "--rm", "--network", "none", "--entrypoint", "sh", tag, "-c",
            "mmdebstrap --version && /usr/libexec/mayfly/mayfly-agent --version && qemu-img --version")
        measured("image-builder", tag)

    def test_arm64_is_cross_compiled(self):
        tag = build("--arch", "arm64", tag="localhost/mayfly:arm64")
        image = json.loads(run("podman", "inspect", tag).stdout)[0]
        self.assertEqual("arm64", image["Architecture"])
        root = run("buildah", "from", tag).stdout.strip()
        mounted = run("buildah", "mount", root).stdout.strip()
        for program in ("mayfly-ingress", "mayfly-worker", "mayfly-reaper", "mayflyctl"):
            with open(os.path.join(mounted, "usr/bin", program), "rb") as f:
                self.assertEqual(0xB7, int.from_bytes(f.read(20)[18:20], "little"))  # EM_AARCH64
        run("buildah", "rm", root)
        self.assertLess(measured("mayfly for arm64", tag), 22 * 1000 * 1000)

    def test_second_build_has_the_same_digest(self):
        first = pushed("localhost/mayfly:test")[0]
        second = pushed(build(tag="localhost/mayfly:again", options="--no-cache"))[0]
        self.assertEqual(first, second)


# --- running ------------------------------------------------------------------------------------------------------------------

PTRACE_SEIZE, PTRACE_DETACH, PTRACE_INTERRUPT = 0x4206, 17, 0x4207


def trace(request, thread):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(ctypes.c_long(request), ctypes.c_int(thread), None, None) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Running(unittest.TestCase):
    def setUp(self):
        self.state = tempfile.mkdtemp(dir=folder)
        os.chown(self.state, 65532, 65532)
        config = {
            "queue": "sqlite:///var/lib/mayfly/queue.db",
            "ledger": "sqlite:///var/lib/mayfly/ledger.db",
            "github": {"webhook_secrets": ["a webhook secret"]},
            "ingress": {"listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0", "threads": 2},
            "classes": [{"name": "small", "labels": ["self-hosted"], "provider": "qemu", "qemu": {"image": "/nowhere"}}],
        }
        self.id = run("podman", "run", "--detach", "--read-only", "--read-only-tmpfs=false", "--cap-drop", "all",
                      "--security-opt", "no-new-privileges", "--network", "host", "--volume", f"{self.state}:/var/lib/mayfly",
                      "--env", f"MAYFLY_CONFIG={json.dumps(config)}", "localhost/mayfly:test", "mayfly-ingress").stdout.strip()
        self.addCleanup(run, "podman", "rm", "--force", "--time", "1", self.id, check=False)
        self.started = until("it has started", lambda: self.logged("started"))

    def lines(self):
        done = run("podman", "logs", self.id)
        return [json.loads(line) for line in (done.stdout + done.stderr).splitlines() if line.startswith("{")]

    def logged(self, event):
        return next((line for line in self.lines() if line["msg"] == event), None)

    def health(self):
        """As HEALTHCHECK asks; the port of the test is the kernel's choice."""
        config = json.dumps({"ingress": {"admin_listen": f"127.0.0.1:{self.started['admin_port']}"}})
        return run("podman", "exec", "--env", f"MAYFLY_CONFIG={config}", self.id, "mayfly-ingress", "--health",
                   check=False).returncode

    def test_it_runs_read_only_and_sigterm_drains(self):
        pid = int(run("podman", "inspect", "--format", "{{.State.Pid}}", self.id).stdout)
        with open(f"/proc/{pid}/status", encoding="utf-8") as f:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        self.assertEqual(["65532"] * 4, status["Uid"].split())
        self.assertEqual(0, int(status["CapEff"], 16))
        self.assertEqual("1", status["NoNewPrivs"])
        with urllib.request.urlopen(f"http://127.0.0.1:{self.started['port']}/healthz", timeout=PATIENCE) as answer:
            self.assertEqual(200, answer.status)
        run("podman", "stop", "--time", "60", self.id)
        self.assertEqual("0", run("podman", "inspect", "--format", "{{.State.ExitCode}}", self.id).stdout.strip())
        self.assertEqual("SIGTERM", self.logged("stopping")["signal"])
        self.assertIsNotNone(self.logged("stopped"))

    def test_health_turns_red_with_a_loop_that_stands_still_and_green_when_it_moves(self):
        self.assertEqual(0, self.health())
        pid = int(run("podman", "inspect", "--format", "{{.State.Pid}}", self.id).stdout)
        # One thread of it is stopped, as in a deadlock: the last one, which is an event loop.
        loop = max(int(thread) for thread in os.listdir(f"/proc/{pid}/task"))
        trace(PTRACE_SEIZE, loop)
        trace(PTRACE_INTERRUPT, loop)
        os.waitpid(loop, 0x40000000)  # __WALL
        try:
            until("it is red", lambda: self.health() == 1)
            self.assertEqual("an event loop", self.logged("loop_stuck")["loop"])
        finally:
            trace(PTRACE_DETACH, loop)
        until("it is green", lambda: self.health() == 0)


if __name__ == "__main__":
    skip_without(*TOOLS)
    unittest.main(verbosity=2)
