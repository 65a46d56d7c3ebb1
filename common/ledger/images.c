#include "common/ledger/images.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/ledger/kinds.h"

#define TRIES_MAX 8 /* of a compare-and-set, against conflicts */

/* --- the cell: "key=value" with spaces between them; `why` is the rest --- */

static const char *const news_words[] = {[IMAGE_NO_NEWS] = "",
                                         [IMAGE_BEGAN] = "began",
                                         [IMAGE_PROMOTED] = "promoted",
                                         [IMAGE_REJECTED] = "rejected",
                                         [IMAGE_REPLACED] = "replaced"};

static void decode_text(struct slice value, char *out, size_t size)
{
    (void)!slice_to_cstr(value, out, size);
}

static void decode_number(struct slice value, int64_t *out)
{
    (void)!slice_to_int64(value, out);
}

static void decode_rejected(struct slice value, struct ledger_image *out)
{
    struct slice one;
    for (size_t i = 0; i < IMAGE_REJECTED_MAX && value.len > 0; i++) {
        (void)slice_cut(value, ',', &one, &value);
        decode_text(one, out->rejected[i], sizeof out->rejected[i]);
    }
}

static void decode_news(struct slice value, struct ledger_image *out)
{
    for (size_t i = 0; i < COUNT_OF(news_words); i++) {
        if (slice_eq_cstr(value, news_words[i])) {
            out->news = (enum ledger_image_news)i;
        }
    }
}

static void decode_member(struct slice key, struct slice value, struct ledger_image *out)
{
    const struct {
        const char *key;
        char *text;
        size_t size;
        int64_t *number;
    } members[] = {
        {"image", out->image, sizeof out->image, NULL},
        {"good", out->good, sizeof out->good, NULL},
        {"former", out->former, sizeof out->former, NULL},
        {"canary", out->canary, sizeof out->canary, NULL},
        {"since", NULL, 0, &out->good_since_ms},
        {"began", NULL, 0, &out->canary_since_ms},
        {"jobs", NULL, 0, &out->jobs},
        {"failures", NULL, 0, &out->failures},
        {"good_jobs", NULL, 0, &out->good_jobs},
        {"good_failures", NULL, 0, &out->good_failures},
        {"rejected_at", NULL, 0, &out->rejected_ms},
    };
    for (size_t i = 0; i < COUNT_OF(members); i++) {
        if (slice_eq_cstr(key, members[i].key) && members[i].text != NULL) {
            decode_text(value, members[i].text, members[i].size);
        } else if (slice_eq_cstr(key, members[i].key)) {
            decode_number(value, members[i].number);
        }
    }
    if (slice_eq_cstr(key, "rejected")) {
        decode_rejected(value, out);
    } else if (slice_eq_cstr(key, "news")) {
        decode_news(value, out);
    } else if (slice_eq_cstr(key, "by")) {
        out->by_rule = slice_eq_cstr(value, "rule");
    }
}

void ledger_image_decode(const struct ledger_cell *cell, struct ledger_image *out)
{
    struct slice rest = slice_of(cell->value);
    *out = (struct ledger_image){.version = cell->version};
    (void)!slice_to_cstr(slice_of(cell->name), out->class_name, sizeof out->class_name);
    while (rest.len > 0) {
        struct slice word = rest;
        struct slice key;
        struct slice value;
        if (slice_starts_with(rest, SLICE("why="))) {
            decode_text((struct slice){rest.ptr + 4, rest.len - 4}, out->why, sizeof out->why);
            return;
        }
        (void)slice_cut(rest, ' ', &word, &rest);
        if (slice_cut(word, '=', &key, &value)) {
            decode_member(key, value, out);
        }
    }
}

