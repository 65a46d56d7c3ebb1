/*
 * Shared by why_reasons.c, which has the order of the reasons and their conditions, and
 * why_sentences.c, which has their words. Pure.
 */
#ifndef MAYFLY_DEPLOY_CTL_WHY_REASONS_H
#define MAYFLY_DEPLOY_CTL_WHY_REASONS_H

#include "deploy/ctl/why.h"

/* The labels of a job that has no class here, as the ledger or GitHub has them; NULL: it has one, or
 * nobody knows it. */
const char *why_labels_of(const struct why_facts *f);
/* The scale set whose label it has; NULL: of none. */
const struct config_source *why_source_of(const struct why_facts *f);
/* Its last launch spent an attempt, and it waits for the next. */
bool why_attempt_failed(const struct why_facts *f);
/* When the reaper puts another launch request for it. */
int64_t why_relaunch_at_ms(const struct why_facts *f);
/* What the reaper heard from GitHub about the group of the job's runners; NULL: nothing since it
 * waits. */
const char *why_refusal_of_group(const struct why_facts *f);
/* Why it is given up; NULL: it is not. */
const char *why_it_is_given_up(const struct why_facts *f);

typedef void why_say_fn(const struct why_facts *f, struct buf *out);
why_say_fn why_say_ended;
why_say_fn why_say_runs;
why_say_fn why_say_given_up;
why_say_fn why_say_dead;
why_say_fn why_say_held_back;
why_say_fn why_say_scale_set;
why_say_fn why_say_no_class;
why_say_fn why_say_other_repository;
why_say_fn why_say_refused_as_public;
why_say_fn why_say_not_received;
why_say_fn why_say_unknown;
why_say_fn why_say_unknown_class;
why_say_fn why_say_paused;
why_say_fn why_say_retired;
why_say_fn why_say_no_target;
why_say_fn why_say_backing_off;
why_say_fn why_say_newer_version;
why_say_fn why_say_no_worker;
why_say_fn why_say_drained;
why_say_fn why_say_stopped;
why_say_fn why_say_fleet_full;
why_say_fn why_say_class_full;
why_say_fn why_say_repository_full;
why_say_fn why_say_target_full;
why_say_fn why_say_host_full;
why_say_fn why_say_rate;
why_say_fn why_say_delayed;
why_say_fn why_say_in_lane;
why_say_fn why_say_to_be_relaunched;
why_say_fn why_say_starting;
why_say_fn why_say_not_taken;
why_say_fn why_say_github;

#endif
