/* The sections of the configuration, and how a setting is found. */
#include <string.h>

#include "common/config/private.h"

const struct setting_section config_sections[] = {
    {"", "What every program needs."},
    {"aws",
     "How AWS is called, for the queue, the ledger, VMs and secrets alike. An empty value is "
     "taken from the environment (`AWS_REGION`, `AWS_PROFILE`, …); credentials are found in "
     "AWS's usual order. See `deploy/docs/aws-reference.md`."},
    {"github", "GitHub, GitHub Enterprise Server or ghe.com. The worker and the reaper need either "
               "`github.app` or `github.token`; the ingress needs neither."},
    {"ingress", "mayfly-ingress, which receives GitHub's webhook deliveries."},
    {"worker", "mayfly-worker, which launches the VMs."},
    {"reaper", "mayfly-reaper, which terminates VMs that outlive their time and repairs what was "
               "lost, in sweeps. Every wait starts when the ledger recorded the event."},
    {"limits", "Caps and rates of the whole fleet. A job above a cap or a rate waits and spends no "
               "attempt. When a VM provider throttles a call (`mayfly_fleet_throttled_total`), all "
               "processes stop calls of that kind for as long as the provider asks, but at most "
               "for the time that the rate's burst takes to refill."},
    {"retry",
     "Retries after a transient error: exponential backoff with full jitter. Each delay is "
     "random between 0 and `min(max_delay, base_delay * 2^(attempt-1))`."},
    {"circuit", "The circuits of subjects in trouble. All workers share them."},
    {"events", "Records of each change of a job's or a VM's state, as JSON, for analytics, billing "
               "and audit: "
               "`deploy/docs/events.md`. Best effort: launches never wait for them."},
    {"traces", "Each job's timeline as one OpenTelemetry trace: `deploy/docs/traces.md`. Best "
               "effort: launches never wait for them."},
    {"metrics", "What is exported beside `/metrics` of the admin port."},
    {"classes[]", "Runner classes, a list. A job belongs to the first class whose `labels` include "
                  "all of the job's labels and whose `required_labels` are all among the job's "
                  "labels. Case is ignored; a job without labels belongs to no class."},
    {"sources[]", "Where jobs come from beside webhooks, a list: runner scale sets, whose jobs "
                  "mayfly-reaper asks GitHub for. "
                  "`deploy/docs/scale-sets.md`."},
};
const size_t config_section_count = COUNT_OF(config_sections);

const struct setting *setting_at(size_t i)
{
    if (i < config_setting_count) {
        return &config_settings[i];
    }
    i -= config_setting_count;
    if (i < config_ingress_setting_count) {
        return &config_ingress_settings[i];
    }
    i -= config_ingress_setting_count;
    for (size_t k = 0; k < config_provider_count; k++) {
        if (i < config_providers[k]->setting_count) {
            return &config_providers[k]->settings[i];
        }
        i -= config_providers[k]->setting_count;
    }
    return NULL;
}

const struct setting *setting_find(const char *key)
{
    const struct setting *s = setting_at(0);
    for (size_t i = 0; s != NULL && strcmp(s->key, key) != 0;) {
        s = setting_at(++i);
    }
    return s;
}

bool setting_is_section(const char *key)
{
    size_t n = strlen(key);
    const struct setting *s = NULL;
    for (size_t i = 0; (s = setting_at(i)) != NULL; i++) {
        if (strncmp(s->key, key, n) == 0 && s->key[n] == '.') {
            return true;
        }
    }
    return false;
}
