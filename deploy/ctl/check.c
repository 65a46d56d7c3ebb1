/*
 * `mayflyctl check`: what --check-config --online of the three daemons checks, at once.
 *
 * The configuration is read as each of them reads it. What depends on the program (its addresses) is
 * checked for each; GitHub once, as the reaper does it, which alone reads the webhook's log; everything
 * else once, as the worker, which uses the most, does it. Where deliveries are pulled and the ingress
 * has no secret there is none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/printable.h"
#include "common/config/aws.h"
#include "common/vm/vm.h"
#include "deploy/ctl/check.h"

#define COMPLAINTS_LIMIT_BYTES ((size_t)256 * 1024)

static const struct ctl_check_part all_parts[] = {
    {"mayfly-ingress", CONFIG_FOR_INGRESS, {check_addresses, check_ports}},
    {"mayfly-reaper", CONFIG_FOR_REAPER, {check_addresses, check_ports, check_github}},
    {"mayfly-worker",
     CONFIG_FOR_WORKER,
     {check_addresses, check_ports, check_queue, check_ledger, check_slot_poll, check_aws, vm_check,
      check_events}},
};

/* The lines that were printed, each after a newline: programs share most of their complaints. */
static void say_line(struct check *c, struct buf *said, enum check_level level, const char *program,
                     struct slice line)
{
    struct buf entry;
    const struct check_finding f = {.level = level, .subject = "configuration", .request = program};
    buf_init(&entry, line.len + 3);
    buf_printf(&entry, "\n%.*s\n", SLICE_ARG(line));
    if (said->data == NULL || entry.failed || strstr(said->data, entry.data) == NULL) {
        check_say(c, &f, "%.*s", SLICE_ARG(line));
        buf_append(said, buf_slice(&entry));
    }
    buf_fini(&entry);
}

static int load(struct ctl *c, const struct ctl_check_part *part, struct check *check,
                struct buf *said, struct config **out)
{
    struct err e = {0};
    struct buf complaints;
    buf_init(&complaints, COMPLAINTS_LIMIT_BYTES);
    int rc = config_load(c->config_path, part->who, out, &complaints, &e);
    struct slice rest = complaints.len > 0 ? buf_slice(&complaints) : slice_of(e.message);
    while (rc != 0 && rest.len > 0) {
        struct slice line;
        (void)slice_cut(rest, '\n', &line, &rest);
        say_line(check, said, CHECK_FAIL, part->program, line);
    }
    for (size_t i = 0; rc == 0 && i < (*out)->warnings.count; i++) {
        say_line(check, said, CHECK_WARN, part->program, slice_of((*out)->warnings.items[i]));
    }
    buf_fini(&complaints);
    return rc;
}

/* Where jobs come from if no ingress could run with it, and none is meant to; else NULL. */
static const char *other_intake(struct ctl *c)
{
    struct config *fleet = config_peek(c->config_path, CONFIG_FOR_REAPER);
    bool pulls = fleet->github.pull_interval_ms > 0;
    bool has_sources = fleet->source_count > 0;
    config_free(fleet);
    if (config_peek_has(c->config_path, "github", "webhook_secrets")) {
        return NULL;
    }
    return pulls         ? "deliveries are pulled (github.pull)"
           : has_sources ? "jobs come from scale sets (sources)"
                         : NULL;
}

static void check_part(struct ctl *c, const struct ctl_check_part *part, struct check *check,
                       struct buf *said)
{
    struct config *config = NULL;
    const char *other = part->who == CONFIG_FOR_INGRESS ? other_intake(c) : NULL;
    if (other != NULL) {
        const struct check_finding none = {
            .level = CHECK_OK, .subject = "configuration", .request = part->program};
        check_say(check, &none, "none is meant to run: %s", other);
        return;
    }
    if (load(c, part, check, said, &config) != 0) {
        return;
    }
    const struct check_finding good = {
        .level = CHECK_OK, .subject = "configuration", .request = part->program};
    check_say(check, &good, "valid");
    config_aws_apply(&config->aws);
    check->config = config;
    check->who = part->who;
    for (size_t i = 0; i < CTL_CHECKS_MAX && part->checks[i] != NULL; i++) {
        part->checks[i](check);
        (void)fflush(check->out);
    }
    check->config = NULL;
    config_free(config);
}

static void check_each(struct ctl *c, const struct ctl_check_part *parts, size_t count,
                       struct check *check)
{
    struct buf said;
    buf_init(&said, 4 * COMPLAINTS_LIMIT_BYTES);
    config_aws_use();
    log_set_level(LOG_ERROR); /* trouble is a finding */
    for (size_t i = 0; i < count; i++) {
        check_part(c, &parts[i], check, &said);
    }
    buf_fini(&said);
}

static void print_json(struct slice lines, const int *counts)
{
    json_t *findings = json_array();
    while (lines.len > 0) {
        struct slice line;
        (void)slice_cut(lines, '\n', &line, &lines);
        json_t *finding = json_loadb(line.ptr, line.len, 0, NULL);
        if (finding != NULL) {
            json_array_append_new(findings, finding);
        }
    }
    json_t *answer = json_pack("{s:o, s:i, s:i, s:i}", "findings", findings, "ok", counts[CHECK_OK],
                               "warnings", counts[CHECK_WARN], "failed", counts[CHECK_FAIL]);
    ctl_json_print(answer);
    json_decref(answer);
}

int ctl_check_parts(struct ctl *c, const struct ctl_check_part *parts, size_t count,
                    const char *webhook_url, struct err *e)
{
    char *lines = NULL;
    size_t len = 0;
    struct check check = {.out = stdout, .json = c->json, .webhook_url = webhook_url};
    if (c->json && (check.out = open_memstream(&lines, &len)) == NULL) {
        return err_set(e, ERR_CAPACITY, 0, "no memory for the findings");
    }
    check_each(c, parts, count, &check);
    if (c->json) {
        (void)fclose(check.out);
        print_json((struct slice){lines, len}, check.counts);
        free(lines);
    } else {
        printf("check: %d ok, %d warnings, %d failed\n", check.counts[CHECK_OK],
               check.counts[CHECK_WARN], check.counts[CHECK_FAIL]);
    }
    c->exit_code = check.counts[CHECK_FAIL] > 0 ? CTL_EXIT_FAILED : 0;
    return 0;
}

int ctl_check(struct ctl *c, struct err *e)
{
    return ctl_check_parts(c, all_parts, COUNT_OF(all_parts), NULL, e);
}
