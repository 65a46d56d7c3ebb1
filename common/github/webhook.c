#include "common/github/webhook.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/codec.h"
#include "common/github/webhook_scan.h"
#include "common/job/vm_name.h"

/* The result of a step that does not end the parsing. */
#define GO_ON ((enum webhook_verdict) - 1)

static bool is_type(struct slice content_type, struct slice wanted)
{
    struct slice type;
    struct slice parameters;
    slice_cut(content_type, ';', &type, &parameters);
    return slice_eq_nocase(slice_trim(type), wanted);
}

enum webhook_form webhook_form(struct slice content_type)
{
    if (is_type(content_type, SLICE("application/json"))) {
        return WEBHOOK_JSON;
    }
    return is_type(content_type, SLICE("application/x-www-form-urlencoded")) ? WEBHOOK_FORM
                                                                             : WEBHOOK_UNKNOWN;
}

bool webhook_form_payload(struct slice form, struct buf *out)
{
    struct slice parameter;
    struct slice key;
    struct slice value;
    bool found = false;
    for (bool more = form.len > 0; more;) {
        more = slice_cut(form, '&', &parameter, &form);
        if (!slice_cut(parameter, '=', &key, &value) || !slice_eq(key, SLICE("payload"))) {
            continue;
        }
        if (found || !codec_unform(out, value)) {
            return false;
        }
        found = true;
    }
    return found;
}

/* --- values out of the slices ---------------------------------------------------------------- */

static bool is_null(struct slice raw)
{
    return raw.len == 0 || raw.ptr[0] == 'n';
}

/* The longest prefix of s that fits size-1 bytes and does not end within a UTF-8 sequence. */
static struct slice cut_to(struct slice s, size_t size)
{
    if (s.len < size) {
        return s;
    }
    s.len = size - 1;
    while (s.len > 0 && ((unsigned char)s.ptr[s.len] & 0xc0) == 0x80) {
        s.len--;
    }
    return s;
}

/* Copies a scanned string. False if it is not a string, or (unless truncation is allowed) longer
 * than size-1. */
static bool take_string(struct slice raw, char *out, size_t size, bool cut)
{
    if (!json_is_text(raw)) {
        return false;
    }
    struct buf decoded = {0};
    struct slice text = {raw.ptr + 1, raw.len - 2};
    if (memchr(text.ptr, '\\', text.len) != NULL) {
        buf_init(&decoded, raw.len);
        json_text(raw, &decoded);
        text = buf_slice(&decoded);
    }
    bool taken = slice_to_cstr(cut ? cut_to(text, size) : text, out, size);
    buf_fini(&decoded);
    return taken;
}

/* Leaves *out unchanged if it is null or absent. */
static bool take_optional_string(struct slice raw, char *out, size_t size)
{
    return is_null(raw) || take_string(raw, out, size, true);
}

static bool take_optional_id(struct slice raw, int64_t *out)
{
    return is_null(raw) || (slice_to_int64(raw, out) && *out >= 0);
}

/* --- steps ------------------------------------------------------------------------------------ */

static enum webhook_verdict reject_malformed(const char **reason, const char *text)
{
    *reason = text;
    return WEBHOOK_MALFORMED;
}

static enum webhook_verdict ignore_event(const char **reason, const char *text)
{
    *reason = text;
    return WEBHOOK_IGNORED;
}

static bool has_only(struct slice s, const char *others)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool is_common = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_common && (c == '\0' || strchr(others, c) == NULL)) {
            return false;
        }
    }
    return s.len > 0;
}

static enum webhook_verdict read_webhook_headers(const struct webhook_request *r,
                                                 struct job_event *ev, const char **reason)
{
    if (r->event.len == 0) {
        return reject_malformed(reason, "no_event");
    }
    if (!has_only(r->delivery, "-") ||
        !slice_to_cstr(r->delivery, ev->delivery, sizeof ev->delivery)) {
        return reject_malformed(reason, "bad_delivery_id");
    }
    if (slice_eq(r->event, SLICE("ping"))) {
        return ignore_event(reason, "ping");
    }
    return slice_eq(r->event, SLICE("workflow_job")) ? GO_ON
                                                     : ignore_event(reason, "event_unsupported");
}

static enum webhook_verdict read_action(const struct webhook_scan *scan, struct job_event *ev,
                                        const char **reason)
{
    char action[32];
    if (!json_is_text(scan->member[MEMBER_ACTION])) {
        return reject_malformed(reason, "no_action");
    }
    if (!take_string(scan->member[MEMBER_ACTION], action, sizeof action, false) ||
        !job_action_parse(slice_of(action), &ev->action)) {
        return ignore_event(reason, "action_unknown");
    }
    return GO_ON;
}

/* owner/name by GitHub's rules: this becomes a part of URLs. The underscore is of managed users. */
static bool is_full_name(struct slice s)
{
    struct slice owner, name;
    return slice_cut(s, '/', &owner, &name) && has_only(owner, "-_") && has_only(name, "-_.") &&
           !slice_eq_cstr(name, ".") && !slice_eq_cstr(name, "..");
}

