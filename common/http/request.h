/*
 * Reads one HTTP/1.x request (RFC 9112): strictly, within bounds, and without allocating anything.
 *
 * A state machine over the bytes of a connection, which the caller keeps in one piece, from the
 * first byte of the request on. Each call goes on where the last one ended, so that a request that
 * comes byte by byte costs no more than one that comes whole. Refused is what two programs could
 * read differently, as early as it is seen: a line that does not end in CR LF, a control character
 * (a TLS handshake's first byte), white space before a header's colon, a folded header, an empty
 * name, a sign or 0x before a number, lengths that differ, a length beside chunks, a coding other
 * than chunked, a second Host. Chunks are joined in place; their extensions and trailers are read
 * and ignored.
 *
 * Not included: sockets, deadlines, and what a request means. No libevent: the agent in the VM uses
 * it too. Pure functions, safe from any thread.
 */
#ifndef MAYFLY_HTTP_REQUEST_H
#define MAYFLY_HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/slice.h"

struct http_limits {
    size_t head_bytes;   /* of request line and headers, and of all trailers; 64 at least */
    size_t headers;      /* beyond it: 431 */
    size_t body_bytes;   /* without the chunks' own lines; beyond it: 413 */
    bool host_is_needed; /* HTTP/1.1 demands one; who is lenient here serves its own clients */
};

enum http_read {
    HTTP_READ_MORE,  /* incomplete */
    HTTP_READ_HEAD,  /* the head is complete; said once, before anything of the body is judged */
    HTTP_READ_WHOLE, /* complete */
    HTTP_READ_BAD,   /* refused: `status` and `why` */
};

/* The members before `state` are for the caller. The slices borrow from the bytes of the call that
 * returned HTTP_READ_HEAD or HTTP_READ_WHOLE; `body` and `used` are set by the latter. */
struct http_request {
    struct slice method;
    struct slice path;      /* of the target, as sent: without scheme, host and query */
    struct slice query;     /* without the question mark */
    struct slice authority; /* of a target with scheme and host, as for a proxy; else empty */
    struct slice headers;   /* for http_request_next_header */
    struct slice body;
    size_t used;         /* bytes up to the next request */
    uint64_t length;     /* as declared; 0 with chunks */
    bool is_chunked;     /* the length is not declared */
    bool keeps_alive;    /* the client may send another request */
    bool waits_for_body; /* it sent Expect: 100-continue, and waits for the answer to that */
    int status;          /* after HTTP_READ_BAD: 400, 413, 414, 417, 431, 501 or 505 */
    const char *why;     /* static */

    /* The reader's own. Offsets, since the bytes may be moved between two calls. */
    int state;
    size_t at;       /* everything before it is read */
    size_t seen;     /* everything before it has been looked at */
    size_t begin;    /* of the request line */
    size_t head_end; /* and the body's begin */
    size_t body_end;
    size_t chunk_left;
    size_t header_count;
    size_t trailer_bytes;
    bool has_length;
    bool has_host;
    bool closes;
    bool is_1_0;
};

/* Begins a request. */
void http_request_begin(struct http_request *r);

/* Reads on. data[0] is the request's first byte, all of *len is there to be read. Bytes that no one
 * needs any more, of chunks' lines, may be removed from the middle: then *len is lowered. After
 * HTTP_READ_WHOLE and HTTP_READ_BAD it must not be called again. */
MUST_CHECK enum http_read http_request_read(struct http_request *r, const struct http_limits *l,
                                            char *data, size_t *len);

/* The next header: its name as sent, its value without white space at both ends. *headers begins as
 * a copy of http_request.headers. False: there is none. */
bool http_request_next_header(struct slice *headers, struct slice *name, struct slice *value);

#endif
