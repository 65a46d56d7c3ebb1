#include "common/ledger/sqlite/sqlite.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/ledger/kinds.h"

#define APPLICATION_ID 0x4d664c64U /* "MfLd" */

/* Three steps only because of C's limit on string literals. job.state and vm.state are the numbers
 * of the enums in ledger.h, and so part of the format. */
static const char *const steps[] = {
    "CREATE TABLE jobs ("
    "  id INTEGER PRIMARY KEY, run_id INTEGER NOT NULL, run_attempt INTEGER NOT NULL,"
    "  installation_id INTEGER NOT NULL, state INTEGER NOT NULL, repository TEXT NOT NULL,"
    "  organization TEXT NOT NULL, scope TEXT NOT NULL, class_name TEXT NOT NULL,"
    "  name TEXT NOT NULL, labels TEXT NOT NULL, conclusion TEXT NOT NULL,"
    "  runner_name TEXT NOT NULL, created_ms INTEGER NOT NULL, waiting_ms INTEGER NOT NULL,"
    "  running_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL,"
    "  relaunched_ms INTEGER NOT NULL, relaunches INTEGER NOT NULL, waits_logged INTEGER NOT NULL"
    ") STRICT;"
    "CREATE INDEX jobs_seen ON jobs (updated_ms) WHERE state = 0;"
    "CREATE INDEX jobs_waiting ON jobs (scope, class_name, waiting_ms) WHERE state = 1;"
    "CREATE INDEX jobs_ended ON jobs (ended_ms) WHERE state >= 3;"

    "CREATE TABLE vms ("
    "  name TEXT PRIMARY KEY, client_token TEXT NOT NULL UNIQUE, provider TEXT NOT NULL,"
    "  class_name TEXT NOT NULL, scope TEXT NOT NULL, repository TEXT NOT NULL,"
    "  host TEXT NOT NULL, vm_id TEXT NOT NULL, installation_id INTEGER NOT NULL,"
    "  for_job INTEGER NOT NULL, job_id INTEGER NOT NULL, runner_id INTEGER NOT NULL,"
    "  state INTEGER NOT NULL, reserved_ms INTEGER NOT NULL, registered_ms INTEGER NOT NULL,"
    "  launched_ms INTEGER NOT NULL, busy_ms INTEGER NOT NULL, ending_ms INTEGER NOT NULL,"
    "  gone_ms INTEGER NOT NULL, deadline_ms INTEGER NOT NULL, end_reason TEXT NOT NULL,"
    "  heartbeat_ms INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX vms_live ON vms (name) WHERE state < 5;"
    "CREATE INDEX vms_gone ON vms (gone_ms) WHERE state = 5;"
    "CREATE INDEX vms_for_job ON vms (for_job);"
    "CREATE INDEX vms_job ON vms (job_id) WHERE job_id <> 0;",

    /* job, vm: by class and state. demand, supply: by scope and class. repository: VMs that hold a
     * slot. freed: slots released in total. */
    "CREATE TABLE tally ("
    "  kind TEXT NOT NULL, a TEXT NOT NULL, b TEXT NOT NULL,"
    "  n INTEGER NOT NULL CHECK (n >= 0), PRIMARY KEY (kind, a, b)"
    ") STRICT, WITHOUT ROWID;"
    "INSERT INTO tally VALUES ('freed', '', '', 0);"

    /* Where a VM that still has a row was registered. */
    "CREATE TABLE scopes ("
    "  name TEXT PRIMARY KEY, installation_id INTEGER NOT NULL, vms INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TRIGGER job_added AFTER INSERT ON jobs BEGIN"
    "  INSERT INTO tally VALUES ('job', NEW.class_name, CAST(NEW.state AS TEXT), 1)"
    "    ON CONFLICT DO UPDATE SET n = n + 1;"
    "  INSERT INTO tally SELECT 'demand', NEW.scope, NEW.class_name, 1 WHERE NEW.state = 1"
    "    ON CONFLICT DO UPDATE SET n = n + 1;"
    "END;"
    "CREATE TRIGGER job_moved AFTER UPDATE OF state, scope, class_name ON jobs"
    "  WHEN OLD.state <> NEW.state OR OLD.scope <> NEW.scope"
    "    OR OLD.class_name <> NEW.class_name BEGIN"
    "  UPDATE tally SET n = n - 1"
    "    WHERE kind = 'job' AND a = OLD.class_name AND b = CAST(OLD.state AS TEXT);"
    "  UPDATE tally SET n = n - 1"
    "    WHERE OLD.state = 1 AND kind = 'demand' AND a = OLD.scope AND b = OLD.class_name;"
    "  INSERT INTO tally VALUES ('job', NEW.class_name, CAST(NEW.state AS TEXT), 1)"
    "    ON CONFLICT DO UPDATE SET n = n + 1;"
    "  INSERT INTO tally SELECT 'demand', NEW.scope, NEW.class_name, 1 WHERE NEW.state = 1"
    "    ON CONFLICT DO UPDATE SET n = n + 1;"
    "END;"
    "CREATE TRIGGER job_removed AFTER DELETE ON jobs BEGIN"
    "  UPDATE tally SET n = n - 1"
    "    WHERE kind = 'job' AND a = OLD.class_name AND b = CAST(OLD.state AS TEXT);"
    "  UPDATE tally SET n = n - 1"
    "    WHERE OLD.state = 1 AND kind = 'demand' AND a = OLD.scope AND b = OLD.class_name;"
    "END;"

    /* A VM starts as reserved, and its class and scope never change. */
    "CREATE TRIGGER vm_added AFTER INSERT ON vms BEGIN"
    "  SELECT RAISE(ABORT, 'a VM is born reserved') WHERE NEW.state <> 0;"
    "  INSERT INTO tally VALUES ('vm', NEW.class_name, '0', 1),"
    "    ('supply', NEW.scope, NEW.class_name, 1), ('repository', NEW.repository, '', 1)"
    "    ON CONFLICT DO UPDATE SET n = n + 1;"
    "  INSERT INTO scopes VALUES (NEW.scope, NEW.installation_id, 1) ON CONFLICT DO UPDATE SET"
    "    vms = vms + 1, installation_id ="
    "    iif(NEW.installation_id > 0, NEW.installation_id, installation_id);"
    "END;"
    "CREATE TRIGGER vm_moved AFTER UPDATE OF state ON vms WHEN OLD.state <> NEW.state BEGIN"
    "  UPDATE tally SET n = n - 1"
    "    WHERE kind = 'vm' AND a = NEW.class_name AND b = CAST(OLD.state AS TEXT);"
    "  INSERT INTO tally VALUES ('vm', NEW.class_name, CAST(NEW.state AS TEXT), 1)"
    "    ON CONFLICT DO UPDATE SET n = n + 1;"
    "  UPDATE tally SET n = n - 1 WHERE OLD.state < 3 AND NEW.state >= 3"
    "    AND kind = 'supply' AND a = NEW.scope AND b = NEW.class_name;"
    "  UPDATE tally SET n = n - 1"
    "    WHERE NEW.state = 5 AND kind = 'repository' AND a = NEW.repository AND b = '';"
    "  UPDATE tally SET n = n + 1 WHERE NEW.state = 5 AND kind = 'freed' AND a = '' AND b = '';"
    "END;"
    "CREATE TRIGGER vm_removed AFTER DELETE ON vms BEGIN"
    "  SELECT RAISE(ABORT, 'a VM that holds a slot stays') WHERE OLD.state <> 5;"
    "  UPDATE tally SET n = n - 1 WHERE kind = 'vm' AND a = OLD.class_name AND b = '5';"
    "  UPDATE scopes SET vms = vms - 1 WHERE name = OLD.scope;"
    "  DELETE FROM scopes WHERE name = OLD.scope AND vms = 0;"
    "END;",

    "CREATE TABLE timeline ("
    "  seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, job_id INTEGER NOT NULL,"
    "  vm TEXT NOT NULL, what TEXT NOT NULL, detail TEXT NOT NULL"
    ") STRICT;"
    "CREATE INDEX timeline_job ON timeline (job_id, seq) WHERE job_id <> 0;"
    "CREATE INDEX timeline_vm ON timeline (vm, job_id, seq) WHERE vm <> '';"

    "CREATE TABLE buckets ("
    "  name TEXT PRIMARY KEY, tokens REAL NOT NULL, at_ms INTEGER NOT NULL,"
    "  paused_until_ms INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE cells ("
    "  kind TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, value TEXT NOT NULL,"
    "  PRIMARY KEY (kind, name)"
    ") STRICT, WITHOUT ROWID;",

    /* A VM runs a job of another repository than it was launched for. */
    "CREATE TRIGGER vm_of_another AFTER UPDATE OF repository ON vms"
    "  WHEN OLD.repository <> NEW.repository BEGIN"
    "  UPDATE tally SET n = n - 1"
    "    WHERE OLD.state < 5 AND kind = 'repository' AND a = OLD.repository AND b = '';"
    "  INSERT INTO tally SELECT 'repository', NEW.repository, '', 1 WHERE OLD.state < 5"
    "    ON CONFLICT DO UPDATE SET n = n + 1;"
    "END;",

    /* The version of the image that a VM was launched from. */
    ("ALTER TABLE vms ADD COLUMN image_version TEXT NOT NULL DEFAULT '';"
     "ALTER TABLE vms ADD COLUMN image_part INTEGER NOT NULL DEFAULT 0;"),

    "ALTER TABLE jobs ADD COLUMN workflow TEXT NOT NULL DEFAULT '';",

    /* How long a VM whose job failed is held. */
    "ALTER TABLE vms ADD COLUMN hold_ms INTEGER NOT NULL DEFAULT 0;",

    /* The account and region that a VM is in, and how many slots each has in use. */
    "ALTER TABLE vms ADD COLUMN target TEXT NOT NULL DEFAULT '';"
    "CREATE TRIGGER vm_of_target_added AFTER INSERT ON vms WHEN NEW.target <> '' BEGIN"
    "  INSERT INTO tally VALUES ('target', NEW.target, '', 1)"
    "    ON CONFLICT DO UPDATE SET n = n + 1;"
    "END;"
    "CREATE TRIGGER vm_of_target_gone AFTER UPDATE OF state ON vms"
    "  WHEN OLD.state < 5 AND NEW.state = 5 AND NEW.target <> '' BEGIN"
    "  UPDATE tally SET n = n - 1 WHERE kind = 'target' AND a = NEW.target AND b = '';"
    "END;",
};

