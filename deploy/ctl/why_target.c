/* Which job, or which run, a person means. */
#include <string.h>

#include "deploy/ctl/why.h"

/* The number behind `part` ("/job/") in the text; 0 there is none. */
static int64_t number_behind(struct slice text, const char *part)
{
    size_t len = strlen(part);
    int64_t number = 0;
    for (size_t i = 0; i + len <= text.len; i++) {
        if (strncmp(text.ptr + i, part, len) == 0) {
            struct slice rest = {text.ptr + i + len, text.len - i - len};
            struct slice word;
            (void)slice_cut(rest, '/', &word, &rest);
            number = slice_to_int64(word, &number) && number > 0 ? number : 0;
        }
    }
    return number;
}

/* The two parts of the path before "/actions/": owner and name. */
static void read_repository(struct slice url, char out[REPOSITORY_SIZE])
{
    size_t end = 0;
    size_t slashes = 0;
    out[0] = '\0';
    while (end + 9 <= url.len && strncmp(url.ptr + end, "/actions/", 9) != 0) {
        end++;
    }
    size_t begin = end;
    while (begin > 0 && slashes < 2) {
        slashes += url.ptr[--begin] == '/';
    }
    if (slashes == 2 && end + 9 <= url.len) {
        (void)!slice_to_cstr((struct slice){url.ptr + begin + 1, end - begin - 1}, out,
                             REPOSITORY_SIZE);
    }
}

int why_read_target(const char *given, struct why_target *out, struct err *e)
{
    struct slice text = {given, strcspn(given, "?#")};
    struct why_target t = {.job = 0};
    int64_t number = 0;
    if (slice_to_int64(text, &number) && number > 0) {
        t.job = number;
        t.run = number;
        *out = t;
        return 0;
    }
    t.job = number_behind(text, "/job/");
    t.job = t.job != 0 ? t.job : number_behind(text, "/jobs/");
    t.run = number_behind(text, "/runs/");
    read_repository(text, t.repository);
    if (t.job == 0 && (t.run == 0 || t.repository[0] == '\0')) {
        return err_set(e, ERR_PERMANENT, 0,
                       "\"%.200s\" is neither the id nor the URL of a job or a run: open the job "
                       "on GitHub and copy the address, which ends in /job/ID",
                       given);
    }
    *out = t;
    return 0;
}
