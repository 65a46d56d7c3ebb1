#include "common/base/attr.h"
#include "common/program/log_events.h"

const struct log_event log_events_kafka[] = {
    {"kafka_assign_failed", "ingress, worker, reaper", "warn", "topic, error",
     "librdkafka refused the partitions that the group gave to this process.",
     "If it repeats, restart the process and report it with the lines before it."},
    {"kafka_auth_failed", "ingress, worker, reaper", "warn", "error",
     "A Kafka broker refused this program's credentials or certificate, or its certificate was "
     "refused here. librdkafka keeps trying.",
     "Correct user and password file, role, or certificates (`error` says which); see "
     "deploy/docs/kafka.md."},
    {"kafka_client", "ingress, worker, reaper", "debug", "facility, text",
     "What librdkafka says about its connections and its group. It reconnects by itself.",
     "Nothing, unless calls to Kafka fail: then this says why."},
    {"kafka_commit_failed", "ingress, worker, reaper", "debug", "error",
     "The positions of the delay topics could not be committed. The next commit repeats it.",
     "Nothing."},
    {"kafka_consumer_abandoned", "ingress, worker, reaper", "warn", "action",
     "A consumer that had not joined its group yet was to be closed, which librdkafka before 2.3.0 "
     "answers by aborting the program. It is left as it is; the brokers drop it after the session.",
     "Nothing at the end of a program. Otherwise use librdkafka 2.3.0 or newer."},
    {"kafka_consumer_renewed", "ingress, worker, reaper", "warn", "topic, reason",
     "librdkafka gave up a consumer permanently. The process made another, which joins the group.",
     "Nothing, unless it repeats: then `reason` says what the brokers refuse."},
    {"kafka_delayed_again", "ingress, worker, reaper", "warn",
     "error, error_class, error_code, action",
     "The lanes of some delayed messages took nothing when the delay was over: a topic is missing, "
     "or a partition has no leader. These messages wait another 30 s; others are not held up.",
     "Create the topic, or check the brokers. After 30 days such a message is a dead letter."},
    {"kafka_delayed_message_dead_lettered", "ingress, worker, reaper", "warn",
     "message, lane, reason, action",
     "A delayed message cannot be put into its lane: the lane's name is not one (another program "
     "wrote the record), the broker finds it too large, or the lane took nothing for 30 days.",
     "Read it with `mayflyctl dlq show`, then redrive or delete it."},
    {"kafka_lane_left", "ingress, worker, reaper", "debug", "lane",
     "Nobody in this process has received from the lane for the queue's `idle` time. Its "
     "partitions go to other members of the group; the next receive joins again.",
     "Nothing."},
    {"kafka_lane_refused", "ingress, worker, reaper", "warn",
     "count, error, error_class, error_code, action",
     "A lane took nothing while Kafka took the messages of others: its topic is missing, or a "
     "partition has no leader. `count` messages were put into a delay topic instead, and go to "
     "their lane within 35 s of its return.",
     "Create the topic that `error` names, or check the brokers."},
    {"kafka_messages_lost", "ingress, worker, reaper", "error",
     "topic, partition, count, action, hint",
     "The broker has deleted messages that were not finished: the position that was committed for "
     "the partition lies before the start of its log. `count` messages are gone.",
     "Raise `retention.ms` and remove `retention.bytes` of the topic. The reaper finds the jobs at "
     "GitHub and launches them."},
    {"kafka_messages_passed_on", "ingress, worker, reaper", "info", "lane, count",
     "All of this worker's launch threads have been busy for the queue's `idle` time. What it had "
     "fetched went back to the lane's end, for other workers.",
     "If it repeats, look at why launches take so long, or raise `worker.launch_threads`."},
    {"kafka_move_failed", "ingress, worker, reaper", "warn",
     "count, error, error_class, error_code, action",
     "Delayed messages are due, but could not be put at the end of their lanes.",
     "If it lasts, check the brokers. The messages are moved when Kafka accepts them."},
    {"kafka_no_partition", "ingress, worker, reaper", "warn", "topic, action, hint",
     "The process is a member of the topic's group without a partition for 30 s: the topic is "
     "missing, or there are more consumers than partitions.",
     "Create the topic, add partitions to the topic (`kafka-topics --alter --partitions N`), or "
     "run fewer workers."},
    {"kafka_producer_renewed", "ingress, worker, reaper", "warn", "reason",
     "librdkafka gave up the idempotent producer permanently. The process made another; puts that "
     "failed meanwhile were reported to their callers.",
     "Nothing, unless it repeats: then `reason` says what the brokers refuse."},
    {"kafka_rebalance", "ingress, worker, reaper", "debug", "topic, text, count, lost",
     "The group gave partitions to this process or took some away.", "Nothing."},
};
const size_t log_event_kafka_count = COUNT_OF(log_events_kafka);
