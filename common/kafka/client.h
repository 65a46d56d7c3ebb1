/*
 * One Kafka cluster (4.x, or 3.x) as librdkafka (2.0.2 or newer) reaches it: addresses, security,
 * timeouts, errors.
 *
 * For the queue backend and the event sink alone; librdkafka's types go no further. A client
 * configuration made here reports what librdkafka says about its connections to the log, rate
 * limited: a broken connection is information, never a reason to give up, because librdkafka
 * reconnects by itself.
 *
 * Threading: a cluster may be used by any thread after kafka_cluster_new. Failures: ERR_PERMANENT
 * for a malformed URL, options that do not go together, a password file that cannot be read, or an
 * option that this librdkafka cannot do; see kafka_error for the others. No message contains a
 * secret.
 */
#ifndef MAYFLY_KAFKA_CLIENT_H
#define MAYFLY_KAFKA_CLIENT_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/url_options.h"

struct kafka_cluster;

/* url: kafka://HOST[:PORT][,HOST[:PORT]…]/NAME[?option=value&…]. NAME, [A-Za-z0-9._-], at most 64,
 * is the prefix of the topics; "mayfly" if there is none. Options:
 *   timeout=DURATION    of a request to a broker that does not respond, 1s to 1m; 5s
 *   tls=1 ca=PATH cert=PATH key=PATH      TLS; the system's authorities, or a PEM file
 *   sasl=plain|scram-sha-256|scram-sha-512    with user=NAME password_file=PATH; plain with TLS alone
 *   sasl=msk-iam        with TLS alone: IAM of Amazon MSK, with credentials as all of AWS
 *                       (common/aws/credentials.h); region=REGION, else found as all of AWS
 * more: borrowed, options of the caller's own, of which each writes where its entry points. */
MUST_CHECK int kafka_cluster_new(const char *url, const struct url_option *more, size_t more_count,
                                 struct kafka_cluster **out, struct err *e);
void kafka_cluster_free(struct kafka_cluster *c); /* after every client that was made with it */

const char *kafka_cluster_prefix(const struct kafka_cluster *c);
const char *kafka_cluster_brokers(const struct kafka_cluster *c); /* "host:port,…", for messages */
int64_t kafka_cluster_timeout_ms(const struct kafka_cluster *c);

/* A client configuration with the cluster's addresses, security, timeouts and log callbacks. The
 * caller owns it, and rd_kafka_new takes it. opaque: for the callbacks that the caller sets itself
 * (rd_kafka_conf_set_opaque must not be called again). */
rd_kafka_conf_t *kafka_conf_new(const struct kafka_cluster *c, void *opaque);
/* Sets one property; a name or a value that librdkafka refuses is a bug. */
void kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value);
/* Makes a client; takes conf, also on failure. */
MUST_CHECK int kafka_client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **out,
                                struct err *e);

/* Why connections to the cluster failed in the last 45 s; false if none did. ERR_AUTH if credentials
 * or a certificate were refused, else ERR_RETRY. For a caller to whom librdkafka reports nothing, as
 * to a consumer that waits. Only information: other connections may be fine. */
bool kafka_cluster_trouble(const struct kafka_cluster *c, struct err *out);

/* Fills *e from a librdkafka code and returns -1. `what`: what was tried, "put a message on topic
 * x". A call that got no response gives the class and the text of kafka_cluster_trouble, if there is
 * one: an unreachable broker says why, and refused credentials are ERR_AUTH. Unreachable, timed out, leader unknown: ERR_RETRY; denied: ERR_AUTH; unknown topic:
 * ERR_NOT_FOUND; too large, wrong argument: ERR_PERMANENT; storage error: ERR_CAPACITY. */
int kafka_error(const struct kafka_cluster *c, rd_kafka_resp_err_t code, const char *what,
                struct err *e);

#endif
