#include "common/queue/kafka/hand.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/attr.h"

void hand_fini(struct hand *h)
{
    free(h->messages);
    free(h->partitions);
    *h = (struct hand){0};
}

/* --- partitions --- */
struct hand_partition *hand_partition(struct hand *h, int32_t id)
{
    for (size_t i = 0; i < h->partition_count; i++) {
        if (h->partitions[i].id == id) {
            return &h->partitions[i];
        }
    }
    return NULL;
}

void hand_add_partition(struct hand *h, int32_t id)
{
    if (hand_partition(h, id) != NULL) {
        return;
    }
    h->partitions = realloc(h->partitions, (h->partition_count + 1) * sizeof *h->partitions);
    ASSERT(h->partitions != NULL);
    h->partitions[h->partition_count++] =
        (struct hand_partition){.id = id, .next = -1, .committed = -1};
}

void hand_drop_partition(struct hand *h, int32_t id, void (*free_record)(void *))
{
    size_t kept = 0;
    for (size_t i = 0; i < h->count; i++) {
        if (h->messages[i].partition == id) {
            free_record(h->messages[i].record);
        } else {
            h->messages[kept++] = h->messages[i];
        }
    }
    h->count = kept;
    struct hand_partition *p = hand_partition(h, id);
    if (p != NULL) {
        *p = h->partitions[--h->partition_count];
    }
}

int64_t hand_position(const struct hand *h, const struct hand_partition *p)
{
    int64_t position = p->next;
    for (size_t i = 0; i < h->count; i++) {
        if (h->messages[i].partition == p->id && h->messages[i].offset < position) {
            position = h->messages[i].offset;
        }
    }
    return position;
}

/* --- messages --- */
bool hand_add(struct hand *h, const struct hand_message *m)
{
    struct hand_partition *p = hand_partition(h, m->partition);
    if (p == NULL) {
        return false;
    }
    h->messages = realloc(h->messages, (h->count + 1) * sizeof *h->messages);
    ASSERT(h->messages != NULL);
    h->messages[h->count++] = *m;
    p->next = m->offset + 1;
    return true;
}

size_t hand_expire(struct hand *h, int64_t now_ms)
{
    size_t expired = 0;
    for (size_t i = 0; i < h->count; i++) {
        if (h->messages[i].state == HAND_LEASED && h->messages[i].until_ms <= now_ms) {
            h->messages[i].state = HAND_READY;
            expired++;
        }
    }
    return expired;
}

struct hand_message *hand_lease(struct hand *h, int64_t until_ms)
{
    struct hand_message *first = NULL;
    for (size_t i = 0; i < h->count; i++) {
        struct hand_message *m = &h->messages[i];
        if (m->state == HAND_READY && (first == NULL || m->appended_ms < first->appended_ms)) {
            first = m;
        }
    }
    if (first != NULL) {
        first->state = HAND_LEASED;
        first->lease = ++h->last_lease;
        first->until_ms = until_ms;
    }
    return first;
}

struct hand_message *hand_at(struct hand *h, int32_t partition, int64_t offset)
{
    for (size_t i = 0; i < h->count; i++) {
        if (h->messages[i].partition == partition && h->messages[i].offset == offset) {
            return &h->messages[i];
        }
    }
    return NULL;
}

struct hand_message *hand_find(struct hand *h, int32_t partition, int64_t offset, uint64_t lease)
{
    struct hand_message *m = hand_at(h, partition, offset);
    return m != NULL && lease != 0 && m->lease == lease ? m : NULL;
}

void *hand_remove(struct hand *h, struct hand_message *m)
{
    void *record = m->record;
    size_t i = (size_t)(m - h->messages);
    memmove(m, m + 1, (h->count - i - 1) * sizeof *m);
    h->count--;
    return record;
}

size_t hand_count(const struct hand *h, int32_t partition_or_any, enum hand_state state)
{
    size_t n = 0;
    for (size_t i = 0; i < h->count; i++) {
        const struct hand_message *m = &h->messages[i];
        n += m->state == state &&
             (partition_or_any == HAND_ANY_PARTITION || m->partition == partition_or_any);
    }
    return n;
}
