"""Every answer of the ingress, to good deliveries and to every kind of bad input."""

import unittest
import urllib.parse

import bodies
import harness

JOB = bodies.workflow_job()
TEXT = bodies.encode(JOB)


def chunked(text, size=1000):
    parts = [text[i:i + size] for i in range(0, len(text), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\n"


class Answers(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        import tempfile
        cls.shared = tempfile.TemporaryDirectory(prefix="mayfly-ingress-")
        cls.server = harness.Ingress(cls.shared.name, max_body_size="64KiB", max_header_size="4KiB")
        cls.addClassCleanup(cls.shared.cleanup)
        cls.addClassCleanup(cls.server.kill)
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def one(self, data):
        """The only answer to these bytes on a connection of their own."""
        with self.server.connect() as c:
            c.send(data)
            return c.answer()

    # --- load balancers -----------------------------------------------------------------------

    def test_health_is_answered_without_signature(self):
        self.check(self.one(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"), 200, healthy=True)
        self.check(self.one(b"GET /healthz?from=alb HTTP/1.0\r\n\r\n"), 200, healthy=True)
        # Nothing else is answered there.
        self.check(self.one(harness.request(JOB, path="/healthz")), 404, error="other_path")

    def test_connection_is_not_reused_after_a_health_question_with_a_body(self):
        with self.server.connect() as c:
            c.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
            self.check(c.answer(), 200, healthy=True)
            self.assertEqual(b"", c.wait_end())

    # --- what is accepted ---------------------------------------------------------------------

    def test_queued_job_is_accepted_and_on_its_lane(self):
        answer = self.one(harness.request(JOB, guid="guid-queued"))
        self.check(answer, 202, queued=True)
        self.assertEqual("application/json", answer.headers["content-type"])
        messages = self.server.queued()["guid-queued"]
        self.assertEqual(["events", "launch.small"], sorted(lane for lane, _ in messages))
        for _, record in messages:
            self.assertEqual(100520616165, record["job"])
            self.assertEqual("octo-org/octo-repo", record["repository"])

    def test_facts_about_jobs_are_accepted_and_on_the_events_lane(self):
        facts = {
            "guid-held": bodies.workflow_job("queued", status="waiting"),
            "guid-waiting": bodies.workflow_job("waiting"),
            "guid-running": bodies.workflow_job("in_progress", runner_id=3, runner_name="mayfly-1"),
            "guid-done": bodies.workflow_job("completed", conclusion="cancelled", runner_id=0),
        }
        for guid, delivery in facts.items():
            with self.subTest(guid):
                self.check(self.one(harness.request(delivery, guid=guid)), 202, queued=True)
                self.assertEqual(["events"], [lane for lane, _ in self.server.queued()[guid]])

    def test_ways_to_send_a_good_body_are_accepted(self):
        form = b"a=b&payload=" + urllib.parse.quote(TEXT).encode() + b"&c"
        form_type = "application/x-www-form-urlencoded"
        ways = {
            "form": harness.request(form, content_type=form_type),
            "form with parameters": harness.request(form, content_type=form_type + "; charset=utf-8"),
            "json with parameters": harness.request(JOB, content_type="Application/JSON;charset=utf-8"),
            "query in the path": harness.request(JOB, path="/webhook?x=1"),
            "HTTP/1.0": harness.request(JOB, version="1.0"),
            "chunked": harness.request(JOB, body=chunked(TEXT) + b"\r\n", drop=["Content-Length"],
                                       Transfer_Encoding="chunked"),
            "two lengths alike": harness.request(JOB).replace(
                b"Host:", b"Content-Length: %d\r\nHost:" % len(TEXT)),
            "two slashes before the path": harness.request(JOB, path="//webhook"),
            "a slash behind the path": harness.request(JOB, path="/webhook/?x=1"),
            "empty lines before": b"\r\n\r\n" + harness.request(JOB),
            "chunked with an extension": harness.request(
                JOB, body=chunked(TEXT).replace(b"\r\n", b";name=value\r\n", 1) + b"\r\n",
                drop=["Content-Length"], Transfer_Encoding="Chunked"),
            "chunked with a trailer": harness.request(
                JOB, body=chunked(TEXT) + b"X-Other: 1\r\n\r\n", drop=["Content-Length"],
                Transfer_Encoding="chunked"),
        }
        for name, data in ways.items():
            with self.subTest(name):
                self.check(self.one(data), 202, queued=True)

    def test_expect_100_continue_is_told_to_continue(self):
        head, _, body = harness.request(JOB, Expect="100-continue").partition(b"\r\n\r\n")
        with self.server.connect() as c:
            c.send(head + b"\r\n\r\n")
            self.check(c.answer(), 100)
            c.send(body)
            self.check(c.answer(), 202, queued=True)

    def test_keep_alive_serves_many(self):
        with self.server.connect() as c:
            for _ in range(5):
                c.send(harness.request(JOB))
                self.check(c.answer(), 202, queued=True)

    def test_pipelined_requests_are_answered_in_order(self):
        push = harness.request(b"{}", event="push")
        with self.server.connect() as c:
            c.send(push + harness.request(JOB) + push)
            self.check(c.answer(), 200, ignored="event_unsupported")
            self.check(c.answer(), 202, queued=True)
            self.check(c.answer(), 200, ignored="event_unsupported")

    def test_request_in_single_bytes_is_accepted(self):
        data = harness.request(JOB)
        with self.server.connect() as c:
            for i in range(700):
                c.send(data[i:i + 1])
            c.send(data[700:])
            self.check(c.answer(), 202, queued=True)

    def test_half_closed_connection_is_still_answered(self):
        import socket
        with self.server.connect() as c:
            c.send(harness.request(JOB))
            c.socket.shutdown(socket.SHUT_WR)
            self.check(c.answer(), 202, queued=True)
            self.assertEqual(b"", c.wait_end())

    # --- what is understood and not for us ------------------------------------------------------

    def test_what_is_not_for_us_is_ignored_with_its_reason(self):
        other = bodies.workflow_job()
        cases = {
            "ping": harness.request(b'{"zen":"x"}', event="ping"),
            "event_unsupported": harness.request(b"{}", event="workflow_run"),
            "labels_not_matched": harness.request(bodies.workflow_job(labels=["ubuntu-latest"])),
            "no_labels": harness.request(bodies.workflow_job(labels=[])),
            "action_unknown": harness.request({**other, "action": "sneezed"}),
            "job_null": harness.request({"action": "queued", "workflow_job": None}),
        }
        for reason, data in cases.items():
            with self.subTest(reason):
                self.check(self.one(data), 200, ignored=reason)

    def test_null_job_is_logged(self):
        self.check(self.one(harness.request({"action": "queued", "workflow_job": None}, guid="guid-null")),
                   200, ignored="job_null")
        while (line := self.server.wait_log("delivery_unexpected"))["delivery_id"] != "guid-null":
            pass
        self.assertEqual("warn", line["level"])

    def test_ignored_job_is_logged_with_the_nearest_class_and_counted(self):
        count = lambda reason: self.server.metric("mayfly_jobs_unrouted_total", reason=reason)
        before = {reason: count(reason) for reason in ("label_unknown", "label_not_carried", "labels_in_one")}
        rows = {
            "guid-typo": (["self-hosted", "linux", "x46"], "label_unknown", "small", "x46"),
            "guid-lacks": (["linux"], "label_not_carried", "small", "self-hosted"),
            "guid-list": (["self-hosted, linux"], "labels_in_one", "", '"self-hosted, linux"'),
        }
        for guid, (labels, reason, nearest, label) in rows.items():
            with self.subTest(guid):
                self.check(self.one(harness.request(bodies.workflow_job(labels=labels), guid=guid)), 200)
                while (line := self.server.wait_log("job_ignored"))["delivery_id"] != guid:
                    pass
                self.assertEqual("info", line["level"])
                self.assertEqual(100520616165, line["job_id"])
                self.assertEqual("octo-org/octo-repo", line["repository"])
                self.assertEqual(",".join(labels), line["labels"].strip('"'))
                self.assertEqual((nearest, label), (line["nearest_class"], line["label"]))
                self.assertIn(label, line["hint"])
                self.assertEqual(before[reason] + 1, count(reason))
        # The end of such a job is not counted again.
        self.one(harness.request(bodies.workflow_job("in_progress", labels=["linux"])))
        self.assertEqual(before["label_not_carried"] + 1, count("label_not_carried"))

    # --- what is refused -------------------------------------------------------------------------

    def test_bad_input_is_refused(self):
        """Each row: the bytes, the status, the reason."""
        good = harness.request(JOB)
        deep = b'{"action":' + b"[" * 100 + b"]" * 100 + b"}"
        twice = b'{"action":"queued",' + TEXT[1:]
        long_header = harness.request(JOB, X_Long="x" * 8000)
        many_headers = harness.request(JOB, **{f"X_{i}": "x" * 60 for i in range(100)})
        rows = [
            ("other secret", harness.request(JOB, secret="another secret"), 401, "bad_signature"),
            ("changed body", harness.request(JOB, body=TEXT[:-1] + b" "), 401, "bad_signature"),
            ("no signature", harness.request(JOB, drop=["X-Hub-Signature-256"]), 401, "no_signature"),
            ("sha1 only", harness.request(JOB, drop=["X-Hub-Signature-256"],
                                          X_Hub_Signature="sha1=" + "0" * 40), 401, "no_signature"),
            ("empty signature", harness.request(JOB, X_Hub_Signature_256=""), 401, "no_signature"),
            ("short signature", harness.request(JOB, X_Hub_Signature_256="sha256=00"), 401,
             "bad_signature"),
            ("signature as a trailer only",
             harness.request(JOB, body=chunked(TEXT) + b"X-Hub-Signature-256: "
                             + harness.sign(TEXT).encode() + b"\r\n\r\n",
                             drop=["Content-Length", "X-Hub-Signature-256"],
                             Transfer_Encoding="chunked"), 401, "no_signature"),
            ("no JSON", harness.request(b"hello"), 400, "not_json"),
            ("empty body", harness.request(b""), 400, "not_json"),
            ("cut JSON", harness.request(TEXT[:-1]), 400, "not_json"),
            ("JSON and more", harness.request(TEXT + b"{}"), 400, "not_json"),
            ("no UTF-8", harness.request(TEXT.replace(b"octocat", b"octo\xff")), 400, "not_json"),
            ("nested too deep", harness.request(deep), 400, "too_deep"),
            ("member twice", harness.request(twice), 400, "duplicate_member"),
            ("job without an id", harness.request(bodies.workflow_job(job=None)), 400, "no_job_id"),
            ("form without a payload", harness.request(
                b"a=b", content_type="application/x-www-form-urlencoded"), 400, "bad_form"),
            ("no event", harness.request(JOB, drop=["X-GitHub-Event"]), 400, "no_event"),
            ("no delivery id", harness.request(JOB, drop=["X-GitHub-Delivery"]), 400,
             "bad_delivery_id"),
            ("odd delivery id", harness.request(JOB, guid="a/b"), 400, "bad_delivery_id"),
            ("other path", harness.request(JOB, path="/"), 404, "other_path"),
            ("path with more", harness.request(JOB, path="/webhook/x"), 404, "other_path"),
            ("path behind another", harness.request(JOB, path="/x//webhook"), 404, "other_path"),
            ("no length", harness.request(JOB, body=b"", drop=["Content-Length"]), 411, "no_length"),
            ("other content type", harness.request(JOB, content_type="text/plain"), 415,
             "content_type"),
            ("no content type", harness.request(JOB, drop=["Content-Type"]), 415, "content_type"),
            ("NUL in a header", good.replace(b"Hookshot", b"Hook\0shot"), 400, "bad_request"),
            ("length with a plus", harness.request(JOB, Content_Length="+%d" % len(TEXT)), 400,
             "bad_request"),
            ("negative length", harness.request(JOB, Content_Length="-1"), 400, "bad_request"),
            ("length in hex", harness.request(JOB, Content_Length="0x10"), 400,
             "bad_request"),
            ("two lengths that differ", good.replace(
                b"Host:", b"Content-Length: 1\r\nHost:"), 400, "bad_request"),
            ("two hosts", good.replace(b"Host:", b"Host: y\r\nHost:"), 400, "bad_request"),
            ("no host", harness.request(JOB, drop=["Host"]), 400, "bad_request"),
            ("bare LF", good.replace(b"\r\n", b"\n"), 400, "bad_request"),
            ("space before a colon", good.replace(b"Host:", b"Host :"), 400, "bad_request"),
            ("folded header", good.replace(b"Host:", b"X-A: 1\r\n 2\r\nHost:"), 400, "bad_request"),
            ("header without a name", good.replace(b"Host:", b": x\r\nHost:"), 400, "bad_request"),
            ("HTTP/2", good.replace(b"HTTP/1.1", b"HTTP/2.0"), 505, "http_version"),
            ("length and chunked", harness.request(
                JOB, body=chunked(TEXT) + b"\r\n", Transfer_Encoding="chunked"), 400, "bad_request"),
            ("other transfer encoding", harness.request(
                JOB, body=chunked(TEXT) + b"\r\n", drop=["Content-Length"],
                Transfer_Encoding="gzip, chunked"), 501, "transfer_coding"),
            ("no chunk size", harness.request(JOB, body=b"xyz\r\n" + TEXT, drop=["Content-Length"],
                                              Transfer_Encoding="chunked"), 400, "bad_request"),
            ("chunk size with a sign", harness.request(
                JOB, body=b"+" + chunked(TEXT) + b"\r\n", drop=["Content-Length"],
                Transfer_Encoding="chunked"), 400, "bad_request"),
            ("chunk size with 0x", harness.request(
                JOB, body=b"0x" + chunked(TEXT) + b"\r\n", drop=["Content-Length"],
                Transfer_Encoding="chunked"), 400, "bad_request"),
            ("endless chunk extension", harness.request(
                JOB, body=b"10;" + b"x" * 5000, drop=["Content-Length"],
                Transfer_Encoding="chunked"), 400, "bad_request"),
            ("long target", harness.request(JOB, path="/" + "x" * 8000), 414, "long_target"),
            ("long header", long_header, 431, "long_head"),
            ("many headers", many_headers, 431, "long_head"),
            ("no HTTP", b"hello, is this the webhook?\r\n\r\n", 400, "bad_request"),
            ("a TLS handshake", b"\x16\x03\x01\x02\x00\x01", 400, "bad_request"),
            ("other expectation", harness.request(JOB, Expect="200-ok"), 417, "expectation"),
            ("length over the limit", harness.request(
                JOB, Content_Length="2097152", body=b"{"), 413, "too_large"),
            ("length over any number", harness.request(JOB, Content_Length="9" * 30, body=b"{"), 400,
             "bad_request"),
            ("chunk over the limit", harness.request(
                JOB, body=b"100000\r\n{", drop=["Content-Length"], Transfer_Encoding="chunked"),
             413, "too_large"),
            ("body over the limit", harness.request(bodies.encode(JOB, 70000)), 413, "too_large"),
        ]
        before = self.server.queued()
        for name, data, status, reason in rows:
            with self.subTest(name):
                answer = self.one(data)
                self.check(answer, status, error=reason)
        self.assertEqual(before, self.server.queued())

    def test_other_methods_are_refused_with_allow(self):
        for method in ["GET", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"]:
            with self.subTest(method):
                answer = self.one(harness.request(JOB, method=method))
                self.check(answer, 405, error="method")
                self.assertEqual("POST", answer.headers["allow"])
                self.assertEqual("close", answer.headers["connection"])

    def test_refused_head_is_answered_before_its_body(self):
        """Nobody waits for a body that is not wanted, and nobody sends one that it asked about."""
        refused = harness.request(JOB, drop=["X-Hub-Signature-256"], Expect="100-continue")
        with self.server.connect() as c:
            c.send(refused.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
            answer = c.answer()
            self.check(answer, 401, error="no_signature")
            self.assertEqual("close", answer.headers["connection"])
            self.assertEqual(b"", c.wait_end())

    def test_refused_body_does_not_take_the_answer_from_its_sender(self):
        """The sender is at its body when it is refused, and reads the answer when it is done."""
        long = harness.request(bodies.encode(JOB, 60000), path="/elsewhere")
        for _ in range(50):
            self.check(self.one(long), 404, error="other_path")

    def test_head_is_answered_without_a_body(self):
        with self.server.connect() as c:
            c.send(b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + harness.request(JOB))
            self.assertEqual(b"HTTP/1.1 200 OK", c.head().partition(b"\r\n")[0])
            self.check(c.answer(), 202, queued=True)

    def test_doubtful_framing_closes_the_connection(self):
        with self.server.connect() as c:
            c.send(harness.request(JOB, Content_Length="+%d" % len(TEXT)) + harness.request(JOB))
            self.check(c.answer(), 400, error="bad_request")
            self.assertEqual(b"", c.wait_end())

    def test_refused_delivery_leaves_the_connection_open(self):
        with self.server.connect() as c:
            c.send(harness.request(JOB, secret="another secret"))
            self.check(c.answer(), 401, error="bad_signature")
            c.send(harness.request(JOB))
            self.check(c.answer(), 202, queued=True)

    # --- what is seen from outside ---------------------------------------------------------------

    def test_answers_are_counted_by_reason(self):
        name = "mayfly_ingress_deliveries_total"
        before = self.server.metric(name, status="401", reason="bad_signature")
        self.one(harness.request(JOB, secret="another secret"))
        self.assertEqual(before + 1, self.server.metric(name, status="401", reason="bad_signature"))

    def test_accept_time_is_of_what_was_accepted(self):
        name = "mayfly_ingress_accept_seconds_count"
        before = self.server.metric(name)
        self.check(self.one(harness.request(JOB)), 202, queued=True)
        self.assertEqual(before + 1, self.server.metric(name))
        self.check(self.one(harness.request(JOB, secret="another secret")), 401, error="bad_signature")
        self.check(self.one(harness.request(JOB, event="ping")), 200)
        self.assertEqual(before + 1, self.server.metric(name))

    def test_secret_is_never_logged(self):
        self.one(harness.request(JOB, secret="another secret"))
        self.one(harness.request(JOB))
        self.assertNotIn(harness.SECRET, str(self.server.log))


if __name__ == "__main__":
    harness.main()
