"""Odd requests, read by the ingress and by nginx: they agree on whether a request is one and where it
ends, but for what DIFFERENCES lists with its reason. So nothing in front of the ingress sees other
requests than the ingress does.
"""

import concurrent.futures
import contextlib
import os
import shutil
import socket
import subprocess
import sys

import harness

NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
SKIPPED = 77
NGINX_CONFIG = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; events {{}}
http {{
    access_log off; client_body_temp_path {folder}/bodies; proxy_temp_path {folder}/proxied;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    large_client_header_buffers 4 16k; client_max_body_size 1m;
    client_header_timeout 1s; client_body_timeout 1s; lingering_timeout 1s;
    server {{ listen unix:{folder}/nginx; location / {{ proxy_pass http://unix:{folder}/behind; }} }}
    server {{ listen unix:{folder}/behind; location / {{ return 200; }} }}
}}
"""

HOST = b"Host: a\r\n"
POST = b"POST /webhook HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\nX-Hub-Signature-256: sha256=" + 64 * b"0" + b"\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
LAST = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def get(line=b"GET /healthz HTTP/1.1", headers=HOST, end=b"\r\n"):
    return line + end + headers + end


# What is sent before a plain last request.
REQUESTS = {
    # the request line
    "plain": get(),
    "HEAD": get(b"HEAD /healthz HTTP/1.1"),
    "absolute form": get(b"GET http://a/healthz HTTP/1.1"),
    "absolute form of another host": get(b"GET http://b/healthz HTTP/1.1"),
    "asterisk of GET": get(b"GET * HTTP/1.1"),
    "empty lines before it": b"\r\n\r\n" + get(),
    "line feeds before it": b"\n\n" + get(),
    "line feeds alone": get(headers=b"Host: a\n", end=b"\n"),
    "HTTP/1.0": get(b"GET /healthz HTTP/1.0", b"Connection: keep-alive\r\n"),
    "HTTP/1.2": get(b"GET /healthz HTTP/1.2"),
    "HTTP/1.10": get(b"GET /healthz HTTP/1.10"),
    "HTTP/2.0": get(b"GET /healthz HTTP/2.0"),
    "HTTP/01.1": get(b"GET /healthz HTTP/01.1"),
    "http/1.1": get(b"GET /healthz http/1.1"),
    "no version": b"GET /healthz\r\n\r\n",
    "two spaces": get(b"GET  /healthz HTTP/1.1"),
    "two spaces before the version": get(b"GET /healthz  HTTP/1.1"),
    "space behind the version": get(b"GET /healthz HTTP/1.1 "),
    "tab": get(b"GET\t/healthz HTTP/1.1"),
    "space before the method": get(b" GET /healthz HTTP/1.1"),
    "lower-case method": get(b"get /healthz HTTP/1.1"),
    "unknown method": get(b"BREW /healthz HTTP/1.1"),
    "method with @": get(b"G@T /healthz HTTP/1.1"),
    "CONNECT": get(b"CONNECT a:443 HTTP/1.1"),
    "target without slash": get(b"GET healthz HTTP/1.1"),
    "NUL in the target": get(b"GET /heal\0thz HTTP/1.1"),
    "DEL in the target": get(b"GET /heal\x7fthz HTTP/1.1"),
    "bytes above 127 in the target": get(b"GET /\xc3\xa9 HTTP/1.1"),
    "fragment": get(b"GET /healthz#a HTTP/1.1"),
    "quotes in the target": get(b"GET /\"<> HTTP/1.1"),
    "target of 20 kB": get(b"GET /" + 20000 * b"a" + b" HTTP/1.1"),
    # headers
    "no Host": get(headers=b""),
    "no Host in HTTP/1.0": get(b"GET /healthz HTTP/1.0", b"Connection: keep-alive\r\n"),
    "empty Host": get(headers=b"Host:\r\n"),
    "two Hosts": get(headers=HOST + b"Host: b\r\n"),
    "Host with a blank": get(headers=b"Host: a b\r\n"),
    "space before the colon": get(headers=HOST + b"A : b\r\n"),
    "tab before the colon": get(headers=HOST + b"A\t: b\r\n"),
    "no colon": get(headers=HOST + b"A\r\n"),
    "empty name": get(headers=HOST + b": b\r\n"),
    "space before the name": get(headers=HOST + b" A: b\r\n"),
    "folded line": get(headers=HOST + b"A: b\r\n c\r\n"),
    "name with a parenthesis": get(headers=HOST + b"A(b): c\r\n"),
    "name with a byte above 127": get(headers=HOST + b"\xc3\xa9: c\r\n"),
    "name with _": get(headers=HOST + b"A_b: c\r\n"),
    "NUL in a name": get(headers=HOST + b"A\0b: c\r\n"),
    "NUL in a value": get(headers=HOST + b"A: b\0c\r\n"),
    "carriage return in a value": get(headers=HOST + b"A: b\rc\r\n"),
    "control character in a value": get(headers=HOST + b"A: b\x01c\r\n"),
    "bytes above 127 in a value": get(headers=HOST + b"A: \xff\r\n"),
    "head of 40 kB": get(headers=HOST + 40 * (b"A: " + 1000 * b"b" + b"\r\n")),
    # lengths
    "length": POST + b"Content-Length: 2\r\n\r\n{}",
    "no length": POST + b"\r\n",
    "leading zeros": POST + b"Content-Length: 002\r\n\r\n{}",
    "blanks around the length": POST + b"Content-Length: \t 2 \r\n\r\n{}",
    "same length twice": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "list of lengths": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "+2": POST + b"Content-Length: +2\r\n\r\n{}",
    "-2": POST + b"Content-Length: -2\r\n\r\n{}",
    "0x2": POST + b"Content-Length: 0x2\r\n\r\n{}",
    "2.0": POST + b"Content-Length: 2.0\r\n\r\n{}",
    "empty length": POST + b"Content-Length:\r\n\r\n",
    "length of 30 digits": POST + b"Content-Length: 100000000000000000000000000002\r\n\r\n{}",
    "length over the limit": POST + b"Content-Length: 2000000\r\n\r\n{}",
    "GET with a body": get(headers=HOST + b"Content-Length: 2\r\n") + b"{}",
    # transfer codings
    "chunked": CHUNKED + b"2\r\n{}\r\n0\r\n\r\n",
    "chunked and a length": POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunked, chunked": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "gzip, chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "identity": POST + b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}",
    "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "CHUNKED": POST + b"Transfer-Encoding: CHUNKED\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "quoted chunked": POST + b"Transfer-Encoding: \"chunked\"\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": CHUNKED.replace(b"1.1", b"1.0", 1) + b"2\r\n{}\r\n0\r\n\r\n",
    "Transfer_Encoding": POST + b"Transfer_Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}",
    # chunks
    "chunk extension": CHUNKED + b"2;a=b\r\n{}\r\n0\r\n\r\n",
    "quoted chunk extension": CHUNKED + b"2;a=\"b\"\r\n{}\r\n0;c\r\n\r\n",
    "chunk extension of 5 kB": CHUNKED + b"2;" + 5000 * b"a" + b"\r\n{}\r\n0\r\n\r\n",
    "blank behind the size": CHUNKED + b"2 \r\n{}\r\n0\r\n\r\n",
    "blank before the size": CHUNKED + b" 2\r\n{}\r\n0\r\n\r\n",
    "size with +": CHUNKED + b"+2\r\n{}\r\n0\r\n\r\n",
    "size with 0x": CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n",
    "size of 40 digits": CHUNKED + b"0000000000000000000000000000000000000002\r\n{}\r\n0\r\n\r\n",
    "size over 64 bits": CHUNKED + b"10000000000000002\r\n{}\r\n0\r\n\r\n",
    "no size": CHUNKED + b"\r\n{}\r\n0\r\n\r\n",
    "line feed behind the size": CHUNKED + b"2\n{}\r\n0\r\n\r\n",
    "line feed behind the chunk": CHUNKED + b"2\r\n{}\n0\r\n\r\n",
    "nothing behind the chunk": CHUNKED + b"2\r\n{}0\r\n\r\n",
    "two bytes more than the size": CHUNKED + b"2\r\n{}{}\r\n0\r\n\r\n",
    "line feed behind the last chunk": CHUNKED + b"2\r\n{}\r\n0\n\n",
    "trailer": CHUNKED + b"2\r\n{}\r\n0\r\nA: b\r\n\r\n",
    "trailer with a length": CHUNKED + b"2\r\n{}\r\n0\r\nContent-Length: 5\r\n\r\n",
    "trailer without a colon": CHUNKED + b"2\r\n{}\r\n0\r\nA\r\n\r\n",
    # expectations
    "Expect: 100-continue": POST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n{}",
    "Expect: something": POST + b"Content-Length: 2\r\nExpect: something\r\n\r\n{}",
}

ENDS = "lines end with CRLF alone: two readers that differ about ends of lines differ about requests"
ONE_SPACE = "one space separates the parts of a request line (RFC 9112, section 3); no sender of webhooks sends others"
TOKENS = "names are tokens (RFC 9110, 5.6.2), each with its colon; nginx drops such a header, and another reader may not"
OWS = "valid by RFC 9110"

# What differs, and why. Names of the one that takes more of what was sent.
INGRESS, NGINX_TAKES = "ingress", "nginx"
DIFFERENCES = {
    "line feeds before it": (NGINX_TAKES, ENDS),
    "line feeds alone": (NGINX_TAKES, ENDS),
    "line feed behind the size": (NGINX_TAKES, ENDS),
    "line feed behind the chunk": (NGINX_TAKES, ENDS),
    "line feed behind the last chunk": (NGINX_TAKES, ENDS),
    "two spaces": (NGINX_TAKES, ONE_SPACE),
    "two spaces before the version": (NGINX_TAKES, ONE_SPACE),
    "space behind the version": (NGINX_TAKES, ONE_SPACE),
    "HTTP/1.10": (NGINX_TAKES, "a version has one digit on each side (RFC 9112, 2.3)"),
    "bytes above 127 in the target": (NGINX_TAKES, "a target is ASCII (RFC 3986)"),
    "fragment": (NGINX_TAKES, "a target has no fragment (RFC 9112, 3.2)"),
    "no colon": (NGINX_TAKES, TOKENS),
    "name with a parenthesis": (NGINX_TAKES, TOKENS),
    "name with a byte above 127": (NGINX_TAKES, TOKENS),
    "trailer without a colon": (NGINX_TAKES, TOKENS),
    "control character in a value": (NGINX_TAKES, "no value contains one (RFC 9110, 5.5), and logs would"),
    "head of 40 kB": (NGINX_TAKES, "a bound: ingress.max_header_size; nginx has four buffers of 16 kB here"),
    "chunk extension of 5 kB": (NGINX_TAKES, "a bound of the line, which is held in memory"),
    "blank behind the size": (NGINX_TAKES, "only an extension may follow the size (RFC 9112, 7.1)"),
    "GET with a body": (NGINX_TAKES, "a question about health has no body: it is answered, and the connection closed"),
    "Expect: something": (NGINX_TAKES, "417 (RFC 9110, 10.1.1); nginx ignores it"),
    "asterisk of GET": (INGRESS, "it is one more path that is answered 404"),
    "lower-case method": (INGRESS, "methods have any case (RFC 9110, 9.1): it is another one than GET, refused by its path"),
    "empty Host": (INGRESS, OWS + ", 7.2, for a target without authority; the ingress uses no Host"),
    "blanks around the length": (INGRESS, OWS + ", 5.5: tabs and spaces around a value are no part of it"),
    "same length twice": (INGRESS, OWS + ", 8.6: the same number twice says the same"),
}


def answers_of(sock, text):
    """The statuses of all answers to these bytes, without 100s."""
    with contextlib.closing(sock):
        sock.settimeout(harness.PATIENCE)
        seen = b""
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            sock.sendall(text)
        with contextlib.suppress(ConnectionResetError):
            while more := sock.recv(65536):
                seen += more
    found = []
    while seen:
        head, end, seen = seen.partition(b"\r\n\r\n")
        if not end:
            return [*found, "cut"]
        status = int(head.split()[1])
        length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        if b"HEAD " not in text[:5] or found:
            seen = seen[int(length[0].split(b":")[1]) if length else 0:]
        if status != 100:
            found.append(status)
    return found


def taken(statuses):
    """How many of them are about a request that was read, and not refused as malformed."""
    return sum(status in (200, 202, 401, 404, 405, 411, 415) for status in statuses)


class Nginx:
    def __init__(self, folder):
        self.path = os.path.join(folder, "nginx")
        config = os.path.join(folder, "nginx.conf")
        with open(config, "w", encoding="ascii") as f:
            f.write(NGINX_CONFIG.format(folder=folder))
        self.process = harness.spawn([NGINX, "-p", folder, "-c", config, "-e", os.path.join(folder, "start.log")])

    def connect(self):
        s = socket.socket(socket.AF_UNIX)
        s.connect(self.path)
        return s

    def wait(self):
        while True:
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                return self.connect().close()
            if self.process.poll() is not None:
                raise AssertionError("nginx ended")

    def __enter__(self):
        self.wait()
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


class Corpus(harness.TestCase):
    def test_both_read_the_same_requests(self):
        with self.ingress(head_timeout="500ms", request_timeout="1s") as ours, Nginx(self.folder) as theirs, \
                concurrent.futures.ThreadPoolExecutor(16) as pool:
            def both(text):
                plain = socket.create_connection(("127.0.0.1", ours.port))
                return answers_of(plain, text + LAST), answers_of(theirs.connect(), text + LAST)
            found = dict(zip(REQUESTS, pool.map(both, REQUESTS.values())))
        for name, (mine, other) in found.items():
            with self.subTest(name):
                said = f"the ingress answers {mine}, nginx {other}"
                more = INGRESS if taken(mine) > taken(other) else NGINX_TAKES if taken(mine) < taken(other) else None
                # Another release of nginx may have become stricter.
                self.assertIn(more, (None, DIFFERENCES.get(name, (None,))[0]), said)


if __name__ == "__main__":
    if NGINX is None:
        print("SKIPPED: nginx is missing", file=sys.stderr)
        sys.exit(SKIPPED)
    harness.main()
