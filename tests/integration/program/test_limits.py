"""The real programs where threads cannot be had: each exits 1 and names the limit."""

import json
import os
import resource
import subprocess
import tempfile
import unittest

BUILD = os.environ["MAYFLY_BUILD"]
FAKE = os.path.join(BUILD, "tests", "fakes", "qemu")
MIB = 1024 * 1024
PATIENCE = 60


def configuration(folder):
    return {
        "queue": f"sqlite://{folder}/queue.db",
        "ledger": f"sqlite://{folder}/ledger.db",
        "state_dir": folder,
        "github": {"api_url": "http://127.0.0.1:9", "token": "ghp_none",
                   "webhook_secrets": ["the webhook secret"]},
        "ingress": {"listen": "127.0.0.1:0", "admin_listen": "", "threads": 256, "commit_threads": 64,
                    "max_in_flight": 1024},
        "worker": {"admin_listen": "", "launch_threads": 1024, "terminate_threads": 256},
        "reaper": {"admin_listen": ""},
        "classes": [{
            "name": "small",
            "labels": ["self-hosted", "linux", "x64"],
            "required_labels": ["self-hosted"],
            "provider": "qemu",
            "qemu": {"image": f"{FAKE}/image", "binary": f"{FAKE}/fake-qemu",
                     "accel": "tcg", "restore": False},
        }],
    }


class Limits(unittest.TestCase):
    def run_program(self, name, stack, address_space):
        """Runs it to its end, with threads of that stack in that address space, both in MiB."""
        def limit():
            resource.setrlimit(resource.RLIMIT_STACK, (stack * MIB, stack * MIB))
            resource.setrlimit(resource.RLIMIT_AS, (address_space * MIB, address_space * MIB))

        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "mayfly.yaml")
            with open(path, "w", encoding="utf-8") as f:
                json.dump(configuration(folder), f)
            return subprocess.run([os.path.join(BUILD, name, f"mayfly-{name}"), "--config", path],
                                  stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=False,
                                  preexec_fn=limit)

    def check(self, ended, thread):
        self.assertEqual(1, ended.returncode, ended.stderr)
        lines = [json.loads(line) for line in ended.stderr.splitlines()]
        failed = [line for line in lines if line["msg"] == "startup_failed"]
        self.assertEqual(1, len(failed), ended.stderr)
        self.assertEqual("capacity", failed[0]["error_class"])
        self.assertIn(f"cannot start {thread}", failed[0]["error"])
        self.assertIn("ulimit -v", failed[0]["error"])

    def test_ingress_without_memory_for_its_committers_exits_1_with_a_hint(self):
        self.check(self.run_program("ingress", 8, 300), "a thread of ingress.commit_threads")

    def test_ingress_without_memory_for_its_loops_exits_1_with_a_hint(self):
        self.check(self.run_program("ingress", 8, 2000), "an event loop's thread")

    def test_worker_without_memory_for_its_launch_threads_exits_1_with_a_hint(self):
        self.check(self.run_program("worker", 8, 4000), "a thread of worker.launch_threads")

    def test_worker_without_memory_for_its_terminators_exits_1_with_a_hint(self):
        self.check(self.run_program("worker", 8, 1000), "a thread of worker.terminate_threads")

    def test_reaper_without_memory_for_its_sweeps_exits_1_with_a_hint(self):
        self.check(self.run_program("reaper", 2000, 3500), "the sweep thread")


if __name__ == "__main__":
    unittest.main()
