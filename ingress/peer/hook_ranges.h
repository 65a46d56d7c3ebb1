/*
 * The addresses that GitHub sends webhooks from, as its meta call publishes them.
 *
 * A thread of its own reads `GET API/meta` at the start and once a day; it needs no credentials. What
 * it read last stays in use, however old, until a newer answer is good: an empty, malformed or
 * boundless one changes nothing and is tried again (exponential backoff up to ten minutes). A copy is
 * kept in a file if there is one, so that a restart while GitHub's API is away knows it too. Until
 * there is any copy, nobody is known to be GitHub.
 *
 * Logs `hook_ranges_read` and `hook_ranges_failed`; the metric
 * mayfly_ingress_hook_ranges_timestamp_seconds says when they were read. hook_ranges_contain is for
 * any thread, and waits for nothing but another's change of a few bytes.
 */
#ifndef MAYFLY_INGRESS_PEER_HOOK_RANGES_H
#define MAYFLY_INGRESS_PEER_HOOK_RANGES_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/net/address.h"

/* GitHub has published six to nine since 2020. */
#define HOOK_RANGES_MAX 256

struct hook_ranges;

struct hook_ranges_options {
    const char *api_url; /* https://api.github.com */
    const char *ca_file; /* "" : this host's */
    const char *file;    /* of the last good copy; "": none */
};

MUST_CHECK int hook_ranges_start(const struct hook_ranges_options *o, struct hook_ranges **out,
                                 struct err *e);
/* Waits for a call in progress, five seconds at most. NULL is fine. */
void hook_ranges_stop(struct hook_ranges *h);

/* Whether any copy is known; else the last error, if there was one, is appended to `why` (may be
 * NULL). */
bool hook_ranges_known(struct hook_ranges *h, struct buf *why);
bool hook_ranges_contain(struct hook_ranges *h, const struct ip_address *a);

/* The ranges of an answer of the meta call. NULL, or what is wrong with it, a static string. */
MUST_CHECK const char *hook_ranges_parse(struct slice json, struct ip_prefix *out, size_t max,
                                         size_t *count);

#endif
