/*
 * What the topics of a cluster must be like so that no job is lost in them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/kafka/internal.h"
#include "common/kafka/topics.h"

#define DAY_MS (24LL * 3600 * 1000)
#define RETENTION_LEAST_MS (14 * DAY_MS)
#define REPLICAS_WISE 3
#define MIN_INSYNC_LEAST 2

struct check {
    const struct kafka_topics_rule *rule;
    struct slice broker; /* one of them, for commands */
    struct buf *warnings;
    struct err *e;
};

/* "topic x: PROBLEM: change it with `COMMAND`" */
static int refuse(const struct check *k, const struct kafka_topic *t, const char *config,
                  const char *problem)
{
    return err_set(k->e, ERR_PERMANENT, 0,
                   "Kafka topic %s: %s: change it with: kafka-configs.sh --bootstrap-server %.*s "
                   "--alter --entity-type topics --entity-name %s --add-config %s",
                   t->name, problem, SLICE_ARG(k->broker), t->name, config);
}

/* What is the same for each topic. */
static void warn_once(const struct check *k, const char *line)
{
    if (k->warnings->len == 0 || strstr(k->warnings->data, line) == NULL) {
        buf_append_cstr(k->warnings, line);
    }
}

static int check_compaction(const struct check *k, const struct kafka_topic *t)
{
    if (t->compacted && !k->rule->compacted) {
        return refuse(k, t, "cleanup.policy=delete",
                      "cleanup.policy has compact, which deletes all messages of a repository but "
                      "its last");
    }
    if (!t->compacted && k->rule->compacted) {
        buf_printf(k->warnings,
                   "topic %s: cleanup.policy is not compact: it grows until its retention is over, "
                   "which deletes what is still needed too; set compact\n",
                   t->name);
    }
    return 0;
}

static int check_retention(const struct check *k, const struct kafka_topic *t)
{
    char problem[128];
    if (!t->deletes) {
        return 0;
    }
    if (t->retention_ms >= 0 && t->retention_ms < RETENTION_LEAST_MS) {
        (void)snprintf(problem, sizeof problem,
                       "retention.ms is %" PRId64 ", and Kafka deletes what is older, launched or "
                       "not; 14 days are the least, -1 is unlimited",
                       t->retention_ms);
        return refuse(k, t, "retention.ms=1209600000", problem);
    }
    if (t->retention_bytes >= 0) {
        buf_printf(k->warnings,
                   "topic %s: retention.bytes is %" PRId64 ": Kafka deletes the oldest messages of "
                   "a partition that is larger, launched or not; set -1\n",
                   t->name, t->retention_bytes);
    }
    return 0;
}

static int check_copies(const struct check *k, const struct kafka_topic *t)
{
    char problem[128];
    if (t->min_insync > t->replicas) {
        (void)snprintf(problem, sizeof problem,
                       "min.insync.replicas is %d, but it has %d replicas, so every put fails",
                       t->min_insync, t->replicas);
        return refuse(k, t,
                      t->replicas < MIN_INSYNC_LEAST ? "min.insync.replicas=1"
                                                     : "min.insync.replicas=2",
                      problem);
    }
    if (k->rule->brokers < 2) {
        warn_once(k, "the cluster has one broker: what it confirmed is lost with its disk\n");
        return 0;
    }
    if (t->replicas < MIN_INSYNC_LEAST) {
        return err_set(
            k->e, ERR_PERMANENT, 0,
            "Kafka topic %s: it has one replica, so a job that was confirmed is lost with "
            "one broker: give it %d with kafka-reassign-partitions.sh, or delete it and "
            "create it with --replication-factor %d, then set min.insync.replicas=2",
            t->name, REPLICAS_WISE, REPLICAS_WISE);
    }
    if (t->min_insync < MIN_INSYNC_LEAST) {
        return refuse(k, t, "min.insync.replicas=2",
                      "min.insync.replicas is 1, so a job may be confirmed by a single broker and "
                      "lost with it");
    }
    if (t->replicas == t->min_insync) {
        buf_printf(
            k->warnings,
            "topic %s: it has %d replicas and min.insync.replicas is %d: while one broker is "
            "away nothing can be put; create it with --replication-factor %d\n",
            t->name, t->replicas, t->min_insync, t->replicas + 1);
    }
    return 0;
}

static int check_topic(const struct check *k, const struct kafka_topic *t)
{
    if (!t->exists) {
        return err_set(k->e, ERR_NOT_FOUND, 0,
                       "Kafka topic %s does not exist, or this user may not describe it: create it "
                       "(deploy/docs/kafka.md), or put create=1 into the URL",
                       t->name);
    }
    if (t->partitions < k->rule->consumers) {
        buf_printf(
            k->warnings,
            "topic %s: it has %d partitions for %d consumers, so some receive nothing; raise "
            "it with kafka-topics.sh --alter --partitions %d\n",
            t->name, t->partitions, k->rule->consumers, k->rule->consumers);
    }
    if (!t->configs_known) {
        buf_printf(k->warnings,
                   "topic %s: this user may not DescribeConfigs: cannot check retention.ms, "
                   "cleanup.policy and min.insync.replicas\n",
                   t->name);
        return 0;
    }
    if (check_compaction(k, t) != 0 || check_retention(k, t) != 0) {
        return -1;
    }
    return check_copies(k, t);
}

int kafka_topics_check(const struct kafka_cluster *c, const struct kafka_topic *topics, size_t n,
                       const struct kafka_topics_rule *rule, struct buf *warnings, struct err *e)
{
    struct check k = {.rule = rule, .warnings = warnings, .e = e};
    struct slice others;
    (void)slice_cut(slice_of(c->brokers), ',', &k.broker, &others);
    for (size_t i = 0; i < n; i++) {
        if (check_topic(&k, &topics[i]) != 0) {
            return -1;
        }
    }
    return 0;
}
