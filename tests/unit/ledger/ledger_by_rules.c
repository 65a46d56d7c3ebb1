#include "tests/unit/ledger/ledger_by_rules.h"

#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>

#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/ledger/front.h"
#include "common/ledger/rules.h"
#include "tests/lib/must.h"
#include "tests/unit/ledger/ledger_way.h"

#define STEPS_MAX 1500
#define START_MS 1800000000000LL

/* --- time and chance --- */
static _Atomic int64_t now_ms;

static int64_t wall_ms(void)
{
    return atomic_load(&now_ms);
}

static int64_t mono_us(void)
{
    return atomic_load(&now_ms) * 1000;
}

static const struct clock_source clock_source = {mono_us, wall_ms};

static uint64_t chance;

static int64_t draw(int64_t below)
{
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return (int64_t)(chance % (uint64_t)below);
}

/* Mostly forward a little; at times far, or back. */
static void pass_time(void)
{
    int64_t how = draw(40);
    int64_t by = how == 0   ? draw(10000000)
                 : how == 1 ? -draw(90000)
                 : how == 2 ? -draw(10000000)
                            : draw(700);
    atomic_fetch_add(&now_ms, by);
}

static void begin(void)
{
    const char *chosen = getenv("MAYFLY_SEED");
    uint64_t seed = chosen != NULL ? strtoull(chosen, NULL, 10) : random_below(1000000);
    print_message("rules: MAYFLY_SEED=%" PRIu64 "\n", seed);
    chance = seed * 2654435761U + 88172645463325252ULL;
    atomic_store(&now_ms, START_MS);
    clock_set_source(&clock_source);
    ledger_set_store_clock(wall_ms);
}

/* --- buckets --- */
static int64_t model_take(struct ledger_bucket_row *row, bool *known, const struct ledger_bucket *b,
                          int64_t cost)
{
    struct ledger_bucket_row after;
    if (!*known) {
        ledger_rule_bucket_new(row, wall_ms());
    }
    bool set_back = ledger_rule_clock_set_back(row, wall_ms());
    after = *row;
    ledger_rule_bucket_refill(&after, b->per_second, b->burst, wall_ms());
    int64_t wait = ledger_rule_bucket_wait(&after, b->per_second, cost, wall_ms());
    if (wait == 0) {
        ledger_rule_bucket_spend(&after, b->per_second, cost);
    }
    if (b->per_second > 0 && (wait == 0 || set_back)) {
        *row = after;
        *known = true;
    }
    return wait;
}

static void model_pause(struct ledger_bucket_row *row, bool *known, int64_t until_ms)
{
    if (!*known) {
        ledger_rule_bucket_new(row, wall_ms());
    }
    if (row->paused_until_ms < until_ms) {
        row->paused_until_ms = until_ms;
        *known = true;
    }
}

void ledger_buckets_by_rules(struct ledger *l, int steps)
{
    static const double rates[] = {0, 0.001, 0.3, 1, 7.77, 50, 1e6};
    struct ledger_bucket_row rows[2];
    bool known[2] = {false, false};
    struct err e;
    begin();
    for (int i = 0; i < steps; i++) {
        int64_t which = draw(2);
        struct ledger_bucket b = {.name = which == 0 ? "github:1" : "github:2",
                                  .per_second = rates[draw((int64_t)COUNT_OF(rates))],
                                  .burst = 1 + draw(40)};
        int64_t cost = 1 + draw(b.burst);
        int64_t wait = -1;
        pass_time();
        if (draw(12) == 0) {
            int64_t until = wall_ms() + draw(20000) - 5000;
            MUST(ledger_rate_pause(l, b.name, until, &e));
            model_pause(&rows[which], &known[which], until);
        }
        MUST(ledger_rate_take(l, &b, cost, &wait, &e));
        int64_t expected = model_take(&rows[which], &known[which], &b, cost);
        if (wait != expected) {
            fail_msg("step %d: rate %g burst %" PRId64 " cost %" PRId64 ": waits %" PRId64
                     " ms, by the rules %" PRId64,
                     i, b.per_second, b.burst, cost, wait, expected);
        }
    }
}

/* --- leases and signs --- */
void ledger_leases_by_rules(struct ledger *l, int steps)
{
    static const char *const holders[] = {"a", "b", "c"};
    struct ledger_lease_row row = {.fence = 0};
    int64_t since = 0; /* it was first seen as it is */
    bool changed = true;
    struct err e;
    begin();
    for (int i = 0; i < steps; i++) {
        const char *holder = holders[draw((int64_t)COUNT_OF(holders))];
        pass_time();
        if (draw(6) == 0) {
            MUST(ledger_lease_release(l, "sweep", holder, &e));
            if (strcmp(row.holder, holder) == 0) {
                row.holder[0] = '\0';
                row.until_ms = 0;
                changed = true;
            }
            continue;
        }
        int64_t ttl = 1 + draw(2000);
        bool held = false;
        int64_t fence = -1;
        MUST(ledger_lease(l, "sweep", holder, ttl, &held, &fence, &e));
        since = changed ? wall_ms() : since;
        changed = ledger_rule_lease(&row, holder, ttl, wall_ms(), wall_ms() - since);
        assert_int_equal(held, changed);
        assert_int_equal(fence, row.fence);
    }
}

