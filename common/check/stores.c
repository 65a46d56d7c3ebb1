/* A store that cannot be opened as it is: whether the programs' start would change that. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/check/check.h"
#include "common/sqlite/store.h"

/* SQLite's and Redis's always; a service's queue, topics or table with create=1 in the URL. */
static bool is_made_by_programs(const char *url)
{
    const char *options = strchr(url, '?');
    return strncmp(url, "sqlite:", 7) == 0 || strncmp(url, "redis", 5) == 0 ||
           (options != NULL && strstr(options, "create=1") != NULL);
}

/* Whether this user may make the file, and the directories that lack. False: errno, and `path` is
 * the directory that refuses. True for what is no file. */
static bool may_be_made(const char *url, char *path, size_t size)
{
    struct err e = {0};
    if (strncmp(url, "sqlite:", 7) != 0 || sqlite_store_path(url, path, size, &e) != 0) {
        return true;
    }
    struct stat st;
    do {
        char *slash = strrchr(path, '/');
        slash[slash == path ? 1 : 0] = '\0';
    } while (stat(path, &st) != 0 && path[1] != '\0');
    errno = ENOTDIR;
    return S_ISDIR(st.st_mode) && faccessat(AT_FDCWD, path, W_OK | X_OK, AT_EACCESS) == 0;
}

static void say_missing(struct check *c, const char *subject, const char *url, const struct err *e)
{
    struct check_finding f = {.level = CHECK_WARN, .subject = subject, .request = "open"};
    char path[PATH_MAX];
    if (!is_made_by_programs(url)) {
        f.level = CHECK_FAIL;
        f.hint = "make it, or let the programs make it with create=1 in its URL";
    } else if (!may_be_made(url, path, sizeof path)) {
        f.level = CHECK_FAIL;
        f.hint = "correct the path, or give the directory to the programs' user";
        check_say(c, &f, "%s; user %u cannot make it in %s (%s)", e->message, (unsigned)geteuid(),
                  path, strerror(errno));
        return;
    }
    check_say(c, &f, "%s", e->message);
}

void check_say_unopened(struct check *c, const char *subject, const char *url, const struct err *e)
{
    if (e->class == ERR_NOT_FOUND) {
        say_missing(c, subject, url, e);
    } else {
        check_say_error(c, e->class == ERR_CONFLICT ? CHECK_WARN : CHECK_FAIL, subject, "open", e);
    }
}
