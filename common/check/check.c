#include "common/check/check.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/slice.h"

#define ANSWER_MAX 2048

static const char *const level_names[] = {
    [CHECK_OK] = "ok", [CHECK_WARN] = "warn", [CHECK_FAIL] = "FAIL"};

/* A peer's response may contain anything: replaces unprintable bytes. */
static void make_printable(char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < ' ' || c == 0x7f) {
            *text = ' ';
        }
    }
}

static void print_json(struct check *c, const struct check_finding *f, const char *answer)
{
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s?}", "level", level_names[f->level], "subject",
                          f->subject, "request", f->request, "result", answer, "hint", f->hint);
    char *text = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;
    (void)fprintf(c->out, "%s\n", text != NULL ? text : "{\"level\":\"warn\"}");
    free(text);
    json_decref(o);
}

void check_say(struct check *c, const struct check_finding *f, const char *fmt, ...)
{
    char answer[ANSWER_MAX];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(answer, sizeof answer, fmt, args);
    va_end(args);
    make_printable(answer);
    c->counts[f->level]++;
    if (c->json) {
        print_json(c, f, answer);
    } else {
        (void)fprintf(c->out, "%-4s  %s: %s: %s%s%s\n", level_names[f->level], f->subject,
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

int check_all(const struct config *config, check_fn *const *checks, bool json, FILE *out)
{
    struct check c = {.config = config, .out = out, .json = json};
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