/* Indexes that came later and that programs without them may use the file with: no step of their own.
 * Whatever needs one only takes longer without it. */
static int add_indexes(struct sqlite_db *db, void *arg, struct err *e)
{
    (void)arg;
    return sqlite_exec(db, e,
                       "CREATE INDEX IF NOT EXISTS jobs_running ON jobs (updated_ms) "
                       "WHERE state = 2");
}

static int count_indexes(struct sqlite_db *db, void *arg, struct err *e)
{
    return sqlite_number(db, arg, 0, e,
                         "SELECT count(*) FROM sqlite_master WHERE name = 'jobs_running'");
}

static const struct sqlite_schema schema = {
    .what = "ledger",
    .application_id = APPLICATION_ID,
    .steps = steps,
    .step_count = (int)COUNT_OF(steps),
};

static void add_missing_indexes(struct sqlite_store *store)
{
    struct err ignored = {0};
    int64_t indexes = 0;
    int rc = sqlite_store_read(store, count_indexes, &indexes, &ignored);
    if (rc == 0 && indexes == 0) {
        rc = sqlite_store_write(store, add_indexes, NULL, &ignored);
    }
    (void)rc;
}

struct sqlite_store *ledger_sqlite_store(void *state)
{
    struct ledger_sqlite *l = state;
    return l->store;
}

