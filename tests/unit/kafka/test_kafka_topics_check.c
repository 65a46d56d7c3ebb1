#include <stdio.h>
#include <string.h>

#include "common/kafka/topics.h"
#include "tests/lib/cmocka.h"

#define DAY_MS (24LL * 3600 * 1000)

static const struct kafka_topic good = {.name = "test.events",
                                        .exists = true,
                                        .partitions = 6,
                                        .replicas = 3,
                                        .configs_known = true,
                                        .retention_ms = 14 * DAY_MS,
                                        .retention_bytes = -1,
                                        .deletes = true,
                                        .min_insync = 2};

/* Checks one topic; the warnings or the error are in `out`. */
static int check(struct kafka_topic t, struct kafka_topics_rule rule, struct buf *out,
                 struct err *e)
{
    struct kafka_cluster *c;
    assert_int_equal(kafka_cluster_new("kafka://b1:9092,b2:9092/test", NULL, 0, &c, e), 0);
    buf_init(out, 4096);
    int rc = kafka_topics_check(c, &t, 1, &rule, out, e);
    if (rc != 0) {
        assert_int_equal(out->len, 0);
        buf_append_cstr(out, e->message);
    }
    kafka_cluster_free(c);
    return rc;
}

enum verdict { FINE, WARNED, REFUSED };

struct row {
    struct kafka_topic topic;
    int brokers;
    bool compacted; /* is meant to be */
    enum verdict verdict;
    const char *says;
};

static void good_topic_is_fine(void **state)
{
    struct buf out;
    struct err e;
    assert_int_equal(check(good, (struct kafka_topics_rule){3, 6, false}, &out, &e), 0);
    assert_int_equal(out.len, 0);
    buf_fini(&out);
}

static struct row row_of(enum verdict verdict, const char *says)
{
    return (struct row){.topic = good, .brokers = 3, .verdict = verdict, .says = says};
}

static void check_row(const struct row *r, size_t number)
{
    struct buf out;
    struct err e;
    const struct kafka_topics_rule rule = {r->brokers, 6, r->compacted};
    int rc = check(r->topic, rule, &out, &e);
    enum verdict verdict = rc != 0 ? REFUSED : out.len > 0 ? WARNED : FINE;
    if (verdict != r->verdict || (out.len > 0 && strstr(out.data, r->says) == NULL)) {
        fail_msg("row %zu: verdict %d, wanted %d with \"%s\": %s", number, (int)verdict,
                 (int)r->verdict, r->says, out.len > 0 ? out.data : "");
    }
    buf_fini(&out);
}

static void retention(void **state)
{
    struct row rows[6];
    rows[0] = row_of(FINE, "");
    rows[0].topic.retention_ms = -1;
    rows[1] = row_of(REFUSED, "kafka-configs.sh --bootstrap-server b1:9092 --alter --entity-type "
                              "topics --entity-name test.events --add-config "
                              "retention.ms=1209600000");
    rows[1].topic.retention_ms = 14 * DAY_MS - 1;
    rows[2] = row_of(REFUSED, "retention.ms is 0");
    rows[2].topic.retention_ms = 0;
    rows[3] = row_of(WARNED, "retention.bytes is 1000");
    rows[3].topic.retention_bytes = 1000;
    rows[4] = row_of(FINE, "");
    rows[4].topic.retention_ms = 7 * DAY_MS;
    rows[4].topic.deletes = false;
    rows[4].topic.compacted = true;
    rows[4].compacted = true;
    rows[5] = rows[4];
    rows[5].topic.deletes = true;
    rows[5].verdict = REFUSED;
    rows[5].says = "retention.ms";
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        check_row(&rows[i], i);
    }
}

static void compaction(void **state)
{
    struct row rows[2];
    rows[0] = row_of(REFUSED, "cleanup.policy=delete");
    rows[0].topic.compacted = true;
    rows[0].topic.deletes = false;
    rows[1] = row_of(WARNED, "cleanup.policy is not compact");
    rows[1].compacted = true;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        check_row(&rows[i], i);
    }
}

static void copies(void **state)
{
    static const struct {
        int brokers;
        int replicas;
        int min_insync;
        enum verdict verdict;
        const char *says;
    } table[] = {
        {1, 1, 1, WARNED, "one broker"},
        {1, 1, 2, REFUSED, "every put fails"},
        {3, 1, 1, REFUSED, "--replication-factor 3"},
        {3, 2, 1, REFUSED, "--add-config min.insync.replicas=2"},
        {3, 2, 2, WARNED, "while one broker is away nothing can be put"},
        {3, 2, 3, REFUSED, "--add-config min.insync.replicas=2"},
        {3, 3, 1, REFUSED, "--add-config min.insync.replicas=2"},
        {3, 3, 2, FINE, ""},
        {3, 3, 3, WARNED, "--replication-factor 4"},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct row r = row_of(table[i].verdict, table[i].says);
        r.brokers = table[i].brokers;
        r.topic.replicas = table[i].replicas;
        r.topic.min_insync = table[i].min_insync;
        check_row(&r, i);
    }
}

static void partitions_and_what_cannot_be_checked(void **state)
{
    struct row rows[3];
    rows[0] = row_of(WARNED, "has 5 partitions for 6 consumers");
    rows[0].topic.partitions = 5;
    rows[1] = row_of(WARNED, "may not DescribeConfigs");
    rows[1].topic =
        (struct kafka_topic){.name = "test.events", .exists = true, .partitions = 6, .replicas = 3};
    rows[2] = row_of(REFUSED, "create=1");
    rows[2].topic = (struct kafka_topic){.name = "test.events"};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        check_row(&rows[i], i);
    }
}

static void missing_topic_has_a_class_of_its_own(void **state)
{
    struct buf out;
    struct err e;
    struct kafka_topic t = {.name = "test.events"};
    assert_int_equal(check(t, (struct kafka_topics_rule){3, 6, false}, &out, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
    buf_fini(&out);
    t = good;
    t.retention_ms = 1;
    assert_int_equal(check(t, (struct kafka_topics_rule){3, 6, false}, &out, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    buf_fini(&out);
}

static void warning_about_the_cluster_comes_once(void **state)
{
    struct kafka_topic topics[] = {good, good, good};
    const struct kafka_topics_rule rule = {.brokers = 1};
    struct kafka_cluster *c;
    struct buf out;
    struct err e;
    buf_init(&out, 4096);
    assert_int_equal(kafka_cluster_new("kafka://b1", NULL, 0, &c, &e), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(kafka_topics_check(c, topics, 3, &rule, &out, &e), 0);
        const char *first = strstr(out.data, "one broker");
        assert_non_null(first);
        assert_null(strstr(first + 1, "one broker"));
    }
    kafka_cluster_free(c);
    buf_fini(&out);
}

static void longest_names_leave_the_command_whole(void **state)
{
    struct buf out;
    struct err e;
    struct kafka_topic t = good;
    memset(t.name, 'n', 160); /* the prefix has 64, a lane's name less than that */
    t.name[160] = '\0';
    t.retention_ms = 1;
    assert_int_equal(check(t, (struct kafka_topics_rule){3, 6, false}, &out, &e), -1);
    assert_non_null(strstr(out.data, "retention.ms=1209600000"));
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_topic_is_fine),
        cmocka_unit_test(retention),
        cmocka_unit_test(compaction),
        cmocka_unit_test(copies),
        cmocka_unit_test(partitions_and_what_cannot_be_checked),
        cmocka_unit_test(missing_topic_has_a_class_of_its_own),
        cmocka_unit_test(warning_about_the_cluster_comes_once),
        cmocka_unit_test(longest_names_leave_the_command_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
