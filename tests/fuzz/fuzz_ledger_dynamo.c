/* Any bytes as an item of DynamoDB's table: read as a job's row and as a VM's. What was read keeps
 * its bounds, and can be written: as an item that is JSON, and reads as the same row again. */
#include <string.h>

#include "common/ledger/dynamodb/dynamodb.h"
#include "tests/fuzz/fuzz.h"

#define ITEM_MAX (256 * 1024)

static struct ledger_dynamo ledger = {.url = {.table = "t", .prefix = "p"}};

static json_t *written(const struct ledger_dynamo_key *key, const struct buf *attributes)
{
    struct buf text;
    buf_init(&text, ITEM_MAX);
    ledger_dynamo_render_item(key, attributes, &text);
    ASSERT(!text.failed && !attributes->failed);
    json_t *item = json_loadb(text.data, text.len, 0, NULL);
    ASSERT(json_is_object(item));
    buf_fini(&text);
    return item;
}

static void check_lines(const struct ledger_dynamo_lines *lines)
{
    ASSERT(lines->n <= LEDGER_DYNAMO_TAIL);
    for (size_t i = 0; i < lines->n; i++) {
        const struct ledger_dynamo_line *l = &lines->tail[i];
        ASSERT(memchr(l->vm, '\0', sizeof l->vm) != NULL);
        ASSERT(memchr(l->what, '\0', sizeof l->what) != NULL);
        ASSERT(memchr(l->detail, '\0', sizeof l->detail) != NULL);
    }
}

static void try_job(json_t *item)
{
    static struct ledger_dynamo_job row;
    static struct ledger_dynamo_job again;
    struct buf attributes;
    struct err e;
    if (ledger_dynamo_unpack_job(item, &row, &e) != 0) {
        return;
    }
    ASSERT(row.job.state <= JOB_CANCELLED && row.vm_count <= LEDGER_DYNAMO_JOB_VMS);
    check_lines(&row.lines);
    buf_init(&attributes, ITEM_MAX);
    ledger_dynamo_pack_job(&ledger, &row, &attributes);
    struct ledger_dynamo_key key = ledger_dynamo_job_key(&ledger, row.job.facts.id);
    json_t *copy = written(&key, &attributes);
    ASSERT(ledger_dynamo_unpack_job(copy, &again, &e) == 0);
    ASSERT(again.job.facts.id == row.job.facts.id && again.job.state == row.job.state);
    ASSERT(again.lines.n == row.lines.n && again.lines.count == row.lines.count);
    ASSERT(again.waits_logged == row.waits_logged && again.order == row.order);
    json_decref(copy);
    buf_fini(&attributes);
}

static void try_vm(json_t *item)
{
    static struct ledger_dynamo_vm row;
    static struct ledger_dynamo_vm again;
    struct buf attributes;
    struct err e;
    if (ledger_dynamo_unpack_vm(item, &row, &e) != 0) {
        return;
    }
    ASSERT(row.vm.state <= VM_GONE);
    check_lines(&row.lines);
    buf_init(&attributes, ITEM_MAX);
    ledger_dynamo_pack_vm(&ledger, &row, &attributes);
    struct ledger_dynamo_key key = ledger_dynamo_vm_key(&ledger, row.vm.name);
    json_t *copy = written(&key, &attributes);
    ASSERT(ledger_dynamo_unpack_vm(copy, &again, &e) == 0);
    ASSERT(again.vm.state == row.vm.state && again.vm.for_job == row.vm.for_job);
    ASSERT(again.lines.n == row.lines.n && again.order == row.order);
    json_decref(copy);
    buf_fini(&attributes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *item = json_loadb((const char *)data, size, 0, NULL);
    if (item != NULL) {
        struct ledger_dynamo_bucket bucket;
        ledger_dynamo_unpack_bucket(item, 1000, &bucket);
        try_job(item);
        try_vm(item);
    }
    json_decref(item);
    return 0;
}
