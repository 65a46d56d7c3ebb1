/*
 * The delivery GUIDs that are already durable, as many as fit in a bounded memory.
 *
 * GitHub may send the same delivery again (a redelivery, or two hooks that share the event), with
 * the same GUID. Only what the queue has confirmed is remembered: remembering earlier would turn a
 * failed put into a lost job. When full, the oldest is forgotten; a duplicate that slips through
 * is harmless, since the ledger makes the outcome exactly once. All functions are safe from any
 * thread.
 */
#ifndef MAYFLY_INGRESS_DEDUPE_H
#define MAYFLY_INGRESS_DEDUPE_H

#include <stdbool.h>
#include <stddef.h>

struct dedupe;

/* entries: how many GUIDs are remembered; 0 remembers none. */
struct dedupe *dedupe_new(size_t entries);
void dedupe_free(struct dedupe *d);

bool dedupe_seen(struct dedupe *d, const char *guid);

/* Remembers it; a GUID longer than 63 bytes is not. */
void dedupe_add(struct dedupe *d, const char *guid);

#endif
