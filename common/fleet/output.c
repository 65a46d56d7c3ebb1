#include "common/fleet/output.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/printable.h"
#include "common/fleet/internal.h"

#define MINUTE_MS 60000
#define SECRET_RUN 48 /* letters, digits and the signs of base64, as keys and tokens are */
#define TOKEN_MIN 16

/* --- cleaning: pure ---------------------------------------------------------------------------- */

/* The escape sequences of terminals, as printable_append and a supervisor have written their first
 * byte: colours and cursors. Returns how long the one at the front is; 0: there is none. */
static size_t length_of_escape(struct slice s)
{
    static const char esc[] = "\\u001b";
    size_t n = sizeof esc - 1;
    if (!slice_starts_with(s, slice_of(esc))) {
        return 0;
    }
    if (n == s.len || s.ptr[n] != '[') {
        return n;
    }
    n++;
    while (n < s.len &&
           ((s.ptr[n] >= '0' && s.ptr[n] <= '9') || s.ptr[n] == ';' || s.ptr[n] == '?')) {
        n++;
    }
    return n < s.len ? n + 1 : n;
}

static void strip_escapes(struct slice line, struct buf *out)
{
    while (line.len > 0) {
        size_t n = length_of_escape(line);
        if (n == 0) {
            buf_append_byte(out, line.ptr[0]);
            n = 1;
        }
        line.ptr += n;
        line.len -= n;
    }
}

static bool is_of_secret(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("+/=_-", c) != NULL);
}

static bool begins_with_token(struct slice s)
{
    bool is_kind = s.len >= TOKEN_MIN && s.ptr[2] != '\0' && strchr("oprsu", s.ptr[2]) != NULL;
    return (is_kind && s.ptr[0] == 'g' && s.ptr[1] == 'h' && s.ptr[3] == '_') ||
           (s.len >= TOKEN_MIN && slice_starts_with(s, SLICE("github_pat_")));
}

/* Also behind its name, as in "token=ghs_…". */
static bool has_token(struct slice run)
{
    bool is_begin = true;
    for (size_t i = 0; i < run.len; i++) {
        if (is_begin && begins_with_token((struct slice){run.ptr + i, run.len - i})) {
            return true;
        }
        is_begin = run.ptr[i] == '=' || run.ptr[i] == '/' || run.ptr[i] == '-' ||
                   run.ptr[i] == '+' || run.ptr[i] == '_';
    }
    return false;
}

/* Base64 of anything but text that repeats has all kinds of characters, and few slashes; a path has
 * many, and a digest no capitals. */
static bool is_secret(struct slice run)
{
    size_t lower = 0;
    size_t upper = 0;
    size_t digits = 0;
    size_t slashes = 0;
    for (size_t i = 0; i < run.len; i++) {
        lower += run.ptr[i] >= 'a' && run.ptr[i] <= 'z';
        upper += run.ptr[i] >= 'A' && run.ptr[i] <= 'Z';
        digits += run.ptr[i] >= '0' && run.ptr[i] <= '9';
        slashes += run.ptr[i] == '/';
    }
    return has_token(run) || (run.len >= SECRET_RUN && lower > 0 && upper > 0 && digits > 0 &&
                              slashes <= run.len / 16 + 1);
}

/* "user:password@" behind "://". */
static size_t length_of_userinfo(struct slice s)
{
    for (size_t i = 0; i < s.len && s.ptr[i] != '\0' && strchr("/ \t\"'<>", s.ptr[i]) == NULL;
         i++) {
        if (s.ptr[i] == '@') {
            return i + 1;
        }
    }
    return 0;
}

static size_t length_of_run(struct slice s)
{
    size_t n = 0;
    while (n < s.len && is_of_secret(s.ptr[n])) {
        n++;
    }
    return n;
}

/* Appends what is at the front of the line, a word or another character, or that it was removed;
 * returns how long it is. */
