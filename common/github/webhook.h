/*
 * GitHub's webhooks: signature, body, and what Mayfly does with them.
 *
 * The order is fixed by invariant 2: webhook_verify over the raw body first; only then
 * webhook_parse. The body is scanned once, without allocation and with bounded depth, for the few
 * members that are needed; jansson parses only those slices. The scan agrees with jansson on every
 * input that it accepts (a fuzz target checks this). Pure functions, any thread. Source:
 * docs.github.com, "Validating webhook deliveries" and "Webhook events and payloads".
 */
#ifndef MAYFLY_GITHUB_WEBHOOK_H
#define MAYFLY_GITHUB_WEBHOOK_H

#include <stdbool.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/slice.h"
#include "common/config/config.h"
#include "common/job/event.h"

/* Whether `signature` ("sha256=<64 hex>") is the HMAC-SHA256 of the body under one of the secrets.
 * All secrets are tried, each comparison in constant time. No secrets: false. */
bool webhook_verify(struct slice body, struct slice signature, const struct config_list *secrets);

/* Parses the header's text into its 32 bytes; false if it is anything else. */
MUST_CHECK bool webhook_signature_parse(struct slice header, unsigned char out[32]);

enum webhook_form { WEBHOOK_JSON, WEBHOOK_FORM, WEBHOOK_UNKNOWN };

/* The format of the body, by its Content-Type (parameters are ignored). */
enum webhook_form webhook_form(struct slice content_type);

/* Appends the decoded value of the one form parameter `payload`, at any position. False if it is
 * missing, occurs twice, has a bad escape, or does not fit. */
MUST_CHECK bool webhook_form_payload(struct slice form, struct buf *out);

enum webhook_verdict {
    WEBHOOK_LAUNCH,    /* a job that waits for a runner of a class: lanes launch.<class>, events */
    WEBHOOK_EVENT,     /* another event of a job: lane events */
    WEBHOOK_IGNORED,   /* valid, but not for this deployment: 200; `reason` says why */
    WEBHOOK_REFUSED,   /* a job of a class, which the configuration refuses to run: 200 */
    WEBHOOK_MALFORMED, /* 400; `reason` says why */
};

struct webhook_request {
    struct slice event;        /* X-GitHub-Event */
    struct slice delivery;     /* X-GitHub-Delivery */
    struct slice content_type; /* with parameters */
    struct slice body;         /* raw */
};

/* Parses a verified request and routes it by the configuration. `out` is filled unless the verdict
 * is MALFORMED; for IGNORED with what was read before the reason was found: its job's id is 0 if it
 * is not about a job. `reason` (static text) for all but the first two: "ping", "event_unsupported",
 * "action_unknown", "labels_not_matched", "no_labels", "repository_not_allowed", "job_null", …,
 * WEBHOOK_REASON_PUBLIC or what is malformed. in_progress and completed events of this deployment's runners, and the end of a job
 * without a runner, are EVENTs whatever their labels, without a class if these match none. */
#define WEBHOOK_REASON_LABELS "labels_not_matched"
#define WEBHOOK_REASON_NO_LABELS "no_labels"
#define WEBHOOK_REASON_PUBLIC "public_repository_refused"
enum webhook_verdict webhook_parse(const struct webhook_request *r, const struct config *c,
                                   struct job_event *out, const char **reason);

#endif
