/*
 * Text forms of bytes: hex, base64 (RFC 4648, standard and URL alphabets), percent-encoding (RFC
 * 3986).
 *
 * Decoders are strict and bounded: anything outside the alphabet or the canonical form is rejected.
 * Pure functions, safe from any thread; no third-party library, so that the agent can use them.
 */
#ifndef MAYFLY_BASE_CODEC_H
#define MAYFLY_BASE_CODEC_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/slice.h"

/* 2*size lower-case digits and a NUL. */
void codec_hex(const void *bytes, size_t size, char *out);
/* Exactly 2*size digits of either case into size bytes; false otherwise. */
MUST_CHECK bool codec_unhex(struct slice text, void *out, size_t size);

/* Appends with padding. */
void codec_base64(struct buf *out, struct slice bytes);
/* Appends in the URL alphabet without padding, as JWT requires (RFC 7515). */
void codec_base64url(struct buf *out, struct slice bytes);
/* Appends the decoded bytes. Only canonical base64 with padding (no white space, unused bits zero),
 * so that encoding again gives the same text. Otherwise, or when out is full, returns false with
 * *out unchanged. */
MUST_CHECK bool codec_unbase64(struct buf *out, struct slice text);

/* Appends s with everything but RFC 3986's unreserved characters as %XX. */
void codec_percent(struct buf *out, struct slice s);
/* Appends decoded application/x-www-form-urlencoded text ('+' is a space). False on a bad escape,
 * with *out unchanged, or when out is full. */
MUST_CHECK bool codec_unform(struct buf *out, struct slice s);
/* Decodes %XX alone, as in the parts of a URL ('+' is itself), into `size` bytes with a NUL at the
 * end. False on a bad escape, on a NUL in the text, and when it does not fit; *out is unspecified
 * then. */
MUST_CHECK bool codec_unpercent(struct slice s, char *out, size_t size);

#endif