static size_t append_word(struct slice s, struct buf *out)
{
    size_t n = length_of_run(s);
    if (slice_starts_with(s, SLICE("://"))) {
        size_t user = length_of_userinfo((struct slice){s.ptr + 3, s.len - 3});
        buf_append_cstr(out, user > 0 ? "://[removed]@" : "://");
        return 3 + user;
    }
    if (n > 0 && is_secret((struct slice){s.ptr, n})) {
        buf_printf(out, "[removed: %zu characters]", n);
        return n;
    }
    n = n > 0 ? n : 1;
    buf_append(out, (struct slice){s.ptr, n});
    return n;
}

static void append_clean_line(struct slice line, struct buf *out)
{
    struct buf shown;
    struct buf text;
    buf_init(&shown, line.len * PRINTABLE_GROWTH + 1);
    printable_append(&shown, slice_trim(line)); /* a console ends lines with CR LF */
    buf_init(&text, shown.len + 1);
    strip_escapes(buf_slice(&shown), &text);
    struct slice rest = slice_trim(buf_slice(&text));
    while (rest.len > 0) {
        size_t n = append_word(rest, out);
        rest.ptr += n;
        rest.len -= n;
    }
    buf_fini(&text);
    buf_fini(&shown);
}

/* The last bytes of a text, from the beginning of a line if there is one, or else of a character. */
static struct slice end_of(struct slice text)
{
    if (text.len <= FLEET_OUTPUT_MAX) {
        return text;
    }
    struct slice end = {text.ptr + (text.len - FLEET_OUTPUT_MAX), FLEET_OUTPUT_MAX};
    const char *newline = memchr(end.ptr, '\n', end.len - 1);
    size_t skip = newline != NULL ? (size_t)(newline - end.ptr) + 1 : 0;
    while (newline == NULL && skip < end.len && ((unsigned char)end.ptr[skip] & 0xC0) == 0x80) {
        skip++;
    }
    return (struct slice){end.ptr + skip, end.len - skip};
}

/* A word that is cut off at the front may be the rest of a secret that is too short to show it. */
static struct slice from_whole_line(struct slice raw)
{
    struct slice first;
    struct slice rest = raw;
    return raw.len == FLEET_OUTPUT_RAW_MAX && slice_cut(raw, '\n', &first, &rest) ? rest : raw;
}

void fleet_output_clean(struct slice raw, struct buf *out)
{
    struct buf text;
    struct slice line;
    struct slice rest = from_whole_line(raw);
    buf_init(&text, raw.len * (PRINTABLE_GROWTH + 1) + 64);
    while (rest.len > 0) {
        (void)slice_cut(rest, '\n', &line, &rest);
        size_t before = text.len;
        append_clean_line(line, &text);
        if (text.len > before) { /* empty lines say nothing */
            buf_append_byte(&text, '\n');
        }
    }
    buf_append(out, end_of(slice_trim(buf_slice(&text))));
    buf_fini(&text);
}

