/*
 * Decodes nested base64 inside a text and encodes it again, byte for byte.
 *
 * A *plan* is the text with its long base64 runs decoded, recursively. It is a list of segments:
 * varint(length << 2 | kind), then for LAYER_TEXT the bytes as they are, for LAYER_BYTES bytes
 * whose base64 is in the text, for LAYER_TAIL the same with the bytes outside, in the tail (random
 * bytes would spoil the statistics of the compressor), and for LAYER_NESTED `length` segments, the
 * base64 of whose expansion is in the text. Only for payload.c. Pure functions; expanding is
 * bounded by the limit of its output buffer and by LAYERS_DEPTH_MAX.
 */
#ifndef MAYFLY_PAYLOAD_LAYERS_H
#define MAYFLY_PAYLOAD_LAYERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/slice.h"

#define LAYERS_DEPTH_MAX 4

enum layer_kind { LAYER_TEXT, LAYER_BYTES, LAYER_TAIL, LAYER_NESTED };

/* Where to put bytes that are not text. */
enum layers_style { LAYERS_NONE, LAYERS_INLINE, LAYERS_TAIL };

/* Unsigned LEB128, at most 5 bytes (values below 2^35). */
void varint_put(struct buf *out, uint64_t value);
MUST_CHECK bool varint_get(struct slice *in, uint64_t *out);

/* Removes n bytes from the front of *in; false, with *in unchanged, if it has fewer. */
MUST_CHECK bool slice_get(struct slice *in, uint64_t n, struct slice *out);

/* Appends a nested segment that expands to text's base64 layers; with LAYERS_NONE one text segment.
 * A failure sets `failed` of plan or tail. */
void layers_strip(struct slice text, enum layers_style style, struct buf *plan, struct buf *tail);

/* Reads the output of layers_strip from the front of *plan and *tail and appends the text to out;
 * false if they are malformed or out is full. */
MUST_CHECK bool layers_expand(struct slice *plan, struct slice *tail, struct buf *out);

#endif
