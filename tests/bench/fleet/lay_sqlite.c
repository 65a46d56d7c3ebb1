#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/bench/fleet/lay.h"

/* One copy after the other: each takes the model's rows with other ids and names. A VM is born
 * reserved, and only then is what the model is; the triggers count both. */
static const char setting_up[] = "PRAGMA synchronous = OFF; PRAGMA cache_size = -65536;"
                                 "CREATE TEMP TABLE job AS SELECT * FROM jobs;"
                                 "CREATE TEMP TABLE vm AS SELECT * FROM vms;"
                                 "CREATE TEMP TABLE line AS SELECT * FROM timeline;"
                                 "UPDATE temp.line SET seq = NULL;";
static const char *const copying[] = {
    "UPDATE temp.job SET id = ?1, run_id = ?1, runner_name = ?2",
    "INSERT INTO main.jobs SELECT * FROM temp.job",
    "UPDATE temp.vm SET name = ?2, client_token = ?2, for_job = ?1, job_id = ?1, state = 0",
    "INSERT INTO main.vms SELECT * FROM temp.vm",
    "UPDATE main.vms SET state = 5 WHERE name = ?2",
    "UPDATE temp.line SET job_id = iif(job_id = 0, 0, ?1), vm = iif(vm = '', '', ?2)",
    "INSERT INTO main.timeline SELECT * FROM temp.line",
};

static void must_be(sqlite3 *db, int rc, int wanted)
{
    if (rc != wanted) {
        fprintf(stderr, "bench: known jobs cannot be laid: %s\n", sqlite3_errmsg(db));
        exit(1);
    }
}

static void run(sqlite3 *db, const char *sql)
{
    must_be(db, sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
}

static void copy(sqlite3 *db, sqlite3_stmt *const *steps, int64_t n)
{
    struct lay_name vm = lay_vm_name(n);
    for (size_t i = 0; i < COUNT_OF(copying); i++) {
        if (sqlite3_bind_parameter_count(steps[i]) > 0) {
            must_be(db, sqlite3_bind_int64(steps[i], 1, n), SQLITE_OK);
        }
        if (sqlite3_bind_parameter_count(steps[i]) > 1) {
            must_be(db, sqlite3_bind_text(steps[i], 2, vm.text, -1, SQLITE_TRANSIENT), SQLITE_OK);
        }
        must_be(db, sqlite3_step(steps[i]), SQLITE_DONE);
        must_be(db, sqlite3_reset(steps[i]), SQLITE_OK);
    }
}

void lay_in_sqlite(const char *path, const char *model_vm, int64_t n)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *steps[COUNT_OF(copying)];
    (void)model_vm; /* its rows are all that there are */
    must_be(db, sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    run(db, setting_up);
    for (size_t i = 0; i < COUNT_OF(copying); i++) {
        must_be(db, sqlite3_prepare_v2(db, copying[i], -1, &steps[i], NULL), SQLITE_OK);
    }
    run(db, "BEGIN IMMEDIATE");
    for (int64_t i = 1; i <= n; i++) {
        copy(db, steps, i);
        if (i % LAY_AT_ONCE == 0) {
            run(db, "COMMIT; BEGIN IMMEDIATE");
        }
    }
    run(db, "COMMIT; PRAGMA wal_checkpoint(TRUNCATE)");
    for (size_t i = 0; i < COUNT_OF(copying); i++) {
        (void)sqlite3_finalize(steps[i]);
    }
    must_be(db, sqlite3_close(db), SQLITE_OK);
}
