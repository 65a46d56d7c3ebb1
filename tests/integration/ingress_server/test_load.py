"""Many deliveries at once, and SIGKILL in the middle of them: every 202 is on the queue once."""

import os
import signal

import harness

MESSAGES = ("events", "launch.small")  # of a queued job


def lanes(messages):
    return tuple(sorted(lane for lane, _ in messages))


class Load(harness.TestCase):
    def read(self, acked):
        with open(acked, encoding="utf-8") as f:
            return f.read().split()

    def test_10000_at_once_over_1000_connections_are_all_queued_once(self):
        with self.ingress() as server:
            process, acked = self.load(server, connections=1000, requests=10000)
            result = self.finish(process)
            self.assertEqual({"202": 10000}, result["status"], result)
            self.assertEqual(0, result["failed"])
            queued = server.queued()
            self.assertEqual(set(self.read(acked)), set(queued))
            self.assertEqual(10000, len(queued))
            self.assertEqual({MESSAGES}, {lanes(found) for found in queued.values()})

    def test_killed_in_the_middle_loses_no_202(self):
        acked = []
        for accepted in [1, 500, 2000]:
            with self.subTest(killed_after=accepted):
                server = self.ingress().start()
                process, path = self.load(server, connections=64, seconds=60)
                server.wait_metric(accepted, "mayfly_ingress_deliveries_total", status="202")
                server.signal(signal.SIGKILL)
                server.wait_exit()
                self.finish(process)
                acked += self.read(path)
                os.remove(path)
                # The next round of the loop starts on the same file.
        # The server may have counted a few answers that were still on their way when it died.
        self.assertGreater(len(acked), 1000)
        queued = self.ingress().queued()
        self.assertEqual([], [guid for guid in acked if lanes(queued.get(guid, [])) != MESSAGES])
        with self.ingress() as server:
            self.check(server.deliver(), 202)

    def test_sigterm_under_load_loses_no_202(self):
        server = self.ingress().start()
        process, path = self.load(server, connections=64, seconds=60)
        server.wait_metric(1000, "mayfly_ingress_deliveries_total", status="202")
        server.stop()
        self.finish(process)
        acked = self.read(path)
        queued = server.queued()
        self.assertGreaterEqual(len(acked), 1000)
        self.assertEqual(set(acked), set(queued))
        self.assertEqual({MESSAGES}, {lanes(found) for found in queued.values()})


if __name__ == "__main__":
    harness.main()
