"""What another process of the same user sees of the programs' memory, and what they leave when they crash."""

import ctypes
import json
import os
import resource
import signal
import socket
import subprocess
import tempfile
import unittest

BUILD = os.environ["MAYFLY_BUILD"]
FAKE = os.path.join(BUILD, "tests", "fakes", "qemu")
NOBODY = 65534
SECRET = "the-webhook-secret-that-no-core-holds"
LIBC = ctypes.CDLL(None, use_errno=True)


class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def drop_root():
    """In the child: a root that is everybody could read everything."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def allow_cores():
    resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
    drop_root()


def readable(pid):
    """The ways into the memory of the process that are open to its own user, tried in a child of that user."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        drop_root()
        ways = []
        for name in ("mem", "environ", "maps"):
            try:
                with open(f"/proc/{pid}/{name}", "rb") as f:
                    if name != "mem":
                        f.read(1)
                ways.append(name)
            except PermissionError:
                pass
        here = ctypes.create_string_buffer(1)
        local = Vector(ctypes.addressof(here), 1)
        LIBC.process_vm_readv(pid, ctypes.byref(local), 1, ctypes.byref(local), 1, 0)
        # Another layout has nothing at that address: EFAULT. EPERM comes first.
        if ctypes.get_errno() != 1:
            ways.append("process_vm_readv")
        os.write(writing, json.dumps(ways).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as f:
        ways = json.load(f)
    os.waitpid(child, 0)
    return ways


class Memory(unittest.TestCase):
    def setUp(self):
        self.listener = socket.create_server(("127.0.0.1", 0))  # a Redis that never responds
        self.addCleanup(self.listener.close)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        if os.geteuid() == 0:
            os.chown(self.folder, NOBODY, NOBODY)

    def start(self, argv):
        program = subprocess.Popen(argv, cwd=self.folder, preexec_fn=allow_cores, stderr=subprocess.PIPE,
                                   stdout=subprocess.DEVNULL)
        self.addCleanup(program.stderr.close)
        self.addCleanup(program.wait)
        self.addCleanup(program.kill)
        return program

    def start_mayfly(self, path):
        port = self.listener.getsockname()[1]
        config = os.path.join(self.folder, "mayfly.yaml")
        with open(config, "w", encoding="utf-8") as f:
            json.dump({
                "queue": f"redis://127.0.0.1:{port}/0",
                "ledger": f"redis://127.0.0.1:{port}/0",
                "state_dir": self.folder,
                "github": {"api_url": "http://127.0.0.1:9", "token": "ghp_none", "webhook_secrets": [SECRET]},
                "ingress": {"listen": "127.0.0.1:0", "admin_listen": ""},
                "worker": {"admin_listen": ""},
                "reaper": {"admin_listen": ""},
                "classes": [{"name": "small", "labels": ["self-hosted"], "provider": "qemu",
                             "qemu": {"image": f"{FAKE}/image", "binary": f"{FAKE}/fake-qemu",
                                      "accel": "tcg", "restore": False}}],
            }, f)
        os.chmod(config, 0o644)
        command = ["status"] if path.endswith("mayflyctl") else []
        program = self.start([os.path.join(BUILD, path), "--config", config, *command])
        self.listener.settimeout(60)
        connection, _ = self.listener.accept()  # it has its configuration, and waits for the store
        self.addCleanup(connection.close)
        return program

    def test_plain_program_shows_its_memory_and_leaves_a_core(self):
        """That the checks below can fail."""
        program = self.start(["sleep", "60"])
        self.assertLessEqual({"environ", "maps"}, set(readable(program.pid)))
        with open(f"/proc/{program.pid}/limits", encoding="utf-8") as f:
            core = next(line for line in f if line.startswith("Max core file size"))
        program.send_signal(signal.SIGSEGV)
        _, status = os.waitpid(program.pid, 0)
        program.returncode = -signal.SIGSEGV
        if not os.WCOREDUMP(status):
            self.skipTest(f"this machine writes no core file ({core.split()[4:]}), so that no program can leave one")

    def check(self, path):
        program = self.start_mayfly(path)
        self.assertEqual([], readable(program.pid))
        with open(f"/proc/{program.pid}/limits", encoding="utf-8") as f:
            core = next(line for line in f if line.startswith("Max core file size"))
        self.assertEqual(["0", "0"], core.split()[4:6])
        program.send_signal(signal.SIGSEGV)
        _, status = os.waitpid(program.pid, 0)
        program.returncode = -os.WTERMSIG(status)
        self.assertEqual(signal.SIGSEGV, os.WTERMSIG(status))
        self.assertFalse(os.WCOREDUMP(status))

    def test_ingress_shows_its_user_nothing(self):
        self.check("ingress/mayfly-ingress")

    def test_worker_shows_its_user_nothing(self):
        self.check("worker/mayfly-worker")

    def test_reaper_shows_its_user_nothing(self):
        self.check("reaper/mayfly-reaper")

    def test_mayflyctl_shows_its_user_nothing(self):
        self.check("deploy/ctl/mayflyctl")


if __name__ == "__main__":
    unittest.main()
