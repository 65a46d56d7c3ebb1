/*
 * A non-cryptographic hash: FNV-1a, 64 bits. For hash tables, shards and short fingerprints. Stores
 * contain its values (shards, groups), so it must never change. Where a peer chooses what is
 * hashed, start from a random number.
 */
#ifndef MAYFLY_BASE_HASH_H
#define MAYFLY_BASE_HASH_H

#include <stdint.h>

#include "common/base/slice.h"

#define HASH_START 0xcbf29ce484222325U

/* start: HASH_START, a random number, or the hash of the preceding bytes. */
static inline uint64_t hash_bytes(uint64_t start, struct slice s)
{
    uint64_t hash = start;
    for (size_t i = 0; i < s.len; i++) {
        hash = (hash ^ (unsigned char)s.ptr[i]) * 0x100000001b3U;
    }
    return hash;
}

static inline uint64_t hash_text(const char *text)
{
    return hash_bytes(HASH_START, slice_of(text));
}

#endif