void ledger_image_encode(const struct ledger_image *i, char out[LEDGER_CELL_VALUE])
{
    char rejected[IMAGE_REJECTED_MAX * (LEDGER_IMAGE_VERSION + 1)] = "";
    size_t len = 0;
    for (size_t k = 0; k < IMAGE_REJECTED_MAX && i->rejected[k][0] != '\0'; k++) {
        int n = snprintf(rejected + len, sizeof rejected - len, "%s%s", k > 0 ? "," : "",
                         i->rejected[k]);
        len += n > 0 ? (size_t)n : 0;
    }
    (void)snprintf(out, LEDGER_CELL_VALUE,
                   "image=%s good=%s since=%" PRId64 " former=%s canary=%s began=%" PRId64
                   " jobs=%" PRId64 " failures=%" PRId64 " good_jobs=%" PRId64
                   " good_failures=%" PRId64 " rejected=%s rejected_at=%" PRId64
                   " by=%s news=%s why=%s",
                   i->image, i->good, i->good_since_ms, i->former, i->canary, i->canary_since_ms,
                   i->jobs, i->failures, i->good_jobs, i->good_failures, rejected, i->rejected_ms,
                   i->by_rule ? "rule" : "operator", news_words[i->news], i->why);
}

int ledger_image_get(struct ledger *l, const char *class_name, struct ledger_image *out,
                     struct err *e)
{
    struct ledger_cell cell;
    if (ledger_cell_get(l, LEDGER_KIND_IMAGE, class_name, &cell, e) != 0) {
        return -1;
    }
    ledger_image_decode(&cell, out);
    return 0;
}

int ledger_image_list(struct ledger *l, struct ledger_image **out, size_t *n, struct err *e)
{
    struct ledger_cell *cells = NULL;
    size_t count = 0;
    if (ledger_cell_list(l, LEDGER_KIND_IMAGE, &cells, &count, e) != 0) {
        return -1;
    }
    struct ledger_image *list = calloc(count + 1, sizeof *list);
    ASSERT(list != NULL);
    for (size_t i = 0; i < count; i++) {
        ledger_image_decode(&cells[i], &list[i]);
    }
    free(cells);
    *out = list;
    *n = count;
    return 0;
}

int ledger_image_put(struct ledger *l, const struct ledger_image *i, struct err *e)
{
    char value[LEDGER_CELL_VALUE];
    ledger_image_encode(i, value);
    return ledger_cell_put(l, LEDGER_KIND_IMAGE, i->class_name, value, i->version, NULL, e);
}

int ledger_image_change(struct ledger *l, const char *class_name, ledger_image_change_fn *change,
                        void *arg, struct ledger_image *out, struct err *e)
{
    for (int i = 0; i < TRIES_MAX; i++) {
        if (ledger_image_get(l, class_name, out, e) != 0) {
            return -1;
        }
        if (!change(out, arg) || ledger_image_put(l, out, e) == 0) {
            return 0;
        }
        if (e->class != ERR_CONFLICT) {
            return -1;
        }
    }
    return -1;
}

/* --- rules --- */

static void set_version(char to[LEDGER_IMAGE_VERSION], const char *from)
{
    (void)snprintf(to, LEDGER_IMAGE_VERSION, "%s", from);
}

static void set_why(struct ledger_image *i, const char *why)
{
    slice_shorten(why, i->why, sizeof i->why);
}

static void end_canary(struct ledger_image *i)
{
    i->canary[0] = '\0';
    i->canary_since_ms = 0;
    i->jobs = 0;
    i->failures = 0;
    i->good_jobs = 0;
    i->good_failures = 0;
}

void ledger_image_begin(struct ledger_image *i, const char *image, const char *version,
                        int64_t now_ms)
{
    struct ledger_image fresh = {.version = i->version, .good_since_ms = now_ms};
    memcpy(fresh.class_name, i->class_name, sizeof fresh.class_name);
    (void)snprintf(fresh.image, sizeof fresh.image, "%s", image);
    set_version(fresh.good, version);
    *i = fresh;
}

bool ledger_image_is_rejected(const struct ledger_image *i, const char *version)
{
    for (size_t k = 0; k < IMAGE_REJECTED_MAX; k++) {
        if (i->rejected[k][0] != '\0' && strcmp(i->rejected[k], version) == 0) {
            return true;
        }
    }
    return false;
}

bool ledger_image_is_newer(const char *version, const char *other)
{
    return strtod(version, NULL) > strtod(other, NULL);
}

bool ledger_image_offer(struct ledger_image *i, const char *version, int64_t now_ms)
{
    if (!ledger_image_is_newer(version, i->good) || ledger_image_is_rejected(i, version) ||
        (i->canary[0] != '\0' && !ledger_image_is_newer(version, i->canary))) {
        return false;
    }
    end_canary(i);
    set_version(i->canary, version);
    i->canary_since_ms = now_ms;
    i->news = IMAGE_BEGAN;
    return true;
}