static enum webhook_verdict read_repository(const struct webhook_scan *scan, const struct config *c,
                                            struct job_event *ev, const char **reason)
{
    if (!take_string(scan->member[MEMBER_REPOSITORY_FULL_NAME], ev->job.repository,
                     sizeof ev->job.repository, false)) {
        return reject_malformed(reason, "no_repository");
    }
    if (!is_full_name(slice_of(ev->job.repository))) {
        return reject_malformed(reason, "no_repository");
    }
    if (!config_admits_repository(c, slice_of(ev->job.repository))) {
        return ignore_event(reason, "repository_not_allowed");
    }
    return GO_ON;
}

static enum webhook_verdict read_owner(const struct webhook_scan *scan, struct job_event *ev,
                                       const char **reason)
{
    struct slice login = scan->member[MEMBER_ORGANIZATION_LOGIN];
    if (!is_null(login) &&
        !take_string(login, ev->job.organization, sizeof ev->job.organization, false)) {
        return reject_malformed(reason, "bad_organization");
    }
    return take_optional_id(scan->member[MEMBER_INSTALLATION_ID], &ev->job.installation_id)
               ? GO_ON
               : reject_malformed(reason, "bad_installation");
}

static enum webhook_verdict read_job(const struct webhook_scan *scan, struct job_event *ev,
                                     const char **reason)
{
    const struct slice *m = scan->member;
    char created[40] = "";
    if (m[MEMBER_JOB].len > 0 && m[MEMBER_JOB].ptr[0] == 'n') {
        return ignore_event(reason, "job_null");
    }
    if (m[MEMBER_JOB].len == 0 || m[MEMBER_JOB].ptr[0] != '{') {
        return reject_malformed(reason, "no_job");
    }
    if (!slice_to_int64(m[MEMBER_JOB_ID], &ev->job.id) || ev->job.id <= 0) {
        return reject_malformed(reason, "no_job_id");
    }
    ev->job.run_attempt = 1;
    if (!take_optional_id(m[MEMBER_JOB_RUN_ID], &ev->job.run_id) ||
        !take_optional_id(m[MEMBER_JOB_RUN_ATTEMPT], &ev->job.run_attempt) ||
        !take_optional_id(m[MEMBER_JOB_RUNNER_ID], &ev->runner_id) ||
        !take_optional_string(m[MEMBER_JOB_STATUS], ev->status, sizeof ev->status) ||
        !take_optional_string(m[MEMBER_JOB_CONCLUSION], ev->job.conclusion,
                              sizeof ev->job.conclusion) ||
        !take_optional_string(m[MEMBER_JOB_RUNNER_NAME], ev->job.runner_name,
                              sizeof ev->job.runner_name) ||
        !take_optional_string(m[MEMBER_JOB_NAME], ev->job.name, sizeof ev->job.name) ||
        !take_optional_string(m[MEMBER_JOB_WORKFLOW_NAME], ev->job.workflow,
                              sizeof ev->job.workflow) ||
        !take_optional_string(m[MEMBER_JOB_CREATED_AT], created, sizeof created)) {
        return reject_malformed(reason, "bad_job");
    }
    int64_t created_ms = created[0] != '\0' ? clock_parse_utc(created) : 0;
    ev->job.created_ms = created_ms > 0 ? created_ms : 0;
    return GO_ON;
}

/* --- labels ---------------------------------------------------------------------------------- */

struct labels {
    struct slice raw[JOB_LABELS_MAX];
    struct slice text[JOB_LABELS_MAX];
    struct buf decoded; /* storage of texts that were written with escapes */
    size_t count;
};

static void decode_labels(struct labels *l, size_t size)
{
    for (size_t i = 0; i < l->count; i++) {
        l->text[i] = (struct slice){l->raw[i].ptr + 1, l->raw[i].len - 2};
        if (memchr(l->text[i].ptr, '\\', l->text[i].len) != NULL) {
            buf_reserve(&l->decoded, size - l->decoded.len); /* allocated once: slices into it stay
                                                              * valid */
            size_t before = l->decoded.len;
            json_text(l->raw[i], &l->decoded);
            l->text[i] = (struct slice){l->decoded.data + before, l->decoded.len - before};
        }
    }
}

static enum webhook_verdict route_by(struct labels *l, const struct config *c, struct job_event *ev,
                                     const char **reason)
{
    const struct config_class *class = config_route(c, l->text, l->count);
    job_labels_join(l->text, l->count, ev->job.labels);
    if (class == NULL) {
        return ignore_event(reason, WEBHOOK_REASON_LABELS);
    }
    return slice_to_cstr(slice_of(class->name), ev->job.class_name, sizeof ev->job.class_name)
               ? GO_ON
               : ignore_event(reason, WEBHOOK_REASON_LABELS);
}

