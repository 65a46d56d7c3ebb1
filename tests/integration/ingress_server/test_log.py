"""A reader of the log that stops reading: nothing but the log waits for it."""

import fcntl
import json
import os
import signal

import bodies
import harness

JOB = bodies.workflow_job()
RING_BYTES = 1 << 20


class StuckReader(harness.TestCase):
    def setUp(self):
        super().setUp()
        self.server = harness.Ingress(self.folder, threads=2)
        self.server.write_config((harness.SECRET,), log_level="debug")
        self.reading, writing = os.pipe()
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
        self.process = harness.spawn([harness.PROGRAM, "--config", self.server.config_path],
                                     stderr=writing)
        self.server.process = self.process
        os.close(writing)
        self.addCleanup(os.close, self.reading)
        self.addCleanup(self.server.kill)
        self.text = b""
        while b'"msg":"started"' not in self.text:
            self.text += os.read(self.reading, 4096)
        started = next(line for line in self.whole_lines() if line["msg"] == "started")
        self.server.port, self.server.admin_port = started["port"], started["admin_port"]

    def whole_lines(self):
        return [json.loads(line) for line in self.text.split(b"\n")[:-1]]

    def deliver_more_than_the_ring_holds(self):
        """Each delivery of an unknown event leaves a line of debug of some 800 bytes."""
        push = harness.request(b"{}", event="x" * 600)
        with self.server.connect() as c:
            while self.server.metric("mayfly_log_lines_dropped_total") < 100:
                for _ in range(200):
                    c.send(push)
                    self.check(c.answer(), 200)

    def read_the_rest(self):
        while more := os.read(self.reading, 65536):
            self.text += more

    def test_deliveries_readiness_and_sigterm_go_on_and_the_lines_are_whole(self):
        self.deliver_more_than_the_ring_holds()
        self.check(self.server.deliver(JOB, guid="guid-stuck"), 202, queued=True)
        self.assertIn("guid-stuck", self.server.queued())
        self.assertEqual(200, self.server.ready()[0])
        dropped = self.server.metric("mayfly_log_lines_dropped_total")
        while b'"msg":"log_lines_dropped"' not in self.text[-65536:]:
            self.text += os.read(self.reading, 4096)
        self.server.signal(signal.SIGTERM)
        self.read_the_rest()
        self.assertEqual(0, self.process.wait(harness.PATIENCE))
        self.assertTrue(self.text.endswith(b"}\n"))
        self.assertGreater(len(self.text), RING_BYTES)
        lines = self.whole_lines()
        said = sum(line["lines"] for line in lines if line["msg"] == "log_lines_dropped")
        self.assertGreaterEqual(said, dropped)
        self.assertEqual("stopped", lines[-1]["msg"])

    def test_sigterm_ends_a_program_whose_log_nobody_reads(self):
        self.deliver_more_than_the_ring_holds()
        self.server.signal(signal.SIGTERM)
        self.assertEqual(0, self.process.wait(harness.PATIENCE))
        self.read_the_rest()
        self.assertEqual(len(self.text.split(b"\n")) - 1, len(self.whole_lines()))
        self.assertTrue(self.text.endswith(b"}\n"))


if __name__ == "__main__":
    harness.main()
