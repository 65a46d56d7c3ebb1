#include "common/job/vm_recorded.h"

#include "common/job/fields.h"

/* Distinguishes the record from a job event, which has other actions. */
static const char *const action_names[] = {"vm_recorded", NULL};

struct stored {
    int action;
    struct vm_recorded vm;
};

static const struct record_field fields[] = {
    WORD_FIELD("action", struct stored, action, action_names),
    TEXT_FIELD("vm", struct stored, vm.name),
    TEXT_FIELD("vm_id", struct stored, vm.vm_id),
    NUMBER_FIELD("deadline_ms", struct stored, vm.deadline_ms),
    {0},
};

void vm_recorded_encode(const struct vm_recorded *r, int64_t format, struct buf *out)
{
    const struct stored s = {.vm = *r};
    record_encode(fields, &s, format, out);
}

int vm_recorded_decode(struct slice record, struct vm_recorded *out, struct err *e)
{
    static const char what[] = "recorded VM";
    struct stored s = {0};
    if (record_decode(what, fields, record, &s, e) != 0) {
        return -1;
    }
    if (s.vm.name[0] == '\0' || s.vm.vm_id[0] == '\0') {
        return err_set(e, ERR_PERMANENT, 0, "%s: no name or no id", what);
    }
    *out = s.vm;
    return 0;
}
