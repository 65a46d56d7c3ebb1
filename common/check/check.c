#include "common/check/check.h"

#include <stdarg.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/printable.h"
#include "common/base/slice.h"

#define ANSWER_MAX 2048
#define LINE_MAX_BYTES ((size_t)64 * 1024)

static const char *const level_names[] = {
    [CHECK_OK] = "ok", [CHECK_WARN] = "warn", [CHECK_FAIL] = "FAIL"};

static void print_json(struct check *c, const struct check_finding *f, const char *answer)
{
    struct buf line;
    buf_init(&line, LINE_MAX_BYTES);
    buf_append_cstr(&line, "{\"level\":");
    buf_append_json(&line, slice_of(level_names[f->level]));
    buf_append_cstr(&line, ",\"subject\":");
    buf_append_json(&line, slice_of(f->subject));
    buf_append_cstr(&line, ",\"request\":");
    buf_append_json(&line, slice_of(f->request));
    buf_append_cstr(&line, ",\"result\":");
    buf_append_json(&line, slice_of(answer));
    buf_append_cstr(&line, ",\"hint\":");
    if (f->hint != NULL) {
        buf_append_json(&line, slice_of(f->hint));
    } else {
        buf_append_cstr(&line, "null");
    }
    (void)fprintf(c->out, "%s}\n", line.failed ? "{\"level\":\"warn\"" : line.data);
    buf_fini(&line);
}

void check_say(struct check *c, const struct check_finding *f, const char *fmt, ...)
{
    char answer[ANSWER_MAX];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(answer, sizeof answer, fmt, args);
    va_end(args);
    c->counts[f->level]++;
    if (c->json) {
        print_json(c, f, answer);
    } else {
        printable_line(c->out, "%-4s  %s: %s: %s%s%s", level_names[f->level], f->subject,
                       f->request, answer, f->hint != NULL ? ": " : "",
                       f->hint != NULL ? f->hint : "");
    }
}

void check_say_error(struct check *c, enum check_level level, const char *subject,
                     const char *asked, const struct err *e)
{
    const struct check_finding f = {.level = level, .subject = subject, .request = asked};
    const char *text = e->message;
    size_t n = strlen(asked);
    if (strncmp(text, asked, n) == 0 && text[n] == ':' && text[n + 1] == ' ') {
        text += n + 2; /* it begins with the request */
    }
    check_say(c, &f, "%s", text);
}

/* Prints only the scheme of a store's URL: the rest may contain a password. */
void check_say_answered(struct check *c, const char *subject, const char *url, int64_t began_us)
{
    const struct check_finding f = {.level = CHECK_OK, .subject = subject, .request = "ping"};
    struct slice scheme;
    struct slice rest;
    bool named = slice_cut(slice_of(url), ':', &scheme, &rest);
    check_say(c, &f, "%.*s opened and pinged in %.1f ms", named ? (int)scheme.len : 0,
              named ? scheme.ptr : "", (double)(clock_mono_us() - began_us) / 1000.0);
}

int check_all(const struct config *config, enum config_for who, check_fn *const *checks, bool json,
              FILE *out)
{
    struct check c = {.config = config, .who = who, .out = out, .json = json};
    for (; *checks != NULL; checks++) {
        (*checks)(&c);
        (void)fflush(out);
    }
    if (!json) {
        (void)fprintf(out, "check: %d ok, %d warnings, %d failed\n", c.counts[CHECK_OK],
                      c.counts[CHECK_WARN], c.counts[CHECK_FAIL]);
    }
    return c.counts[CHECK_FAIL] > 0 ? 1 : 0;
}