/* --- reservations --- */
/* What the ledger knew before the step, from its own counts: those are checked by conformance. */
static struct ledger_usage usage_before(struct ledger *l, const struct ledger_vm *vms, size_t n)
{
    struct ledger_usage u = {.demand = 1}; /* this job, which is new */
    struct ledger_balance *b = NULL;
    size_t count = 0;
    struct err e;
    MUST(ledger_balances(l, &b, &count, &e));
    for (size_t i = 0; i < count; i++) {
        u.demand += b[i].demand;
        u.supply += b[i].supply;
    }
    free(b);
    for (size_t i = 0; i < n; i++) {
        u.fleet_used += ledger_vm_has_slot(vms[i].state) ? 1 : 0;
    }
    u.class_used = u.repository_used = u.fleet_used;
    return u;
}

static int64_t model_rate(struct ledger_bucket_row rows[2], bool known[2],
                          const struct ledger_caps *caps)
{
    const double rates[2] = {caps->rate_per_second, caps->class_rate_per_second};
    const int64_t bursts[2] = {caps->rate_burst, caps->class_rate_burst};
    struct ledger_bucket_row after[2];
    bool set_back = false;
    int64_t wait = 0;
    for (int i = 0; i < 2; i++) {
        if (!known[i]) {
            ledger_rule_bucket_new(&rows[i], wall_ms());
        }
        after[i] = rows[i];
        set_back = set_back || ledger_rule_clock_set_back(&rows[i], wall_ms());
        ledger_rule_bucket_refill(&after[i], rates[i], bursts[i], wall_ms());
        int64_t own = ledger_rule_bucket_wait(&after[i], rates[i], 1, wall_ms());
        wait = own > wait ? own : wait;
    }
    for (int i = 0; i < 2; i++) {
        if (wait == 0) {
            ledger_rule_bucket_spend(&after[i], rates[i], 1);
        }
        if (rates[i] > 0 && (wait == 0 || set_back)) {
            rows[i] = after[i];
            known[i] = true;
        }
    }
    return wait;
}

static void maybe_end_one(struct ledger *l, struct ledger_vm *vms, size_t n)
{
    size_t i = (size_t)draw((int64_t)n);
    if (vms[i].state != VM_GONE && draw(2) == 0) {
        way_end(l, vms[i].name, VM_ENDING);
        way_end(l, vms[i].name, VM_GONE);
        vms[i].state = VM_GONE;
    }
}

void ledger_reservations_by_rules(struct ledger *l, int steps)
{
    static struct ledger_vm vms[STEPS_MAX];
    struct ledger_bucket_row buckets[2];
    bool known[2] = {false, false};
    size_t n = 0;
    int seen[LEDGER_RATE + 1] = {0};
    assert_in_range(steps, 1, STEPS_MAX);
    begin();
    struct ledger_caps first = {.fleet = 100,
                                .class_max = 100,
                                .rate_per_second = 5,
                                .rate_burst = 3,
                                .class_rate_per_second = 2,
                                .class_rate_burst = 2};
    for (int64_t id = 1; id <= steps / 3; id++) {
        struct ledger_caps caps = first;
        struct ledger_usage u = usage_before(l, vms, n);
        caps.fleet = u.fleet_used + draw(4) - 1;
        caps.class_max = u.class_used + draw(4) - 1;
        caps.repository = draw(2) == 0 ? 0 : u.repository_used + draw(3);
        if (id > 1) {
            pass_time();
        }
        enum ledger_outcome expected = ledger_rule_reserve(&u, &caps);
        int64_t wait = expected == LEDGER_RESERVED ? model_rate(buckets, known, &caps) : 0;
        expected = wait > 0 ? LEDGER_RATE : expected;
        struct ledger_reservation r = way_reserve(l, id, caps);
        assert_string_equal(ledger_outcome_name(r.outcome), ledger_outcome_name(expected));
        assert_int_equal(r.wait_ms, wait);
        assert_int_equal(r.demand, u.demand);
        assert_int_equal(r.supply, u.supply);
        seen[r.outcome]++;
        if (r.outcome == LEDGER_RESERVED) {
            vms[n++] = r.vm;
        }
        if (n > 0) {
            maybe_end_one(l, vms, n);
        }
    }
    assert_true(seen[LEDGER_RESERVED] > 0 && seen[LEDGER_FULL_FLEET] > 0 &&
                seen[LEDGER_FULL_CLASS] > 0);
}
