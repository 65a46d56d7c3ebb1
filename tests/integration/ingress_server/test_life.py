"""Deadlines, limits, duplicates, overload, drain, reload and TLS of the running program."""

import contextlib
import os
import random as random_module
import resource
import signal
import socket
import sqlite3
import ssl
import struct
import subprocess
import time
import unittest

import bodies
import harness

JOB = bodies.workflow_job()
CLOSED = "mayfly_ingress_connections_closed_total"
WAITED = "mayfly_ingress_admission_waits_total"


@contextlib.contextmanager
def stuck_queue(server):
    """Holds the queue's write lock, so that no put can finish."""
    db = sqlite3.connect(server.queue_path, timeout=harness.PATIENCE, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        db.execute("ROLLBACK")
        db.close()


def stand_in_line(server, peers):
    """Each sends a delivery, guid-0 and on; with a stuck queue and max_in_flight 1 the others wait."""
    for i, c in enumerate(peers):
        c.send(harness.request(JOB, guid=f"guid-{i}"))
        server.wait_metric(1, "mayfly_ingress_in_flight")
        server.wait_metric(i, WAITED)


class Deadlines(harness.TestCase):
    def drip(self, connection, data):
        """Sends a byte at a time until the server hangs up. Returns how many it took."""
        connection.socket.settimeout(0.02)
        for sent, byte in enumerate(data):
            try:
                connection.send(bytes([byte]))
                if connection.socket.recv(1) == b"":
                    return sent
            except socket.timeout:
                continue
            except (ConnectionResetError, BrokenPipeError):
                return sent
        self.fail("the connection outlived the whole request")

    def test_slow_head_is_closed_at_the_deadline(self):
        with self.ingress(request_timeout="500ms", idle_timeout="10m") as server:
            with server.connect() as c:
                head = b"POST /webhook HTTP/1.1\r\nX-Long: " + b"x" * 10000
                self.assertGreater(self.drip(c, head), 1)
            self.assertEqual(1, server.metric(CLOSED, reason="deadline"))

    def test_slow_body_is_closed_at_the_deadline(self):
        with self.ingress(request_timeout="500ms", idle_timeout="10m") as server:
            with server.connect() as c:
                head, _, body = harness.request(JOB).partition(b"\r\n\r\n")
                c.send(head + b"\r\n\r\n")
                self.assertGreater(self.drip(c, body), 1)
            self.assertEqual(1, server.metric(CLOSED, reason="deadline"))

    def test_deadline_counts_for_each_request_anew(self):
        with self.ingress(request_timeout="400ms", idle_timeout="10m") as server:
            with server.connect() as slow, server.connect() as c:
                slow.send(b"P")
                # The other connection's whole requests outlast the slow one's deadline.
                while server.metric(CLOSED, reason="deadline") == 0:
                    c.send(harness.request(JOB))
                    self.check(c.answer(), 202)
                self.assertEqual(b"", slow.wait_end())

    def test_idle_connections_are_closed(self):
        with self.ingress(request_timeout="10m", idle_timeout="300ms") as server:
            with server.connect() as fresh, server.connect() as used:
                used.send(harness.request(JOB))
                self.check(used.answer(), 202)
                self.assertEqual(b"", fresh.wait_end())
                self.assertEqual(b"", used.wait_end())
            self.assertEqual(2, server.metric(CLOSED, reason="idle"))
            self.assertEqual(0, server.metric("mayfly_ingress_connections"))

    def test_answers_that_are_not_read_are_given_up(self):
        with self.ingress(request_timeout="500ms", idle_timeout="10m", threads=1) as server:
            with server.connect() as c:
                c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
                c.socket.settimeout(0.05)
                many = harness.request(b"{}", event="push") * 500
                with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                    while server.metric(CLOSED, reason="deadline") == 0:
                        with contextlib.suppress(socket.timeout):
                            c.socket.send(many)
            self.assertEqual(1, server.metric(CLOSED, reason="deadline"))


class Limits(harness.TestCase):
    def test_connection_over_the_limit_waits_its_turn(self):
        """What is processed does not give way."""
        with self.ingress(max_connections=3, threads=1, enqueue_timeout="1m") as server:
            with contextlib.ExitStack() as stack:
                held = [stack.enter_context(server.connect()) for _ in range(3)]
                with stuck_queue(server):
                    for i, c in enumerate(held):
                        c.send(harness.request(JOB, guid=f"guid-{i}", Connection="close"))
                    server.wait_metric(3, "mayfly_ingress_in_flight")
                    late = stack.enter_context(server.connect())
                    late.send(harness.request(JOB))
                    server.wait_metric(1, "mayfly_ingress_accept_paused_total", reason="connections")
                for c in [*held, late]:
                    self.check(c.answer(), 202)

    def test_slow_requests_make_room_at_the_limit(self):
        """Who holds every place with requests that never end keeps nobody out."""
        with self.ingress(max_connections=8, threads=1, request_timeout="10m") as server:
            with contextlib.ExitStack() as stack:
                slow = [stack.enter_context(server.connect()) for _ in range(8)]
                for c in slow:
                    c.send(b"POST /webhook HTTP/1.1\r\nHost:")
                late = stack.enter_context(server.connect())
                late.send(harness.request(JOB))
                self.check(late.answer(), 202)
                self.assertEqual(b"", slow[0].wait_end())
            self.assertGreaterEqual(server.metric(CLOSED, reason="evicted_head"), 1)

    def test_heads_give_way_before_bodies_and_bodies_before_the_idle(self):
        head, _, body = harness.request(JOB).partition(b"\r\n\r\n")
        with self.ingress(max_connections=3, threads=1, request_timeout="10m") as server:
            with contextlib.ExitStack() as stack:
                idle, in_body, in_head = [stack.enter_context(server.connect()) for _ in range(3)]
                in_body.send(head + b"\r\n\r\n" + body[:-1])
                in_head.send(head)
                for victim in (in_head, in_body, idle):
                    late = stack.enter_context(server.connect())
                    late.send(harness.request(JOB))
                    self.check(late.answer(), 202)
                    self.assertEqual(b"", victim.wait_end())
            for kind in ("head", "body", "idle"):
                self.assertEqual(1, server.metric(CLOSED, reason=f"evicted_{kind}"))

    def test_unfinished_bodies_hold_bounded_memory(self):
        """Forty bodies of 1 MiB of which the last byte never comes, in 8 MiB."""
        head = (b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-GitHub-Event: workflow_job\r\n"
                b"X-Hub-Signature-256: sha256=" + 64 * b"0" + b"\r\nContent-Length: 1048576\r\n\r\n")
        with self.ingress(threads=1, max_unverified_memory="8MiB", request_timeout="10m") as server:
            with contextlib.ExitStack() as stack:
                held = []
                for _ in range(40):
                    c = stack.enter_context(server.connect())
                    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                        c.send(head + 1048575 * b"A")
                    held.append(c)
                # The rest was refused when it came, or gave way to what came later.
                server.wait_metric_at_most(8, "mayfly_ingress_connections")
                given_way = server.metric(CLOSED, reason="memory")
                refused = server.metric("mayfly_ingress_deliveries_total", status="503", reason="memory")
                self.assertGreaterEqual(given_way + refused, 32)
                late = stack.enter_context(server.connect())
                late.send(harness.request(bodies.encode(JOB, 200000)))
                self.check(late.answer(), 202)

    def test_without_descriptors_it_serves_on_and_accepts_again_later(self):
        with self.ingress(threads=1) as server, server.connect() as held, server.connect() as late:
            held.send(harness.request(JOB, guid="guid-before"))
            self.check(held.answer(), 202)
            server.wait_metric(2, "mayfly_ingress_connections")
            pid, limits = server.process.pid, resource.RLIMIT_NOFILE
            soft, hard = resource.prlimit(pid, limits)
            resource.prlimit(pid, limits, (1, hard))
            began = time.monotonic()
            with server.connect() as refused:
                refused.send(harness.request(JOB, guid="guid-after"))
                warning = server.wait_log("accept_paused")
                self.assertEqual("descriptors", warning["reason"])
                self.assertIn("LimitNOFILE", warning["hint"])
                for i in range(100):  # turns of the loop, which must not each try again
                    late.send(harness.request(JOB, guid=f"guid-{i}"))
                    self.check(late.answer(), 202)
                resource.prlimit(pid, limits, (soft, hard))
                self.check(refused.answer(), 202)
            took = time.monotonic() - began
            tried = server.metric("mayfly_ingress_accept_paused_total", reason="descriptors")
            self.assertGreaterEqual(tried, 1)
            self.assertLessEqual(tried, took / 0.1 + 1)
            server.stop()
            more = [line for line in server.log if line["msg"] == "accept_paused"]
            self.assertEqual([warning], more)


class Peers(harness.TestCase):
    def sent_by(self, client, header="X_Forwarded_For", **options):
        return harness.request(JOB, **{header: client}, **options)

    def test_peer_has_its_share_of_connections(self):
        """All of these come from one address, and the ones that do something stay."""
        with self.ingress(max_connections=64, max_peer_connections=2, threads=1, enqueue_timeout="1m",
                          request_timeout="10m") as server:
            with contextlib.ExitStack() as stack:
                with stuck_queue(server):
                    busy = [stack.enter_context(server.connect()) for _ in range(2)]
                    for i, c in enumerate(busy):
                        c.send(harness.request(JOB, guid=f"guid-{i}"))
                    server.wait_metric(2, "mayfly_ingress_in_flight")
                    with server.connect() as refused:
                        self.assertEqual(b"", refused.wait_end())
                    self.assertEqual(1, server.metric(CLOSED, reason="peer_connections"))
                for c in busy:
                    self.check(c.answer(), 202)
                # Now they are idle, and the one that is idle for longest gives way.
                time.sleep(1.1)
                self.check(server.deliver(), 202)
                self.assertEqual(1, server.metric(CLOSED, reason="evicted_idle"))

    def test_trusted_proxy_has_no_share_but_its_clients_have(self):
        slow = [self.sent_by("192.0.2.1, 127.0.0.2") for _ in range(2)]
        with self.ingress(max_peer_connections=2, trusted_proxies=["127.0.0.0/8"], threads=1) as server:
            with contextlib.ExitStack() as stack:
                idle = [stack.enter_context(server.connect()) for _ in range(8)]
                for c, data in zip(idle, slow):
                    c.send(data[:-1])
                server.wait_metric_is(1, "mayfly_ingress_peers")
                idle[2].send(self.sent_by("192.0.2.1"))
                self.check(idle[2].answer(), 503, error="client_share")
                # Others of the same proxy are served, and what a client writes itself is nothing.
                idle[3].send(self.sent_by("192.0.2.1, 192.0.2.2"))
                self.check(idle[3].answer(), 202)
                idle[4].send(self.sent_by("for=192.0.2.3", header="Forwarded"))
                self.check(idle[4].answer(), 202)
                # The client's share is given back with its requests.
                for c, data in zip(idle, slow):
                    c.send(data[-1:])
                    self.check(c.answer(), 202)
                server.wait_metric_is(0, "mayfly_ingress_peers")
                idle[5].send(self.sent_by("192.0.2.1"))
                self.check(idle[5].answer(), 202)

    def test_only_allowed_addresses_may_send(self):
        with self.ingress(allow_from=["192.0.2.0/24"], trusted_proxies=["127.0.0.1"]) as server:
            rows = [("192.0.2.7", 202, None), ("198.51.100.1", 403, "address"),
                    ("192.0.2.7, 198.51.100.1", 403, "address"), ("198.51.100.1, 192.0.2.7", 202, None)]
            for client, status, reason in rows:
                with self.subTest(client), server.connect() as c:
                    c.send(self.sent_by(client))
                    answer = c.answer()
                    self.assertEqual(status, answer.status)
                    if reason:
                        self.assertEqual({"error": reason}, answer.json())
            self.assertEqual("198.51.100.1", server.wait_log("sender_refused")["client"])
            with server.connect() as c:  # a load balancer's question needs no address
                c.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                self.check(c.answer(), 200)

    def test_peer_that_is_no_proxy_names_nobody(self):
        with self.ingress(allow_from=["192.0.2.0/24"]) as server, server.connect() as c:
            c.send(self.sent_by("192.0.2.7"))
            self.check(c.answer(), 403, error="address")

    def test_peer_has_its_share_of_memory(self):
        """Its own older bodies give way, nobody else's, and a small delivery needs none."""
        head = harness.request(bodies.encode(JOB, 900000)).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        with self.ingress(max_unverified_memory="16MiB", max_peer_unverified_memory="2MiB", threads=1,
                          request_timeout="10m") as server:
            with contextlib.ExitStack() as stack:
                for _ in range(6):
                    c = stack.enter_context(server.connect())
                    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                        c.send(head + 899000 * b"A")
                server.wait_metric_at_most(2, "mayfly_ingress_connections")
                self.assertLessEqual(server.metric("mayfly_ingress_unverified_bytes"), 2 << 20)
                self.check(server.deliver(), 202)
            server.wait_metric_is(0, "mayfly_ingress_unverified_bytes")


class Duplicates(harness.TestCase):
    def test_delivery_seen_before_is_answered_and_not_queued_again(self):
        with self.ingress() as server:
            self.check(server.deliver(guid="guid-1"), 202, queued=True)
            self.check(server.deliver(guid="guid-1"), 200, duplicate=True)
            self.check(server.deliver(guid="guid-2"), 202, queued=True)
            self.assertEqual({"guid-1": 2, "guid-2": 2},
                             {guid: len(found) for guid, found in server.queued().items()})

    def test_oldest_is_forgotten_first(self):
        with self.ingress(dedupe_cache_size=2) as server:
            for guid in ["guid-1", "guid-2", "guid-3", "guid-1"]:
                self.check(server.deliver(guid=guid), 202)
            self.check(server.deliver(guid="guid-1"), 200, duplicate=True)

    def test_other_secrets_delivery_is_not_remembered(self):
        with self.ingress() as server:
            self.check(server.deliver(guid="guid-1", secret="another secret"), 401)
            self.check(server.deliver(guid="guid-1"), 202)


class Overload(harness.TestCase):
    def test_stuck_queue_is_answered_503_and_delivered_later(self):
        with self.ingress(enqueue_timeout="300ms") as server:
            with stuck_queue(server):
                answer = server.deliver(guid="guid-1")
                self.check(answer, 503, error="queue_slow")
                self.assertEqual("10", answer.headers["retry-after"])
            # Its put may have gone through after all; then it is known, and never there twice.
            self.assertIn(server.deliver(guid="guid-1").status, (200, 202))
            server.wait_metric_is(0, "mayfly_ingress_in_flight")
            self.assertIn("guid-1", server.queued())

    def test_deliveries_over_the_bound_are_refused(self):
        with self.ingress(max_in_flight=2, admission_timeout="0s", threads=1,
                          enqueue_timeout="1m") as server:
            with contextlib.ExitStack() as stack:
                waiting = [stack.enter_context(server.connect()) for _ in range(2)]
                with stuck_queue(server):
                    for i, c in enumerate(waiting):
                        c.send(harness.request(JOB, guid=f"guid-{i}"))
                    server.wait_metric(2, "mayfly_ingress_in_flight")
                    answer = server.deliver(guid="guid-over")
                    self.check(answer, 503, error="overloaded")
                    self.assertEqual("10", answer.headers["retry-after"])
                    self.assertEqual((503, True), (server.ready()[0], "intake" in server.ready()[1]))
                for c in waiting:
                    self.check(c.answer(), 202, queued=True)
            self.assertEqual(1, server.metric("mayfly_ingress_deliveries_total", status="503",
                                              reason="overloaded"))
            self.assertEqual(2, server.metric("mayfly_ingress_accept_seconds_count"))
            self.assertEqual({"guid-0", "guid-1"}, set(server.queued()))

    def test_flood_leaves_the_polite_their_turn(self):
        """One place in all: three connections send 20 deliveries ahead each, a fourth sends one."""
        with self.ingress(max_in_flight=1, admission_timeout="1m", threads=1,
                          enqueue_timeout="1m") as server, contextlib.ExitStack() as stack:
            floods = {name: [f"{name}-{i}" for i in range(20)] for name in ["a", "b", "c"]}
            flooding = []
            with stuck_queue(server):
                for waited, guids in enumerate(floods.values()):
                    flooding.append(stack.enter_context(server.connect()))
                    flooding[-1].send(b"".join(harness.request(JOB, guid=g) for g in guids))
                    server.wait_metric(1, "mayfly_ingress_in_flight")
                    server.wait_metric(waited, WAITED)
                polite = stack.enter_context(server.connect())
                polite.send(harness.request(JOB, guid="polite"))
                server.wait_metric(3, WAITED)
                # However much lies before the door, the queue is asked for one at a time.
                self.assertEqual(1, server.metric("mayfly_ingress_in_flight"))
            self.check(polite.answer(), 202, queued=True)
            for c in flooding:
                for _ in range(20):
                    self.check(c.answer(), 202, queued=True)
            order = list(server.queued())
            self.assertEqual(["a-0", "b-0", "c-0", "polite"], order[:4])
            for guids in floods.values():
                self.assertEqual(guids, [guid for guid in order if guid in guids])

    def test_place_in_flight_that_never_comes_is_answered_503(self):
        with self.ingress(max_in_flight=1, admission_timeout="200ms", threads=1,
                          enqueue_timeout="1m") as server, server.connect() as first:
            with stuck_queue(server):
                first.send(harness.request(JOB, guid="guid-first"))
                server.wait_metric(1, "mayfly_ingress_in_flight")
                answer = server.deliver(guid="guid-over")
                self.check(answer, 503, error="overloaded")
                self.assertEqual("10", answer.headers["retry-after"])
            self.check(first.answer(), 202, queued=True)
            # The 503 is not remembered: its redelivery is taken.
            self.check(server.deliver(guid="guid-over"), 202, queued=True)

    def test_peers_that_leave_the_line_keep_their_turn(self):
        with self.ingress(max_in_flight=1, admission_timeout="1m", threads=1,
                          enqueue_timeout="1m") as server, server.connect() as first:
            with stuck_queue(server):
                first.send(harness.request(JOB, guid="guid-first"))
                server.wait_metric(1, "mayfly_ingress_in_flight")
                for i in range(20):
                    with server.connect() as c:
                        c.send(harness.request(JOB, guid=f"guid-gone-{i}"))
                        server.wait_metric(i + 1, WAITED)
                last = server.connect()
                last.send(harness.request(JOB, guid="guid-last"))
                server.wait_metric(21, WAITED)
            with last:
                self.check(last.answer(), 202, queued=True)
            self.check(first.answer(), 202, queued=True)
            server.wait_metric_is(0, "mayfly_ingress_in_flight")
            # They are not read from before their answers, so that each keeps its connection and its
            # turn: the line is no longer than there are connections.
            gone = [f"guid-gone-{i}" for i in range(20)]
            self.assertEqual(["guid-first", *gone, "guid-last"], list(server.queued()))

    def test_drain_that_ends_before_the_line_does_refuses_the_line(self):
        with self.ingress(max_in_flight=1, admission_timeout="1m", threads=1, drain_timeout="1s",
                          enqueue_timeout="1m") as server, contextlib.ExitStack() as stack:
            peers = [stack.enter_context(server.connect()) for _ in range(3)]
            with stuck_queue(server):
                stand_in_line(server, peers)
                server.signal(signal.SIGTERM)
                for c in peers:
                    self.assertIsNone(c.answer())
            self.assertEqual(0, server.wait_exit())
            self.assertEqual(["guid-0"], list(server.queued()))

    def test_sigterm_answers_the_line(self):
        with self.ingress(max_in_flight=1, admission_timeout="1m", threads=1,
                          enqueue_timeout="1m") as server, contextlib.ExitStack() as stack:
            peers = [stack.enter_context(server.connect()) for _ in range(3)]
            with stuck_queue(server):
                stand_in_line(server, peers)
                server.signal(signal.SIGTERM)
                server.wait_log("stopping")
            for c in peers:
                self.check(c.answer(), 202, queued=True)
            self.assertEqual(0, server.wait_exit())
            self.assertEqual(["guid-0", "guid-1", "guid-2"], list(server.queued()))

    def test_peer_that_leaves_while_its_delivery_commits_loses_nothing(self):
        with self.ingress() as server:
            with stuck_queue(server):
                with server.connect() as c:
                    c.send(harness.request(JOB, guid="guid-gone"))
                    server.wait_metric(1, "mayfly_ingress_in_flight")
            self.check(server.deliver(guid="guid-next"), 202)
            server.wait_metric_is(0, "mayfly_ingress_in_flight")
            self.assertEqual({"guid-gone", "guid-next"}, set(server.queued()))


class Drain(harness.TestCase):
    def test_sigterm_answers_what_is_under_way_and_ends(self):
        with self.ingress() as server:
            with server.connect() as idle, server.connect() as busy:
                idle.send(harness.request(JOB))
                self.check(idle.answer(), 202)
                data = harness.request(JOB, guid="guid-late")
                busy.send(data[:3000])
                server.wait_metric(2, "mayfly_ingress_connections")
                server.signal(signal.SIGTERM)
                self.assertEqual(b"", idle.wait_end())
                busy.send(data[3000:])
                answer = busy.answer()
                self.check(answer, 202, queued=True)
                self.assertEqual("close", answer.headers["connection"])
                self.assertEqual(b"", busy.wait_end())
            self.assertEqual(0, server.wait_exit())
            self.assertIn("guid-late", server.queued())
            with self.assertRaises(ConnectionRefusedError):
                server.connect()

    def test_sigterm_waits_for_the_queue(self):
        with self.ingress() as server:
            with server.connect() as c:
                with stuck_queue(server):
                    c.send(harness.request(JOB, guid="guid-stuck"))
                    server.wait_metric(1, "mayfly_ingress_in_flight")
                    server.signal(signal.SIGTERM)
                    server.wait_log("stopping")
                self.check(c.answer(), 202, queued=True)
            self.assertEqual(0, server.wait_exit())
            self.assertIn("guid-stuck", server.queued())

    def test_request_that_never_ends_is_cut_off_in_time(self):
        with self.ingress(drain_timeout="1s", request_timeout="10m") as server:
            with server.connect() as c:
                c.send(harness.request(JOB)[:-1])
                server.wait_metric(1, "mayfly_ingress_connections")
                server.signal(signal.SIGTERM)
                self.assertEqual(b"", c.wait_end())
            self.assertEqual(0, server.wait_exit())

    def test_second_sigterm_ends_at_once(self):
        with self.ingress(drain_timeout="10m", request_timeout="10m") as server:
            with server.connect() as c:
                c.send(harness.request(JOB)[:-1])
                server.wait_metric(1, "mayfly_ingress_connections")
                server.signal(signal.SIGTERM)
                server.wait_log("stopping")
                server.signal(signal.SIGTERM)
                self.assertEqual(1, server.wait_exit())


class Reload(harness.TestCase):
    def reload(self, server, **changes):
        server.write_config(**changes)
        server.signal(signal.SIGHUP)

    def test_secrets_are_rotated_without_a_gap(self):
        with self.ingress(secrets=["the old secret"]) as server:
            self.check(server.deliver(secret="the old secret"), 202)
            self.check(server.deliver(secret="the new secret"), 401)
            self.reload(server, secrets=["the new secret", "the old secret"], retry_after="3s")
            server.wait_log("config_reloaded")
            self.check(server.deliver(secret="the old secret"), 202)
            self.check(server.deliver(secret="the new secret"), 202)
            self.reload(server, secrets=["the new secret"])
            server.wait_log("config_reloaded")
            self.check(server.deliver(secret="the old secret"), 401)
            self.check(server.deliver(secret="the new secret"), 202)

    def test_bad_configuration_changes_nothing(self):
        with self.ingress() as server:
            with open(server.config_path, "w", encoding="utf-8") as f:
                f.write("queue: [")
            server.signal(signal.SIGHUP)
            server.wait_log("config_reload_failed")
            self.check(server.deliver(), 202)


class Tls(harness.TestCase):
    def certificate(self, name):
        """A new one in the test's folder; returns its serial number."""
        self.pem = os.path.join(self.folder, "cert.pem")
        self.key = os.path.join(self.folder, "key.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}", "-days", "2",
                        "-addext", "subjectAltName=DNS:localhost", "-keyout", self.key, "-out",
                        self.pem], check=True, capture_output=True)

    def server(self, **settings):
        self.certificate("first")
        return self.ingress(tls={"certificate": self.pem, "key": self.key}, **settings)

    def client(self):
        context = ssl.create_default_context(cafile=self.pem)
        context.set_alpn_protocols(["h2", "http/1.1"])
        return context

    def test_deliveries_over_tls_are_accepted(self):
        with self.server() as server:
            for version in [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]:
                context = self.client()
                context.maximum_version = version
                with harness.Connection(server.port, context) as c:
                    self.assertEqual("http/1.1", c.socket.selected_alpn_protocol())
                    for size in [0, 40000]:
                        c.send(harness.request(bodies.encode(JOB, size)))
                        self.check(c.answer(), 202, queued=True)

    def test_many_connections_over_tls_are_accepted(self):
        with self.server() as server, contextlib.ExitStack() as stack:
            context = self.client()
            for _ in range(50):
                c = stack.enter_context(harness.Connection(server.port, context))
                c.send(harness.request(JOB))
                self.check(c.answer(), 202, queued=True)
            self.assertEqual(50, len(server.queued()))

    def test_what_speaks_no_tls_is_closed(self):
        with self.server() as server, server.connect() as c:
            c.send(harness.request(JOB))
            self.assertNotIn(b"202", c.wait_end())

    def test_silent_handshake_is_closed(self):
        with self.server(idle_timeout="300ms") as server, server.connect() as c:
            self.assertEqual(b"", c.wait_end())
            self.assertEqual(1, server.metric(CLOSED, reason="idle"))

    def test_slow_request_over_tls_is_closed(self):
        with self.server(request_timeout="300ms") as server:
            with harness.Connection(server.port, self.client()) as c:
                c.send(harness.request(JOB)[:-1])
                self.assertEqual(b"", c.wait_end())
            self.assertEqual(1, server.metric(CLOSED, reason="deadline"))

    def test_sigterm_drains_over_tls(self):
        with self.server() as server:
            with harness.Connection(server.port, self.client()) as c:
                data = harness.request(JOB)
                c.send(data[:3000])
                server.wait_metric(1, "mayfly_ingress_connections")
                server.signal(signal.SIGTERM)
                server.wait_log("stopping")
                c.send(data[3000:])
                self.check(c.answer(), 202, queued=True)
            self.assertEqual(0, server.wait_exit())

    def test_renewed_certificate_is_used_after_sighup(self):
        with self.server() as server:
            self.certificate("second")
            server.signal(signal.SIGHUP)
            server.wait_log("certificate_reloaded")
            with harness.Connection(server.port, self.client()) as c:
                c.send(harness.request(JOB))
                self.check(c.answer(), 202, queued=True)
                self.assertIn((("commonName", "second"),), c.socket.getpeercert()["subject"])


