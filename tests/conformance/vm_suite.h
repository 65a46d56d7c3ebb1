/*
 * What the files of the vm conformance suite share: a provider of a class of its own for each test,
 * a server for the runner to talk to, and eyes on the processes and files of the host.
 *
 * The suite is called with "BINARY:IMAGE:[users]". With "users", which takes root, a launcher
 * gives each VM a user of its own. An empty BINARY is the real QEMU, which takes the
 * tests that need no faults; all its tests share one state directory, so that the machine is saved
 * once. IMAGE "-" is what MAYFLY_TEST_IMAGE names; without it the suite is skipped (exit 77).
 */
#ifndef MAYFLY_VM_SUITE_H
#define MAYFLY_VM_SUITE_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#include "common/base/buf.h"
#include "common/payload/payload.h"
#include "common/vm/qemu/settings.h"
#include "common/vm/vm.h"
#include "tests/conformance/conformance.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"

#define SUITE_UIDS "2100100000-2100100999"
#define MIB ((int64_t)1 << 20)

/* A server on 127.0.0.1 that speaks the stand-in runner's protocol for one job, or, silent, takes
 * connections and never answers: then the runner waits and the VM lives. */
struct suite_server {
    int listen_fd;
    uint16_t port;
    pthread_t thread;
    char command[128]; /* of the job */
};
void suite_server_start(struct suite_server *s, const char *command); /* NULL: silent */
void suite_server_stop(struct suite_server *s);

struct vm_fixture {
    struct conformance_store store;
    bool real;
    char binary[256];
    char image[512]; /* the fake's: a copy of ours, with its own faults */
    char state_dir[1024];
    char deployment[32];
    struct config_class class;
    struct qemu_settings settings; /* the class's */
    struct suite_server server;
    char allow[32];
    char *allow_items[1];
    struct vm_provider *p; /* opened by vm_fixture_open */
    struct buf payload;
    char secret[65]; /* stands in the JIT config */
};

/* Whether this run has the stand-in, which can be told to fail. */
bool suite_is_fake(void);
int suite_start(int argc, char **argv);
int suite_stop(void **state);

int vm_fixture_setup(void **state);
int vm_fixture_setup_with_job(void **state); /* a server with a job */
/* Fails when anything of the test's VMs is left: process, file. */
int vm_fixture_teardown(void **state);

/* Opens (again) with what stands in f->class. */
void vm_fixture_open(struct vm_fixture *f);
void vm_fixture_faults(struct vm_fixture *f, const char *text);

struct vm_spec vm_fixture_spec(const struct vm_fixture *f, const char *name);
void must_run(struct vm_fixture *f, const char *name);
struct vm_info must_describe(struct vm_fixture *f, const char *id);
/* Waits until describe says so, a minute at most. */
struct vm_info must_reach(struct vm_fixture *f, const char *id, enum vm_run_state state);
void must_have_started_by(struct vm_fixture *f,
                          const char *mode);         /* "boot" or "restore", of vm-1 */
void must_end(struct vm_fixture *f, const char *id); /* terminate at once, and forget */

/* <state_dir>/<deployment>.<class>/<name>[/<file>] */
void vm_file(const struct vm_fixture *f, const char *name, const char *file, char *out);
/* "supervisor" or "qemu" of process.json. */
pid_t vm_pid(const struct vm_fixture *f, const char *name, const char *role);
bool process_is_there(pid_t pid);
void must_die(pid_t pid); /* waits for it, a minute at most */
/* The whole of a small file or of one in /proc; "" when it is not there. out is reset first. */
void read_whole(const char *path, struct buf *out);

/* The tests of each file. */
extern const struct CMUnitTest vm_tests_run[];
extern const size_t vm_tests_run_count;
extern const struct CMUnitTest vm_tests_end[];
extern const size_t vm_tests_end_count;
extern const struct CMUnitTest vm_tests_faults[];
extern const size_t vm_tests_faults_count;
extern const struct CMUnitTest vm_tests_users[];
extern const size_t vm_tests_users_count;
extern const struct CMUnitTest vm_tests_probes[];
extern const size_t vm_tests_probes_count;
extern const struct CMUnitTest vm_tests_events[];
extern const size_t vm_tests_events_count;

extern const struct CMUnitTest vm_tests_room[];
extern const size_t vm_tests_room_count;

/* In vm_suite_events.c: reads the notices until there is one of that event (vm.h), which begins with
 * the text, a minute at most. */
void vm_must_report(struct vm_fixture *f, const char *event, const char *text);

/* The file system gets so much "kept for the host" that two VMs fit, though none
 * uses any of it. */
void vm_leave_room_for_two(struct vm_fixture *f);

/* Children, which open the fixture's class, do something and wait to be killed: vm_child_launch (in
 * vm_suite_end.c) launches vm-1 and tells its id, vm_child_room takes room and says "room". */
void vm_child_spawn(const struct vm_fixture *f, const char *name, const char *max_duration_ms,
                    struct conformance_process *child);
int vm_child_open(int argc, char **argv, struct vm_provider **out); /* 0, or an exit status */
int vm_child_launch(const char *url, int argc, char **argv);
int vm_child_room(const char *url, int argc, char **argv);

#endif
