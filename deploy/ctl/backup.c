/*
 * `mayflyctl backup DIRECTORY`: copies of the SQLite files of queue and ledger, made while the
 * programs run.
 */
#include <limits.h>
#include <stdio.h>

#include "common/base/fs.h"
#include "common/base/printable.h"
#include "common/ledger/kinds.h"
#include "common/sqlite/backup.h"
#include "deploy/ctl/ctl.h"

static bool is_a_file(const char *url)
{
    return slice_starts_with(slice_of(url), SLICE("sqlite:"));
}

/* Adds what was copied, or that another way is needed, to the answer. */
static int copy_store(json_t *answer, const char *what, const char *url, const char *directory,
                      const char *mark, struct err *e)
{
    char to[PATH_MAX];
    int64_t bytes = 0;
    if (!is_a_file(url)) {
        return json_object_set_new(answer, what, json_pack("{s:n, s:i}", "file", "bytes", 0));
    }
    if ((size_t)snprintf(to, sizeof to, "%s/%s.db", directory, what) >= sizeof to) {
        return err_set(e, ERR_PERMANENT, 0, "the path %.80s… is too long", directory);
    }
    if (sqlite_backup(url, what, to, mark, &bytes, e) != 0) {
        return -1;
    }
    return json_object_set_new(answer, what,
                               json_pack("{s:s, s:I}", "file", to, "bytes", (json_int_t)bytes));
}

/* However old or young the copy is when it is restored, what the ledger knew since then is lost. */
static const char new_history[] =
    "INSERT OR REPLACE INTO cells (kind, name, version, value) VALUES ('" LEDGER_KIND_HISTORY
    "', '" LEDGER_HISTORY_OF_FILE "', 1, lower(hex(randomblob(8))))";

/* The queue first: a job whose message is missing in an older queue is launched again by the
 * reaper, out of the ledger. */
int ctl_backup(struct ctl *c, json_t **out, struct err *e)
{
    const char *directory = c->argv[0];
    if (!is_a_file(c->config->queue) && !is_a_file(c->config->ledger)) {
        return err_set(e, ERR_PERMANENT, 0,
                       "neither queue nor ledger is an SQLite file: use their servers' own backup");
    }
    if (fs_mkdirs(directory, 0700, e) != 0) {
        return -1;
    }
    json_t *answer = json_object();
    if (copy_store(answer, "queue", c->config->queue, directory, NULL, e) != 0 ||
        copy_store(answer, "ledger", c->config->ledger, directory, new_history, e) != 0) {
        json_decref(answer);
        return -1;
    }
    *out = answer;
    return 0;
}

void ctl_backup_print(const json_t *answer)
{
    static const char *const stores[] = {"queue", "ledger"};
    for (size_t i = 0; i < COUNT_OF(stores); i++) {
        const json_t *copy = json_object_get(answer, stores[i]);
        if (json_is_string(json_object_get(copy, "file"))) {
            printable_line(stdout, "%s: %s, %lld bytes", stores[i], ctl_str(copy, "file"),
                           (long long)ctl_int(copy, "bytes"));
        } else {
            printable_line(stdout, "%s: not copied, it is no SQLite file", stores[i]);
        }
    }
}
