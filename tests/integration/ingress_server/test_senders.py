"""ingress.allow_from: [github-hooks], with a GitHub that answers its meta call, and then does not."""

import http.server
import json
import threading

import harness

READ_AT = "mayfly_ingress_hook_ranges_timestamp_seconds"


class Meta:
    """What /meta answers: ranges, or 500 for None."""

    def __init__(self, ranges):
        meta = self
        self.ranges = ranges

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                found = self.path == "/api/v3/meta" and meta.ranges is not None
                self.send_response(200 if found else 500)
                body = json.dumps({"hooks": meta.ranges, "web": []}).encode()
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/api/v3"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Senders(harness.TestCase):
    def ingress_of(self, meta, **settings):
        server = self.ingress(allow_from=["github-hooks"], **settings)
        server.write_config([harness.SECRET], github={"webhook_secrets": [harness.SECRET], "api_url": meta.url})
        return server

    def test_until_githubs_ranges_are_known_nothing_is_accepted(self):
        with Meta(None) as meta, self.ingress_of(meta) as server:
            self.assertIs(False, server.line_of("hook_ranges_failed")["known"])
            answer = server.deliver()
            self.assertEqual((503, "10"), (answer.status, answer.headers.get("retry-after")))
            status, why = server.ready()
            self.assertEqual(503, status)
            self.assertIn("allow_from: GitHub's ranges are not known yet: GET http", why)
            meta.ranges = ["127.0.0.0/8"]
            self.assertEqual(1, server.wait_log("hook_ranges_read")["ranges"])
            self.check(server.deliver(), 202)
            self.assertEqual(200, server.ready()[0])
            self.assertGreater(server.metric(READ_AT), 0)

    def test_who_is_in_none_of_the_ranges_is_refused(self):
        with Meta(["192.30.252.0/22", "2a0a:a440::/29"]) as meta, self.ingress_of(meta) as server:
            server.wait_metric(1, READ_AT)
            self.check(server.deliver(), 403, error="address")
            self.assertEqual("127.0.0.1", server.wait_log("sender_refused")["client"])

    def test_copy_beside_the_spool_is_used_after_a_restart_without_github(self):
        spool = f"{self.folder}/spool.db"
        with Meta(["127.0.0.1/32"]) as meta:
            with self.ingress_of(meta, spool={"path": spool}) as server:
                server.wait_metric(1, READ_AT)
                self.check(server.deliver(), 202)
            meta.ranges = None
            with self.ingress_of(meta, spool={"path": spool}) as server:
                self.assertIs(True, server.line_of("hook_ranges_failed")["known"])
                self.check(server.deliver(), 202)
                self.assertGreater(server.metric(READ_AT), 0)


if __name__ == "__main__":
    harness.main()