bool ledger_image_promote(struct ledger_image *i, int64_t now_ms)
{
    if (i->canary[0] == '\0') {
        return false;
    }
    memcpy(i->former, i->good, sizeof i->former);
    memcpy(i->good, i->canary, sizeof i->good);
    i->good_since_ms = now_ms;
    end_canary(i);
    i->news = IMAGE_PROMOTED;
    return true;
}

void ledger_image_take(struct ledger_image *i, const char *version, int64_t now_ms)
{
    size_t kept = 0;
    char taken[LEDGER_IMAGE_VERSION];
    set_version(taken, version);
    for (size_t k = 0; k < IMAGE_REJECTED_MAX; k++) {
        if (strcmp(i->rejected[k], taken) != 0) {
            memmove(i->rejected[kept++], i->rejected[k], sizeof i->rejected[k]);
        }
    }
    for (; kept < IMAGE_REJECTED_MAX; kept++) {
        i->rejected[kept][0] = '\0';
    }
    memcpy(i->canary, taken, sizeof i->canary);
    (void)ledger_image_promote(i, now_ms);
}

static void add_rejected(struct ledger_image *i, const char *version)
{
    memmove(i->rejected[1], i->rejected[0], sizeof i->rejected - sizeof i->rejected[0]);
    set_version(i->rejected[0], version);
}

bool ledger_image_reject(struct ledger_image *i, const char *version, bool by_rule, const char *why,
                         int64_t now_ms)
{
    bool is_canary = i->canary[0] != '\0' && strcmp(i->canary, version) == 0;
    bool is_good = strcmp(i->good, version) == 0 && i->former[0] != '\0';
    if (!is_canary && !is_good) {
        return false;
    }
    add_rejected(i, version);
    if (is_good) {
        memcpy(i->good, i->former, sizeof i->good);
        i->former[0] = '\0';
        i->good_since_ms = now_ms;
    } else {
        end_canary(i);
    }
    i->rejected_ms = now_ms;
    i->by_rule = by_rule;
    i->news = IMAGE_REJECTED;
    set_why(i, why);
    return true;
}

void ledger_image_replace(struct ledger_image *i, const char *version, const char *why,
                          int64_t now_ms)
{
    if (strcmp(i->canary, version) == 0) {
        end_canary(i);
    }
    set_version(i->good, version);
    i->former[0] = '\0';
    i->good_since_ms = now_ms;
    i->news = IMAGE_REPLACED;
    set_why(i, why);
}

static bool is_of(const char *version, const struct ledger_vm *vm)
{
    return version[0] != '\0' && strcmp(version, vm->image_version) == 0;
}

bool ledger_image_count_job(struct ledger_image *i, const struct ledger_vm *vm, int64_t now_ms)
{
    bool of_canary = is_of(i->canary, vm);
    if (i->canary[0] == '\0' || (!of_canary && !is_of(i->good, vm))) {
        return false;
    }
    *(of_canary ? &i->jobs : &i->good_jobs) += 1;
    if (i->jobs >= IMAGE_CANARY_JOBS) {
        (void)ledger_image_promote(i, now_ms);
    }
    return true;
}

/* Whether the canary has so many failures beyond twice what the good version's rate lets expect of as many VMs. */
static bool fails_too_often(const struct ledger_image *i)
{
    const int64_t good_vms = i->good_jobs + i->good_failures;
    const int64_t canary_vms = i->jobs + i->failures;
    const int64_t beyond = i->failures - IMAGE_CANARY_FAILURES;
    return beyond >= 0 && beyond * good_vms >= 2 * i->good_failures * canary_vms;
}

bool ledger_image_count_failure(struct ledger_image *i, const struct ledger_vm *vm, const char *why,
                                int64_t now_ms)
{
    bool of_canary = is_of(i->canary, vm);
    if (i->canary[0] == '\0' || (!of_canary && !is_of(i->good, vm))) {
        return false;
    }
    *(of_canary ? &i->failures : &i->good_failures) += 1;
    if (of_canary && fails_too_often(i)) {
        char canary[LEDGER_IMAGE_VERSION];
        memcpy(canary, i->canary, sizeof canary);
        (void)ledger_image_reject(i, canary, true, why, now_ms);
    }
    return true;
}
