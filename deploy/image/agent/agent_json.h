/*
 * Reads one flat JSON object (RFC 8259), as the hooks of Lambda send it.
 *
 * Each member is given once, in order, with the text of a string decoded; what other values hold is
 * checked for its syntax and passed over, to a depth of JSON_DEPTH_MAX. Strict and bounded, no
 * allocation but the one decoded string (at most JSON_TEXT_MAX bytes). Not a parser for anything
 * larger: the agent is linked statically into every image, and needs two members. Pure; safe from
 * any thread.
 */
#ifndef MAYFLY_AGENT_JSON_H
#define MAYFLY_AGENT_JSON_H

#include <stdbool.h>

#include "common/base/attr.h"
#include "common/base/slice.h"

#define JSON_DEPTH_MAX 16
#define JSON_TEXT_MAX 32768

/* key and value are valid during the call; the value of anything but a string is empty. False ends
 * the reading. */
typedef bool json_member_fn(void *ctx, struct slice key, struct slice value, bool is_text);

/* False: it is no JSON object (anything behind it but white space makes it none), or fn said so. */
MUST_CHECK bool agent_json_object(struct slice in, json_member_fn *fn, void *ctx);

#endif
