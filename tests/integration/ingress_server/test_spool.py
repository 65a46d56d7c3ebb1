"""The spool of the running program: a Redis that is away, hangs or comes back, and SIGKILL."""

import contextlib
import os
import signal
import sqlite3
import unittest

import harness
from redis_server import QUEUE, Gate, Redis, program

LANE = "launch.small"
REFUSED = "mayfly_ingress_spool_refused_total"
SPOOLED = "mayfly_ingress_spooled_total"
HELD = "mayfly_ingress_spool_messages"
ACTIVE = "mayfly_ingress_spool_active"
EACH = 2  # messages of a queued job: its launch request and its event


@unittest.skipIf(program("server") is None, "there is neither redis-server nor valkey-server")
class Spool(harness.TestCase):
    def setUp(self):
        super().setUp()
        self.redis = self.enter(Redis(self.folder))
        self.spool = os.path.join(self.folder, "spool.db")
        self.patient_url = self.redis.url.replace("timeout=1s", "timeout=1m")

    def spooling(self, enqueue_timeout="5s", ready=None, queue_url=None, **spool):
        return self.ingress(queue_url=queue_url or self.redis.url,
                            enqueue_timeout=enqueue_timeout, **(ready or {}),
                            spool={"path": self.spool, "max_retry_delay": "100ms", **spool})

    def accept(self, server, first, end):
        """Delivers in turn; returns the ids, each of which was answered 202."""
        guids = [f"guid-{i}" for i in range(first, end)]
        for guid in guids:
            self.check(server.deliver(guid=guid), 202, queued=True)
        return guids

    def in_file(self):
        with sqlite3.connect(f"file:{self.spool}?mode=ro", uri=True,
                             timeout=harness.PATIENCE) as db:
            return db.execute("SELECT count(*) FROM messages").fetchone()[0]

    def check_once_in_order(self, guids):
        """Every one is there once, in order."""
        self.assertEqual(guids, self.redis.deliveries(LANE))

    def test_queue_that_goes_and_comes_back_gets_all_in_order(self):
        self.redis.start()
        with self.spooling() as server:
            guids = self.accept(server, 0, 3)
            self.assertEqual(0, server.metric(SPOOLED))
            self.redis.kill()
            guids += self.accept(server, 3, 13)
            self.assertEqual(10 * EACH, server.metric(SPOOLED))
            self.assertEqual(10 * EACH, server.metric(HELD))
            self.assertEqual(10 * EACH, self.in_file())
            self.assertEqual(200, server.ready()[0])
            self.check(server.deliver(guid="guid-5"), 200, duplicate=True)
            self.redis.start()
            server.wait_metric_is(0, ACTIVE)
            guids += self.accept(server, 13, 15)
            self.assertEqual(10 * EACH, server.metric(SPOOLED))
        self.check_once_in_order(guids)
        self.assertEqual(0, self.in_file())

    def test_sigkill_while_spooled_loses_nothing(self):
        self.redis.start()
        server = self.spooling().start()
        guids = self.accept(server, 0, 2)
        self.redis.kill()
        guids += self.accept(server, 2, 8)
        server.signal(signal.SIGKILL)
        server.wait_exit()
        self.assertEqual(6 * EACH, self.in_file())
        # The next one starts while the queue is still away, and takes deliveries.
        with self.spooling() as server:
            self.assertEqual(6 * EACH, server.metric(HELD))
            guids += self.accept(server, 8, 10)
            self.redis.start()
            server.wait_metric_is(0, ACTIVE)
        self.check_once_in_order(guids)

    def test_sigkill_between_the_put_and_its_deletion_delivers_at_least_once(self):
        gate = self.enter(Gate(self.folder, self.redis))
        server = self.spooling(enqueue_timeout="30s", queue_url=gate.url).start()
        guids = self.accept(server, 0, 6)
        gate.hold(b"guid-5")
        self.redis.start()
        gate.wait_held()
        # The drainer waits for Redis's answer to its put. Whoever holds the file's lock now keeps
        # it from deleting anything, whatever it does until it is killed.
        with contextlib.closing(sqlite3.connect(self.spool, timeout=harness.PATIENCE,
                                                isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            gate.release()
            self.redis.wait_deliveries(len(guids), LANE)
            server.signal(signal.SIGKILL)
            server.wait_exit()
            db.execute("ROLLBACK")
        self.assertEqual(6 * EACH, self.in_file())
        self.check_once_in_order(guids)
        with self.spooling() as server:
            server.wait_metric_is(0, ACTIVE)
            guids += self.accept(server, 6, 7)
        self.assertEqual(0, self.in_file())
        # Twice, since nobody had told the file; each time in order, and nothing is missing.
        self.assertEqual(guids[:6] + guids, self.redis.deliveries(LANE))

    def test_second_ingress_with_the_same_spool_is_refused(self):
        self.redis.start()
        with self.spooling() as first:
            folder = os.path.join(self.folder, "second")
            os.mkdir(folder)
            second = self.ingress(folder, queue_url=self.redis.url, spool={"path": self.spool})
            with self.assertRaisesRegex(AssertionError, "startup_failed"):
                second.start()
            self.assertEqual(1, second.process.wait(harness.PATIENCE))
            said = str(second.log[-2:])
            self.assertIn(f"process {first.process.pid} holds {self.spool}.lock", said)
            self.assertIn("ingress.spool.path", said)
            guids = self.accept(first, 0, 2)
            first.signal(signal.SIGKILL)
            first.wait_exit()
            # The lock ends with its process, however it ended.
            with second:
                guids += self.accept(second, 2, 3)
        self.check_once_in_order(guids)

    def test_start_while_the_queue_was_never_there(self):
        with self.spooling() as server:
            guids = self.accept(server, 0, 3)
            self.assertEqual(200, server.ready()[0])
            self.redis.start()
            server.wait_metric_is(0, ACTIVE)
            guids += self.accept(server, 3, 4)
        self.check_once_in_order(guids)

    def test_start_without_spool_and_queue_waits_for_the_queue(self):
        server = self.ingress(queue_url=self.redis.url)
        server.launch()
        server.wait_log("start_waits")
        self.redis.start()
        server.wait_log("started")
        server.stop()

    def test_stop_with_a_spool_keeps_it_for_the_next_start(self):
        with self.spooling() as server:
            guids = self.accept(server, 0, 3)
        self.assertEqual(3 * EACH, self.in_file())
        self.redis.start()
        with self.spooling() as server:
            server.wait_metric_is(0, ACTIVE)
        self.check_once_in_order(guids)

    def test_full_spool_is_answered_503_and_turns_red_before(self):
        with self.spooling(max_messages=4 * EACH, ready={"spool_not_ready_percent": 75}) as server:
            guids = self.accept(server, 0, 2)
            self.assertEqual(200, server.ready()[0])
            guids += self.accept(server, 2, 3)
            status, why = server.ready()
            self.assertEqual(503, status)
            self.assertIn("spool", why)
            guids += self.accept(server, 3, 4)
            answer = server.deliver(guid="guid-over")
            self.check(answer, 503, error="spool_full")
            self.assertEqual("10", answer.headers["retry-after"])
            self.assertEqual(EACH, server.metric(REFUSED))
            self.redis.start()
            server.wait_metric_is(0, ACTIVE)
            self.assertEqual(200, server.ready()[0])
            # The 503 is not remembered: its redelivery is taken.
            self.check(server.deliver(guid="guid-over"), 202)
        self.check_once_in_order(guids + ["guid-over"])

    def freeze_and_accept(self, **settings):
        """While Redis hangs, deliveries are spooled; then what hung arrives, and all of it once."""
        self.redis.start()
        with self.spooling(queue_url=self.patient_url, **settings) as server:
            guids = self.accept(server, 0, 1)
            self.redis.freeze()
            guids += self.accept(server, 1, 6)
            self.assertEqual(5 * EACH, server.metric(SPOOLED))
            self.assertEqual(5 * EACH, server.metric(HELD))
            self.redis.thaw()
            server.wait_metric_is(0, ACTIVE)
            guids += self.accept(server, 6, 7)
        self.check_once_in_order(guids)

    def test_stuck_put_is_handed_over_after_that_time_and_arrives_once(self):
        self.freeze_and_accept(enqueue_timeout="1m", after="200ms")

    def test_stuck_put_is_handed_over_at_its_deadline_and_arrives_once(self):
        self.freeze_and_accept(enqueue_timeout="200ms", after="1m")

    def test_flood_while_the_queue_hangs_gets_no_503(self):
        # The stuck put ends long after deliveries without a place are refused; half of the places are
        # taken long before.
        self.redis.start()
        places = {"max_in_flight": 128, "batch": 16, "admission_timeout": "5s"}
        with self.spooling(enqueue_timeout="1m", queue_url=self.patient_url, ready=places,
                           after="10s") as server:
            self.redis.freeze()
            process, _ = self.load(server, connections=256, requests=3000)
            self.assertEqual({"202": 3000}, self.finish(process)["status"])
            self.assertEqual(3000 * EACH, server.metric(SPOOLED))
            self.redis.thaw()
            server.wait_metric_is(0, ACTIVE)
        self.assertEqual(3000, self.redis.call("ZCARD", f"{QUEUE}:r:{LANE}"))

    def test_weak_durability_is_told_at_the_start(self):
        self.redis.start()
        self.redis.call("CONFIG", "SET", "appendonly", "no")
        with self.spooling() as server:
            self.accept(server, 0, 1)
        warnings = [line for line in server.log if line["msg"] == "store_durability_warning"]
        self.assertTrue(warnings)
        self.assertTrue(all(line["action"] and line["warning"] for line in warnings))


if __name__ == "__main__":
    harness.main()
