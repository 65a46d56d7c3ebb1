#include "common/ledger/columns.h"

#include <string.h>

#include "common/base/attr.h"

_Static_assert(sizeof(enum ledger_job_state) == sizeof(unsigned), "states are read as unsigned");
_Static_assert(sizeof(enum ledger_vm_state) == sizeof(unsigned), "states are read as unsigned");

/* clang-format off */
#define COLUMN(type, kind, moves, attribute, member)                                               \
    {LEDGER_##kind, moves, attribute, offsetof(struct type, member),                               \
     sizeof(((struct type *)0)->member)},
#define JOB_FIXED(kind, name, attribute, member) COLUMN(ledger_job, kind, false, attribute, member)
#define JOB_MOVES(kind, name, attribute, member) COLUMN(ledger_job, kind, true, attribute, member)
#define VM_FIXED(kind, name, attribute, member) COLUMN(ledger_vm, kind, false, attribute, member)
#define VM_MOVES(kind, name, attribute, member) COLUMN(ledger_vm, kind, true, attribute, member)
/* clang-format on */
static const struct ledger_column job_columns[] = {LEDGER_JOB_COLUMNS(JOB_FIXED, JOB_MOVES)};
static const struct ledger_column vm_columns[] = {LEDGER_VM_COLUMNS(VM_FIXED, VM_FIXED, VM_MOVES)};

_Static_assert(COUNT_OF(job_columns) <= LEDGER_COLUMNS_MAX, "a row of values holds them");
_Static_assert(COUNT_OF(vm_columns) <= LEDGER_COLUMNS_MAX, "a row of values holds them");

const struct ledger_columns ledger_job_columns = {.at = job_columns,
                                                  .count = COUNT_OF(job_columns),
                                                  .row_size = sizeof(struct ledger_job),
                                                  .state_max = JOB_CANCELLED};
const struct ledger_columns ledger_vm_columns = {.at = vm_columns,
                                                 .count = COUNT_OF(vm_columns),
                                                 .row_size = sizeof(struct ledger_vm),
                                                 .state_max = VM_GONE};

const char *ledger_column_text(const struct ledger_column *c, const void *row)
{
    return (const char *)row + c->offset;
}

int64_t ledger_column_number(const struct ledger_column *c, const void *row)
{
    int64_t number;
    unsigned state;
    if (c->kind == LEDGER_NUMBER) {
        memcpy(&number, (const char *)row + c->offset, sizeof number);
        return number;
    }
    memcpy(&state, (const char *)row + c->offset, sizeof state);
    return state;
}

void ledger_columns_clear(const struct ledger_columns *columns, void *row)
{
    memset(row, 0, columns->row_size);
}

char *ledger_column_space(const struct ledger_column *c, void *row)
{
    return (char *)row + c->offset;
}

bool ledger_column_set(const struct ledger_columns *columns, const struct ledger_column *c,
                       void *row, int64_t number)
{
    if (c->kind == LEDGER_NUMBER) {
        memcpy((char *)row + c->offset, &number, sizeof number);
        return true;
    }
    unsigned state = (unsigned)number;
    memcpy((char *)row + c->offset, &state, sizeof state);
    return number >= 0 && number <= columns->state_max;
}