static enum webhook_verdict read_labels(const struct webhook_scan *scan, const struct config *c,
                                        struct job_event *ev, const char **reason)
{
    struct labels l;
    struct slice raw = scan->member[MEMBER_JOB_LABELS];
    if (is_null(raw)) {
        return ignore_event(reason, WEBHOOK_REASON_NO_LABELS);
    }
    if (!json_scan_strings(raw, l.raw, JOB_LABELS_MAX, &l.count)) {
        return reject_malformed(reason, "bad_labels");
    }
    if (l.count == 0) {
        return ignore_event(reason, WEBHOOK_REASON_NO_LABELS);
    }
    buf_init(&l.decoded, raw.len);
    decode_labels(&l, raw.len);
    enum webhook_verdict verdict = route_by(&l, c, ev, reason);
    buf_fini(&l.decoded);
    return verdict;
}

/* Fails closed: a repository is private only if the payload says so ("internal" ones are). */
static bool is_public(const struct webhook_scan *scan)
{
    return !slice_eq(scan->member[MEMBER_REPOSITORY_PRIVATE], SLICE("true")) ||
           slice_eq(scan->member[MEMBER_REPOSITORY_VISIBILITY], SLICE("\"public\""));
}

/* Jobs of public repositories get no VM. Those that ended up on one all the same, because the
 * runner group admits them or the repository became public, are followed to their end. */
static bool is_refused(const struct webhook_scan *scan, const struct config *c,
                       const struct job_event *ev)
{
    bool starts = ev->action == JOB_ACTION_QUEUED || ev->action == JOB_ACTION_WAITING;
    return starts && is_public(scan) && !config_allows_public_repositories(c);
}

static bool is_unmatched(const char *reason)
{
    return strcmp(reason, WEBHOOK_REASON_LABELS) == 0 ||
           strcmp(reason, WEBHOOK_REASON_NO_LABELS) == 0;
}

/* What a runner of this deployment does is followed whatever the labels: its class may have been renamed
 * or removed. So is the end of a job that had no runner, which may wait in the ledger. */
static bool is_followed(const struct job_event *ev, const struct config *c)
{
    if (ev->action != JOB_ACTION_IN_PROGRESS && ev->action != JOB_ACTION_COMPLETED) {
        return false;
    }
    return ev->job.runner_name[0] != '\0' ? vm_name_is_owned(ev->job.runner_name, c->deployment)
                                          : ev->action == JOB_ACTION_COMPLETED;
}

static enum webhook_verdict read_webhook_body(struct slice json, const struct config *c,
                                              struct job_event *ev, const char **reason)
{
    struct webhook_scan scan;
    enum webhook_verdict verdict;
    if (!webhook_scan(json, &scan, reason)) {
        return WEBHOOK_MALFORMED;
    }
    verdict = read_action(&scan, ev, reason);
    if (verdict == GO_ON) {
        verdict = read_job(&scan, ev, reason);
    }
    if (verdict == GO_ON) {
        verdict = read_repository(&scan, c, ev, reason);
    }
    if (verdict == GO_ON) {
        verdict = read_owner(&scan, ev, reason);
    }
    if (verdict == GO_ON) {
        verdict = read_labels(&scan, c, ev, reason);
    }
    if (verdict == WEBHOOK_IGNORED && is_unmatched(*reason) && is_followed(ev, c)) {
        *reason = "";
        return WEBHOOK_EVENT;
    }
    if (verdict != GO_ON) {
        return verdict;
    }
    if (is_refused(&scan, c, ev)) {
        *reason = WEBHOOK_REASON_PUBLIC;
        return WEBHOOK_REFUSED;
    }
    return job_event_wants_runner(ev) ? WEBHOOK_LAUNCH : WEBHOOK_EVENT;
}

static enum webhook_verdict read_form(struct slice body, const struct config *c,
                                      struct job_event *ev, const char **reason)
{
    struct buf json;
    enum webhook_verdict verdict;
    buf_init(&json, body.len + 1);
    verdict = webhook_form_payload(body, &json) ? read_webhook_body(buf_slice(&json), c, ev, reason)
                                                : reject_malformed(reason, "bad_form");
    buf_fini(&json);
    return verdict;
}

enum webhook_verdict webhook_parse(const struct webhook_request *r, const struct config *c,
                                   struct job_event *out, const char **reason)
{
    struct job_event ev = {0};
    enum webhook_form form = webhook_form(r->content_type);
    *reason = "";
    if (form == WEBHOOK_UNKNOWN) {
        return reject_malformed(reason, "content_type");
    }
    enum webhook_verdict verdict = read_webhook_headers(r, &ev, reason);
    if (verdict == GO_ON) {
        verdict = (form == WEBHOOK_JSON ? read_webhook_body : read_form)(r->body, c, &ev, reason);
    }
    if (verdict != WEBHOOK_MALFORMED) {
        ev.received_ms = clock_wall_ms();
        *out = ev;
    }
    return verdict;
}