bool fleet_ended_well(const char *reason)
{
    static const char *const well[] = {"job-done",   "no-job",       "registration-gone",
                                       "terminated", "idle-timeout", "session-conflict",
                                       "Success."};
    for (size_t i = 0; i < COUNT_OF(well); i++) {
        if (strcmp(reason, well[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* --- keeping ----------------------------------------------------------------------------------- */

/* As many whole lines as a line of the timeline holds, or a part of one that is longer. */
static struct slice cut_part(struct slice *rest)
{
    size_t room = sizeof((struct ledger_entry *)NULL)->detail - 1;
    struct slice part = *rest;
    if (part.len > room) {
        const char *newline = memrchr(part.ptr, '\n', room + 1);
        part.len = newline != NULL ? (size_t)(newline - part.ptr) : room;
        part.len -= newline != NULL ? 0 : printable_unfinished(part);
    }
    rest->ptr += part.len;
    rest->len -= part.len;
    if (rest->len > 0 && rest->ptr[0] == '\n') {
        rest->ptr++;
        rest->len--;
    }
    return part;
}

static bool write_line(struct fleet *f, const char *vm, struct slice text)
{
    char detail[sizeof((struct ledger_entry *)NULL)->detail];
    struct err e = {0};
    if (!slice_to_cstr(text, detail, sizeof detail) ||
        ledger_log_event(f->ledger, 0, vm, FLEET_OUTPUT_LINE, detail, &e) != 0) {
        log_debug("timeline_write_failed", LOG_STR("vm", vm), LOG_ERR(&e));
        return false;
    }
    return true;
}

static void write_text(struct fleet *f, const char *vm, struct slice raw)
{
    struct buf text;
    buf_init(&text, FLEET_OUTPUT_MAX);
    fleet_output_clean(raw, &text);
    struct slice rest = buf_slice(&text);
    bool goes_on = true;
    while (rest.len > 0 && goes_on) {
        goes_on = write_line(f, vm, cut_part(&rest));
    }
    buf_fini(&text);
}

static void write_none(struct fleet *f, const char *vm, const char *why)
{
    char detail[sizeof((struct ledger_entry *)NULL)->detail];
    char text[sizeof((struct err *)NULL)->message + 16];
    (void)snprintf(text, sizeof text, "none: %s", why);
    slice_shorten(text, detail, sizeof detail);
    (void)write_line(f, vm, slice_of(detail));
}

/* Many that fail at once fail alike. */
static bool may_keep(struct fleet *f)
{
    int64_t now_ms = clock_mono_ms();
    pthread_mutex_lock(&f->slower);
    if (now_ms - f->outputs_since_ms >= MINUTE_MS || f->outputs == 0) {
        f->outputs_since_ms = now_ms;
        f->outputs = 0;
    }
    bool may = f->outputs < FLEET_OUTPUTS_PER_MINUTE;
    f->outputs += may;
    pthread_mutex_unlock(&f->slower);
    return may;
}

static void count_kept(const char *outcome)
{
    struct buf label;
    buf_init(&label, 64);
    metrics_label(&label, "outcome", outcome);
    metric_inc(metrics_counter("mayfly_vm_consoles_kept_total", label.data));
    buf_fini(&label);
}

void fleet_output_keep_text(struct fleet *f, const char *vm, struct slice raw)
{
    bool may = raw.len > 0 && may_keep(f);
    if (may) {
        write_text(f, vm, raw);
    }
    if (raw.len > 0) {
        count_kept(may ? "kept" : "skipped");
    }
}

void fleet_output_say_unreachable(struct fleet *f, const struct ledger_vm *vm, const char *why)
{
    char text[320];
    (void)snprintf(text, sizeof text, "%s%s%s%s%s", why,
                   vm->host[0] != '\0' ? "; it would be on host " : "", vm->host,
                   vm->host[0] != '\0' ? ", below its state_dir: console.log of " : "",
                   vm->host[0] != '\0' ? vm->name : "");
    write_none(f, vm->name, text);
    count_kept("none");
}

void fleet_output_keep(struct fleet *f, const struct ledger_vm *vm)
{
    struct vm_provider *p = fleet_provider_of(f, vm);
    const char *id = vm->vm_id[0] != '\0' || p == NULL || !vm_is_named(p) ? vm->vm_id : vm->name;
    struct buf raw;
    struct err e = {0};
    if (p == NULL || id[0] == '\0') {
        return;
    }
    if (!may_keep(f)) {
        count_kept("skipped");
        return;
    }
    buf_init(&raw, FLEET_OUTPUT_RAW_MAX);
    if (vm_console(p, id, vm->name, FLEET_OUTPUT_RAW_MAX, &raw, &e) != 0) {
        write_none(f, vm->name, e.message);
        count_kept("none");
    } else {
        write_text(f, vm->name, buf_slice(&raw));
        count_kept("kept");
    }
    buf_fini(&raw);
}
