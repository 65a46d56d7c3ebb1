/*
 * The delivery GUIDs that are already durable, in a bounded memory.
 *
 * GitHub may send the same delivery again (a redelivery, or two hooks that share the event), with
 * the same GUID. Only GUIDs that the queue has confirmed are added: adding them earlier would turn
 * a failed enqueue into a lost job. When full, the oldest is forgotten; a duplicate that is not
 * detected is harmless, since the ledger makes the effect exactly once. All functions are safe from
 * any thread.
 */
#ifndef MAYFLY_INGRESS_DEDUPE_H
#define MAYFLY_INGRESS_DEDUPE_H

#include <stdbool.h>
#include <stddef.h>

struct dedupe;

/* entries: the capacity; 0 disables the cache. */
struct dedupe *dedupe_new(size_t entries);
void dedupe_free(struct dedupe *d);

bool dedupe_seen(struct dedupe *d, const char *guid);

/* Adds it; a GUID longer than 63 bytes is ignored. */
void dedupe_add(struct dedupe *d, const char *guid);

#endif
