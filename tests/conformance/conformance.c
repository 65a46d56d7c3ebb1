#include "tests/conformance/conformance.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/fs.h"
#include "tests/lib/cmocka.h"

#define CHILD_ARGS_MAX 9
#define LINE_TIMEOUT_MS 60000

static const char *pattern = "";

int conformance_start(int argc, char **argv, const struct conformance_child *children)
{
    if (argc >= 4 && strcmp(argv[1], "--child") == 0) {
        for (; children->name != NULL; children++) {
            if (strcmp(children->name, argv[2]) == 0) {
                return children->run(argv[3], argc - 4, argv + 4);
            }
        }
        return 2;
    }
    if (argc != 2) {
        fprintf(stderr, "usage: %s URL-PATTERN, as in sqlite://{dir}/store.db\n", argv[0]);
        return 2;
    }
    pattern = argv[1];
    return -1;
}

bool conformance_is(const char *scheme)
{
    size_t len = strlen(scheme);
    return strncmp(pattern, scheme, len) == 0 && pattern[len] == ':';
}

/* Writes the pattern with "{dir}" and "{name}" filled in. */
static void fill_pattern(const char *dir, char *out, size_t size)
{
    size_t len = 0;
    for (const char *at = pattern; *at != '\0' && len < size - 1;) {
        bool whole = strncmp(at, "{dir}", 5) == 0;
        const char *word = whole ? dir : strrchr(dir, '/') + 1;
        if (whole || strncmp(at, "{name}", 6) == 0) {
            len += (size_t)snprintf(out + len, size - len, "%s", word);
            at += whole ? 5 : 6;
        } else {
            out[len++] = *at++;
        }
    }
    assert_true(len < size);
    out[len] = '\0';
}

void conformance_store_init(struct conformance_store *s)
{
    const char *temp = getenv("TMPDIR");
    (void)snprintf(s->dir, sizeof s->dir, "%s/mayfly-conformance-XXXXXX",
                   temp != NULL ? temp : "/tmp");
    assert_non_null(mkdtemp(s->dir));
    fill_pattern(s->dir, s->url, sizeof s->url);
}

void conformance_store_fini(struct conformance_store *s)
{
    struct err e;
    assert_int_equal(fs_remove_tree(s->dir, &e), 0);
}

void conformance_spawn(struct conformance_process *p, const char *child, const char *url,
                       const char *const *args)
{
    char *argv[4 + CHILD_ARGS_MAX + 1] = {0};
    int ends[2];
    int argc = 0;
    argv[argc++] = strdup("/proc/self/exe");
    argv[argc++] = strdup("--child");
    argv[argc++] = strdup(child);
    argv[argc++] = strdup(url);
    for (; args != NULL && *args != NULL && argc < 4 + CHILD_ARGS_MAX; args++) {
        argv[argc++] = strdup(*args);
    }
    assert_int_equal(pipe(ends), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    posix_spawn_file_actions_addclose(&actions, ends[1]);
    assert_int_equal(posix_spawn(&p->pid, argv[0], &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    p->out = ends[0];
    for (int i = 0; i < argc; i++) {
        free(argv[i]);
    }
}

bool conformance_read_line(struct conformance_process *p)
{
    size_t len = 0;
    for (;;) {
        struct pollfd fd = {.fd = p->out, .events = POLLIN};
        char c;
        int ready = poll(&fd, 1, LINE_TIMEOUT_MS);
        if (ready < 0 && errno == EINTR) {
            continue;
        }
        assert_int_equal(ready, 1);
        if (read(p->out, &c, 1) != 1) {
            return false; /* a line cut short by a kill was not confirmed */
        }
        if (c == '\n') {
            p->line[len] = '\0';
            return true;
        }
        assert_true(len < sizeof p->line - 1);
        p->line[len++] = c;
    }
}

int conformance_wait(struct conformance_process *p)
{
    int status = 0;
    while (waitpid(p->pid, &status, 0) < 0) {
        assert_int_equal(errno, EINTR);
    }
    close(p->out);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}
