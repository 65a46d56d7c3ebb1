/*
 * The parts of mayfly-vm-net, the gateway between one VM and the network.
 *
 *   main.c      main: command line, self-test, start
 *   loop.c      frames of QEMU on one side, libslirp on the other
 *   stream.c    the connection to QEMU: length and frame (`-netdev stream`)
 *   judge.c     verdicts: the rules of net_policy.h with this host's addresses, resolver and proxy
 *   hooks.c     connect and sendto, as libslirp calls them: the last look at an address
 *   lookup.c    the addresses of the proxy's name
 *   report.c    what was refused, in lines for the supervisor
 *   confine.c   the rights that this process gives up
 *
 * The supervisor starts it before QEMU and ends the VM when it dies; it exits when QEMU closes the
 * connection. A destination is judged twice: in each frame before libslirp sees it, and once more
 * when libslirp opens a socket to it, after its own translation of addresses. One thread does
 * everything, except the look-up of names.
 */
#ifndef MAYFLY_WORKER_GATEWAY_GATEWAY_H
#define MAYFLY_WORKER_GATEWAY_GATEWAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/vm/qemu/args.h"
#include "common/vm/qemu/net_frame.h"
#include "common/vm/qemu/net_policy.h"

#define GATEWAY_ALLOW_MAX 64
#define GATEWAY_PROXIES_MAX 2
/* More connections at once are refused: each may hold 256 KiB of this process. */
#define GATEWAY_CONNECTIONS 1024
#define GATEWAY_PROXY_CONNECTIONS 32
/* A connection to the proxy that carried nothing for this long is closed. */
#define GATEWAY_PROXY_IDLE_MS 900000
/* The port of the proxy at the router's address, in the mode proxy. */
#define GATEWAY_PROXY_PORT 3128

struct gateway_proxy {
    char host[256];
    char port[6];
};

struct gateway_settings {
    enum net_mode mode;
    struct net_allow allow[GATEWAY_ALLOW_MAX];
    size_t allow_count;
    struct gateway_proxy proxies[GATEWAY_PROXIES_MAX];
    size_t proxy_count;
};

/* --- verdicts (judge.c) ---------------------------------------------------------------------- */

/* Before the first verdict. `settings` is borrowed. ERR_PERMANENT when this host's addresses cannot
 * be read. */
MUST_CHECK int judge_open(const struct gateway_settings *settings, struct err *e);
/* A refusal is reported. protocol: a static string. */
enum net_kind judge_destination(const struct ip_address *to, uint16_t port, const char *protocol);
/* Whether this is the proxy's place in the VM's network, in the mode proxy. */
bool judge_is_proxy_place(const struct ip_address *to, uint16_t port);
/* Whether the VM may reach something on this host's loopback: then libslirp must translate it. */
bool judge_opens_loopback(void);

/* --- the last look (hooks.c) ----------------------------------------------------------------- */

/* Whether this program's connect and sendto stand before libc's for libraries too. */
bool hooks_are_in_place(void);
/* The mode decides on the number of connections, and whether those that were idle for longer than
 * idle_ms are closed. */
void hooks_open(enum net_mode mode, uint32_t idle_ms);
/* The calling thread's sockets are this program's own from now on, or not any more. */
void hooks_trust_thread(bool trusted);
/* libslirp opened or closes a TCP socket. */
void hooks_opened(int fd);
void hooks_closing(int fd);
/* Closes connections to the proxy that have been idle for too long. */
void hooks_close_idle(void);

/* --- names (lookup.c) ------------------------------------------------------------------------ */

/* Starts the thread that looks the names up, if there are any, and waits a moment for its first
 * result. `settings` is borrowed. */
MUST_CHECK int lookup_open(const struct gateway_settings *settings, struct err *e);
/* Whether it is an address and the port of a proxy. */
bool lookup_has(const struct ip_address *a, uint16_t port);
/* One address of the first proxy, another at each call; false while there is none. */
bool lookup_next(struct sockaddr_storage *out, socklen_t *len);

/* --- the report (report.c) ------------------------------------------------------------------- */

/* Lines to the supervisor: READY, ERR <text>, and
 * REFUSED <kind> <times since the last line> <protocol> <address> <port>. */
void report_open(int fd);
void report_ready(void);
void report_error(const struct err *e);
void report_refusal(enum net_kind kind, const char *protocol, const struct ip_address *to,
                    uint16_t port);
/* Writes the counts that are due. */
void report_flush(void);

/* --- QEMU's side (stream.c) ------------------------------------------------------------------ */

struct stream;
typedef void stream_frame_fn(const uint8_t *frame, size_t len, void *arg);

/* fd: owned, made non-blocking. */
struct stream *stream_new(int fd);
void stream_free(struct stream *s);
/* Reads what is there and calls back for each whole frame of at most NET_FRAME_MAX bytes; longer
 * ones are skipped. False when the other side closed it or sent no frames. */
MUST_CHECK bool stream_read(struct stream *s, stream_frame_fn *take, void *arg);
/* Queues a frame; it is dropped when too much waits already, as a network does. */
void stream_send(struct stream *s, const uint8_t *frame, size_t len);
/* False when the other side is gone. */
MUST_CHECK bool stream_flush(struct stream *s);
bool stream_has_output(const struct stream *s);

/* --- the rest --- */

/* Gives up: other programs, files to write, namespaces, other processes. ERR_PERMANENT. */
MUST_CHECK int confine_process(struct err *e);

/* Serves the VM until QEMU closes the connection; returns the program's exit code. */
int gateway_serve(int stream_fd, bool names);

#endif
