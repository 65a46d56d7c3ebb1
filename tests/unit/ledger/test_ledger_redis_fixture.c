#include "tests/unit/ledger/test_ledger_redis.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/ledger/front.h"

static const char *server_url = "";
static char *restart_command;

bool redis_fixture_start(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s REDIS-URL RESTART-COMMAND\n", argv[0]);
        return false;
    }
    server_url = argv[1];
    restart_command = argv[2];
    return true;
}

struct ledger *redis_fixture_open(const struct redis_fixture *f)
{
    struct ledger *l = NULL;
    struct err e;
    MUST(ledger_open(f->url, &l, &e));
    return l;
}

int redis_fixture_setup(void **state)
{
    struct redis_fixture *f = calloc(1, sizeof *f);
    char unique[17];
    struct err e;
    assert_non_null(f);
    random_hex(unique, 8);
    (void)snprintf(f->url, sizeof f->url, "%s?prefix=%s", server_url, unique);
    f->l = redis_fixture_open(f);
    MUST(redis_store_open(f->url, &f->store, &e));
    *state = f;
    return 0;
}

int redis_fixture_teardown(void **state)
{
    struct redis_fixture *f = *state;
    clock_set_source(NULL);
    ledger_set_store_clock(NULL);
    ledger_close(f->l);
    redis_store_close(f->store);
    free(f);
    return 0;
}

void redis_fixture_restart(void)
{
    char *argv[] = {restart_command, NULL};
    int status = -1;
    pid_t pid;
    assert_int_equal(posix_spawn(&pid, restart_command, NULL, NULL, argv, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int64_t redis_fixture_call(struct redis_fixture *f, const char *command, const char *key,
                           const char *a, const char *b)
{
    struct redis_args args;
    struct redis_reply *r = NULL;
    char full[256];
    struct err e;
    redis_args_init(&args);
    redis_arg_text(&args, command);
    if (key != NULL) {
        (void)snprintf(full, sizeof full, "%s:l:%s", redis_store_root(f->store), key);
        redis_arg_text(&args, full);
    }
    if (a != NULL) {
        redis_arg_text(&args, a);
    }
    if (b != NULL) {
        redis_arg_text(&args, b);
    }
    MUST(redis_store_call(f->store, &args, &r, &e));
    int64_t n = redis_reply_int(r, -1);
    redis_reply_free(r);
    redis_args_fini(&args);
    return n;
}

int64_t redis_fixture_commands(struct redis_fixture *f, const char *command)
{
    struct redis_args args;
    struct redis_reply *r = NULL;
    char name[64];
    struct err e;
    (void)snprintf(name, sizeof name, "cmdstat_%s:calls=", command);
    redis_args_init(&args);
    redis_arg_text(&args, "INFO");
    redis_arg_text(&args, "commandstats");
    MUST(redis_store_call(f->store, &args, &r, &e));
    char *text = slice_dup(redis_reply_bytes(r));
    const char *at = strstr(text, name);
    int64_t n = at != NULL ? strtoll(at + strlen(name), NULL, 10) : 0;
    free(text);
    redis_reply_free(r);
    redis_args_fini(&args);
    return n;
}

int64_t redis_fixture_scripts(struct redis_fixture *f)
{
    return redis_fixture_commands(f, "evalsha");
}
