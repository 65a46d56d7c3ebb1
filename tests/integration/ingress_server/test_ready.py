"""/readyz of the running program while deliveries cannot be stored: red after some failures in a row,
green at the next success, and green all the while with a spool that works.

It runs in a mount namespace of its own, so that its file systems end with it."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import unittest

import harness
from redis_server import Redis, program

FAILURES = 3  # STREAK_FAILURES of common/base/streak.h
INSIDE = "MAYFLY_READY_INSIDE"


def enter_mount_namespace():
    may = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0
    if INSIDE not in os.environ and may:
        os.environ[INSIDE] = "1"
        os.execvp("unshare", ["unshare", "-m", sys.executable, *sys.argv])


def mount(case, *arguments):
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        case.skipTest(f"cannot mount: {done.stderr}")
    case.addCleanup(subprocess.run, ["umount", "-l", arguments[-1]], check=True)


class ReadyCase(harness.TestCase):
    def setUp(self):
        super().setUp()
        self.disk = os.path.join(self.folder, "disk")
        os.mkdir(self.disk)

    def on_disk(self, **settings):
        """An ingress whose queue is a file on the disk."""
        return self.ingress(queue_url=f"sqlite://{self.disk}/queue.db", **settings)

    def deliver_at_once(self, server, prefix, count=FAILURES):
        """Returns the statuses."""
        statuses = []
        def one(i):
            statuses.append(server.deliver(guid=f"{prefix}-{i}").status)
        threads = [threading.Thread(target=one, args=(i,)) for i in range(count)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        return statuses

    def check_red(self, server, words):
        self.assertEqual(200, server.ready()[0])
        self.assertEqual([503] * FAILURES, self.deliver_at_once(server, "fails"))
        status, why = server.ready()
        self.assertEqual(503, status)
        self.assertIn("could not be stored", why)
        self.assertRegex(why, words)

    def check_green_again(self, server):
        self.check(server.deliver(guid="fails-0"), 202)
        self.assertEqual(200, server.ready()[0])

    @contextlib.contextmanager
    def full(self):
        filler = os.path.join(self.disk, "filler")
        with open(filler, "wb", buffering=0) as f, contextlib.suppress(OSError):
            for size in (65536, 1):
                with contextlib.suppress(OSError):
                    while f.write(b"\0" * size):
                        pass
        yield
        os.unlink(filler)


class Ready(ReadyCase):
    def test_full_disk(self):
        mount(self, "-t", "tmpfs", "-o", "size=2m", "none", self.disk)
        with self.on_disk(batch=1) as server:
            self.check(server.deliver(guid="first"), 202)
            with self.full():
                self.check_red(server, "full")
            self.check_green_again(server)

    def test_foreign_lock(self):
        with self.on_disk(batch=1, commit_threads=FAILURES, enqueue_timeout="30s") as server:
            self.check(server.deliver(guid="first"), 202)
            with contextlib.closing(sqlite3.connect(f"{self.disk}/queue.db", timeout=harness.PATIENCE,
                                                    isolation_level=None)) as db:
                db.execute("BEGIN IMMEDIATE")
                self.check_red(server, "lock|busy")
                db.execute("ROLLBACK")
            self.check_green_again(server)

    def test_file_system_that_turned_read_only(self):
        """As ext4 does after an error of its disk; it stays so until it is mounted again."""
        image = os.path.join(self.folder, "image")
        with open(image, "wb") as f:
            f.truncate(16 << 20)
        if shutil.which("mkfs.ext4") is None:
            self.skipTest("there is no mkfs.ext4")
        subprocess.run(["mkfs.ext4", "-q", image], check=True)
        mount(self, "-o", "loop", image, self.disk)
        with self.on_disk(batch=1) as server:
            self.check(server.deliver(guid="first"), 202)
            if subprocess.run(["mount", "-o", "remount,abort", self.disk], capture_output=True,
                              check=False).returncode != 0:
                self.skipTest("this kernel cannot abort a file system")
            self.check_red(server, "read-only|readonly|I/O")

    def test_file_that_is_read_only_for_the_user_refuses_the_start(self):
        with self.on_disk():
            pass
        os.chmod(self.folder, 0o755)
        os.chmod(self.disk, 0o777)
        os.chmod(f"{self.disk}/queue.db", 0o444)
        server = self.on_disk()
        server.as_user(65534)
        with self.assertRaisesRegex(AssertionError, "startup_failed.*queue.db is read-only for user 65534"):
            server.start()
        self.assertEqual(1, server.process.wait(harness.PATIENCE))
        os.chmod(f"{self.disk}/queue.db", 0o666)
        os.chmod(f"{self.disk}/queue.db-turn", 0o666)
        with server:
            self.check_green_again(server)


@unittest.skipIf(program("server") is None, "there is neither redis-server nor valkey-server")
class ReadyOnRedis(ReadyCase):
    def setUp(self):
        super().setUp()
        self.redis = self.enter(Redis(self.folder)).start()

    def test_frozen_redis(self):
        with self.ingress(queue_url=self.redis.url, batch=1, enqueue_timeout="30s") as server:
            self.check(server.deliver(guid="first"), 202)
            self.redis.freeze()
            self.assertEqual([503] * FAILURES, self.deliver_at_once(server, "fails"))
            status, why = server.ready()
            self.assertEqual(503, status, why)
            self.redis.thaw()
            self.check_green_again(server)

    def test_spool_that_works_keeps_it_green_and_a_full_one_does_not(self):
        mount(self, "-t", "tmpfs", "-o", "size=2m", "none", self.disk)
        spool = {"path": f"{self.disk}/spool.db", "max_retry_delay": "100ms"}
        with self.ingress(queue_url=self.redis.url, batch=1, enqueue_timeout="200ms",
                          spool=spool) as server:
            self.redis.freeze()
            for i in range(FAILURES + 1):
                self.check(server.deliver(guid=f"spooled-{i}"), 202)
            self.assertEqual(200, server.ready()[0])
            with self.full():
                self.check_red(server, "queue and spool: .*full")
            self.check_green_again(server)
            self.redis.thaw()
            server.wait_metric_is(0, "mayfly_ingress_spool_active")
            self.assertEqual(200, server.ready()[0])


if __name__ == "__main__":
    enter_mount_namespace()
    harness.main()