class Damage(harness.TestCase):
    def damaged(self, random):
        """A request, or several, with bytes changed, dropped, doubled or cut off."""
        data = bytearray(harness.request(JOB) * random.choice([1, 1, 2]))
        for _ in range(random.choice([0, 1, 3, 20])):
            at = random.randrange(max(1, min(len(data), random.choice([60, 600, len(data)]))))
            change = random.choice(["flip", "drop", "double", "cut"])
            if change == "flip":
                data[at:at + 1] = bytes([random.randrange(256)])
            elif change == "drop":
                del data[at:at + random.randrange(1, 9)]
            elif change == "double":
                data[at:at] = data[at:at + random.randrange(1, 99)]
            else:
                del data[max(at, 1):]
        return bytes(data) or b"x"

    def test_damaged_requests_and_rude_peers_do_no_harm(self):
        random = random_module.Random(20261120)
        with self.ingress(request_timeout="2s") as server:
            for _ in range(400):
                with server.connect() as c, contextlib.suppress(OSError):
                    data = self.damaged(random)
                    middle = random.randrange(len(data))
                    c.send(data[:middle])
                    c.send(data[middle:])
                    leave = random.choice(["at once", "reset", "half", "half"])
                    if leave == "reset":
                        linger = struct.pack("ii", 1, 0)
                        c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    elif leave == "half":
                        c.socket.shutdown(socket.SHUT_WR)
                        c.wait_end()
            self.check(server.deliver(), 202, queued=True)
            self.assertEqual(0, server.metric("mayfly_ingress_in_flight"))


class Program(harness.TestCase):
    def run_program(self, *arguments):
        return subprocess.run([harness.PROGRAM, *arguments], capture_output=True, text=True,
                              timeout=harness.PATIENCE, check=False)

    def test_version_help_and_check_config(self):
        self.assertIn("mayfly-ingress", self.run_program("--version").stdout)
        self.assertIn("--config", self.run_program("--help").stdout)
        server = self.ingress()
        self.assertEqual(0, self.run_program("--config", server.config_path, "--check-config").returncode)
        self.assertEqual(1, self.run_program("--config", "/nowhere").returncode)

    def test_port_that_is_taken_is_a_clear_error(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            server = self.ingress(listen="127.0.0.1:%d" % taken.getsockname()[1])
            run = self.run_program("--config", server.config_path)
        self.assertEqual(1, run.returncode)
        self.assertIn("ingress.listen", run.stderr)

    def test_readiness_follows_the_queue_and_health_is_there(self):
        import urllib.request
        with self.ingress() as server:
            for page in ["healthz", "readyz"]:
                with urllib.request.urlopen(f"http://127.0.0.1:{server.admin_port}/{page}") as answer:
                    self.assertEqual(200, answer.status)


if __name__ == "__main__":
    harness.main()