static int open_file(const char *url, bool existing, void **out_state, struct err *e)
{
    char path[PATH_MAX];
    struct sqlite_store *store = NULL;
    if (sqlite_store_path(url, path, sizeof path, e) != 0 ||
        (existing ? sqlite_store_open_existing(path, &schema, &store, e)
                  : sqlite_store_open(path, &schema, &store, e)) != 0) {
        return -1;
    }
    if (!existing) {
        add_missing_indexes(store);
    }
    struct ledger_sqlite *l = calloc(1, sizeof *l);
    ASSERT(l != NULL);
    l->store = store;
    *out_state = l;
    return 0;
}

static void close_file(void *state)
{
    sqlite_store_close(ledger_sqlite_store(state));
    free(state);
}

/* A file has no notifications. */
static void watch_file(void *state, ledger_released_fn *on_release, void *arg)
{
    (void)state;
    (void)on_release;
    (void)arg;
}

static bool watching_file(void *state)
{
    (void)state;
    return false;
}

static int ping_file(void *state, struct err *e)
{
    return sqlite_store_ping(ledger_sqlite_store(state), e);
}

/* What a file confirmed is durable: only one that was restored has lost writes. */
static int history_of_file(void *state, char out[LEDGER_HISTORY_SIZE], struct err *e)
{
    struct ledger_cell *cells = NULL;
    size_t n = 0;
    if (ledger_sqlite_cells(state, LEDGER_KIND_HISTORY, LEDGER_HISTORY_OF_FILE, &cells, &n, e) !=
        0) {
        return -1;
    }
    (void)snprintf(out, LEDGER_HISTORY_SIZE, "%.*s", LEDGER_HISTORY_SIZE - 1,
                   n > 0 ? cells[0].value : "");
    free(cells);
    return 0;
}

const struct ledger_ops ledger_ops_sqlite = {
    .scheme = "sqlite",
    .open = open_file,
    .close = close_file,
    .ping = ping_file,
    .txn = &ledger_sqlite_txn_ops,
    .job_get = ledger_sqlite_job_get,
    .job_page = ledger_sqlite_job_page,
    .reserve = ledger_sqlite_reserve,
    .capacity = ledger_sqlite_capacity,
    .targets_read = ledger_sqlite_targets_read,
    .release_seq = ledger_sqlite_release_seq,
    .watch_releases = watch_file,
    .watching = watching_file,
    .now = ledger_now_local,
    .history = history_of_file,
    .balances = ledger_sqlite_balances,
    .scopes = ledger_sqlite_scopes,
    .vm_get = ledger_sqlite_vm_get,
    .vm_list = ledger_sqlite_vm_list,
    .vms_gone = ledger_sqlite_vms_gone,
    .timeline = ledger_sqlite_timeline,
    .rate_take = ledger_sqlite_rate_take,
    .rate_pause = ledger_sqlite_rate_pause,
    .cells = ledger_sqlite_cells,
    .counts = ledger_sqlite_counts,
    .tidy = ledger_sqlite_tidy,
    .repair = ledger_repair_nothing,
    .check = ledger_check_nothing,
};
