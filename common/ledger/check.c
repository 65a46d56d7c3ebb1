#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/job/vm_name.h"
#include "common/ledger/front.h"
#include "common/ledger/ledger_backend.h"

int ledger_check_text(const char *argument, const char *value, size_t size, struct err *e)
{
    if (value == NULL || value[0] == '\0') {
        return err_set(e, ERR_PERMANENT, 0, "ledger: %s is missing", argument);
    }
    if (strnlen(value, size) == size) {
        return err_set(e, ERR_PERMANENT, 0, "ledger: %s \"%.40s…\" has more than %zu bytes",
                       argument, value, size - 1);
    }
    return 0;
}

int ledger_check_positive(const char *argument, int64_t value, struct err *e)
{
    if (value <= 0) {
        return err_set(e, ERR_PERMANENT, 0, "ledger: %s is %" PRId64 ", and must be above zero",
                       argument, value);
    }
    return 0;
}

static int check_job(const struct job *job, struct err *e)
{
    if (ledger_check_positive("the job's id", job->id, e) != 0) {
        return -1;
    }
    return ledger_check_text("the job's repository", job->repository, sizeof job->repository, e);
}

int ledger_check_event(const struct job_event *ev, struct err *e)
{
    return check_job(&ev->job, e);
}

static int check_deployment(const char *deployment, struct err *e)
{
    if (ledger_check_text("deployment", deployment, DEPLOYMENT_NAME_MAX + 1, e) != 0) {
        return -1;
    }
    if (deployment[strspn(deployment, "abcdefghijklmnopqrstuvwxyz0123456789-")] != '\0') {
        return err_set(e, ERR_PERMANENT, 0,
                       "ledger: deployment \"%s\" may only hold a-z, 0-9 and '-'", deployment);
    }
    return 0;
}

static int check_rate(const char *argument, double per_second, struct err *e)
{
    if (!isfinite(per_second) || per_second < 0) {
        return err_set(e, ERR_PERMANENT, 0, "ledger: %s is not a rate", argument);
    }
    return 0;
}

int ledger_check_reserve(const struct ledger_reserve *r, struct err *e)
{
    const struct ledger_vm *vm = NULL;
    const struct job *job = &r->request->job;
    if ((job->id != 0 && check_job(job, e) != 0) ||
        ledger_check_text("the class", r->request->class_name, sizeof r->request->class_name, e) !=
            0 ||
        ledger_check_text("scope", r->scope, sizeof vm->scope, e) != 0 ||
        ledger_check_text("provider", r->provider, sizeof vm->provider, e) != 0 ||
        check_deployment(r->deployment, e) != 0) {
        return -1;
    }
    if (r->host == NULL || strlen(r->host) >= sizeof vm->host) {
        return err_set(e, ERR_PERMANENT, 0, "ledger: host is missing or too long");
    }
    if (r->target != NULL && strlen(r->target) >= sizeof vm->target) {
        return err_set(e, ERR_PERMANENT, 0, "ledger: the target's name is too long");
    }
    if (r->request->spare < 0 || r->request->spare > LAUNCH_SPARE_MAX) {
        return err_set(e, ERR_PERMANENT, 0, "ledger: spare is not between 0 and %d",
                       LAUNCH_SPARE_MAX);
    }
    if (check_rate("the fleet's launch rate", r->caps.rate_per_second, e) != 0) {
        return -1;
    }
    return check_rate("the class's launch rate", r->caps.class_rate_per_second, e);
}

int ledger_check_target(const char *name, double per_second, struct err *e)
{
    if (ledger_check_text("target", name, TARGET_NAME_SIZE, e) != 0) {
        return -1;
    }
    return check_rate("the target's launch rate", per_second, e);
}

int ledger_check_advance(const struct ledger_advance *a, struct err *e)
{
    const struct ledger_vm *vm = NULL;
    if (ledger_check_text("VM", a->vm, sizeof vm->name, e) != 0) {
        return -1;
    }
    if (a->to == VM_REGISTERED && ledger_check_positive("the runner's id", a->runner_id, e) != 0) {
        return -1;
    }
    if (a->vm_id != NULL && strlen(a->vm_id) >= sizeof vm->vm_id) {
        return err_set(e, ERR_PERMANENT, 0, "ledger: the provider's VM id \"%.40s…\" is too long",
                       a->vm_id);
    }
    return 0;
}

int ledger_check_bucket(const struct ledger_bucket *b, int64_t cost, struct err *e)
{
    if (ledger_check_text("bucket", b->name, 128, e) != 0 ||
        check_rate("the bucket's rate", b->per_second, e) != 0 ||
        ledger_check_positive("the cost", cost, e) != 0) {
        return -1;
    }
    if (b->per_second > 0 && cost > (b->burst > 1 ? b->burst : 1)) {
        return err_set(e, ERR_PERMANENT, 0,
                       "ledger: bucket %s can never hold %" PRId64 " tokens: its burst is %" PRId64,
                       b->name, cost, b->burst);
    }
    return 0;
}

/* --- for a backend that has nothing to check --- */
int64_t ledger_now_local(void *state)
{
    (void)state;
    return clock_wall_ms();
}

int ledger_history_unbroken(void *state, char out[LEDGER_HISTORY_SIZE], struct err *e)
{
    (void)state;
    (void)e;
    out[0] = '\0';
    return 0;
}

int ledger_repair_nothing(void *state, struct ledger_repair **out, size_t *n, size_t *suspected,
                          struct err *e)
{
    (void)state;
    (void)e;
    *out = NULL;
    *n = 0;
    *suspected = 0;
    return 0;
}

void ledger_check_nothing(void *state, enum ledger_check what, ledger_report_fn *report, void *arg)
{
    (void)state;
    (void)what;
    (void)report;
    (void)arg;
}
