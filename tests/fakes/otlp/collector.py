#!/usr/bin/env python3
"""A stand-in for an OpenTelemetry collector: takes traces as OTLP/HTTP JSON, and refuses what the official protobuf messages do not accept.

    build/fakes-python/bin/python tests/fakes/otlp/collector.py [--header "Name: value"]

Prints its URL as a line {"url": …}, then a line for each span as it was parsed, and one {"refused": why} for each request that is wrong. With a
header, requests without it get a 401. POST /_fake/status {"status": N, "delay_s": S} sets what later requests get.
"""
import argparse
import base64
import http.server
import json
import sys
import time

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service

LIMIT = 8 << 20


def say(**fields):
    print(json.dumps(fields), flush=True)


def id_as_bytes(span, key, size, required=True):
    """OTLP's JSON has ids in hexadecimal, where protobuf's own mapping has base64."""
    if not required and key not in span:
        return
    value = bytes.fromhex(span[key])
    if len(value) != size or not any(value):
        raise ValueError(f"{key} {span[key]} has not {size} bytes, or only zeros")
    span[key] = base64.b64encode(value).decode()


def parse(body):
    document = json.loads(body)
    for resource in document.get("resourceSpans", []):
        for scope in resource.get("scopeSpans", []):
            for span in scope.get("spans", []):
                id_as_bytes(span, "traceId", 16)
                id_as_bytes(span, "spanId", 8)
                id_as_bytes(span, "parentSpanId", 8, required=False)
    return json_format.ParseDict(document, service.ExportTraceServiceRequest())


def value_of(value):
    kind = value.WhichOneof("value")
    if kind not in ("string_value", "int_value"):
        raise ValueError(f"an attribute with {kind}")
    return getattr(value, kind)


def attributes(pairs):
    out = {pair.key: value_of(pair.value) for pair in pairs}
    if len(out) != len(pairs):
        raise ValueError("an attribute is there twice")
    return out


def spans(request):
    for resource in request.resource_spans:
        about = attributes(resource.resource.attributes)
        for scope in resource.scope_spans:
            for span in scope.spans:
                if not span.name or not 0 < span.start_time_unix_nano <= span.end_time_unix_nano:
                    raise ValueError(f"span {span.name!r} has no name, or ends before it begins")
                yield {"name": span.name, "trace": span.trace_id.hex(), "span": span.span_id.hex(), "parent": span.parent_span_id.hex(), "kind": span.kind,
                       "start_ms": span.start_time_unix_nano / 1e6, "end_ms": span.end_time_unix_nano / 1e6, "status": span.status.code,
                       "attributes": attributes(span.attributes), "resource": about, "scope": scope.scope.name}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    status, delay_s, header = 200, 0, None

    def log_message(self, *_):
        pass

    def answer(self, status, fields):
        body = json.dumps(fields).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status, why):
        say(refused=why)
        self.answer(status, {"code": 3, "message": why})

    def do_POST(self):
        length = int(self.headers.get("Content-Length", "-1"))
        if not 0 <= length <= LIMIT:
            return self.refuse(411, f"a body of {length} bytes")
        body = self.rfile.read(length)
        if self.path == "/_fake/status":
            wanted = json.loads(body)
            Handler.status, Handler.delay_s = wanted.get("status", 200), wanted.get("delay_s", 0)
            return self.answer(200, {})
        if self.path != "/v1/traces" or self.headers.get("Content-Type") != "application/json":
            return self.refuse(404, f"{self.path} with {self.headers.get('Content-Type')}")
        if Handler.header and self.headers.get(Handler.header[0]) != Handler.header[1]:
            return self.refuse(401, f"without {Handler.header[0]}")
        time.sleep(Handler.delay_s)
        if Handler.status != 200:
            return self.answer(Handler.status, {"message": "as wanted"})
        try:
            found = list(spans(parse(body)))
        except (ValueError, KeyError, json_format.ParseError) as error:
            return self.refuse(400, f"{type(error).__name__}: {error}")
        for span in found:
            say(**span)
        return self.answer(200, {})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--header", help="Name: value, which each request must have")
    options = parser.parse_args()
    if options.header:
        Handler.header = options.header.split(": ", 1)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    say(url=f"http://127.0.0.1:{server.server_address[1]}/v1/traces")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
