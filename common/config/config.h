/*
 * The configuration of all three programs: one YAML (or JSON) text, one table of settings, one
 * struct.
 *
 * config_load reads the text, resolves `env:NAME`, `file:PATH`, `credential:NAME` and, through a fetcher, values
 * stored in AWS, checks every key against the table in table.c (an unknown key is an error that
 * names the nearest known one) and fills a plain struct that never changes afterwards. Reloading
 * makes a new struct; config_live counts references to the current one, so that a thread has a
 * consistent view for as long as it holds a reference. Strings in the struct are never NULL (""
 * when unset) and belong to it. It contains secrets: never log it whole.
 */
#ifndef MAYFLY_CONFIG_CONFIG_H
#define MAYFLY_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/slice.h"

struct config_list {
    char **items;
    size_t count;
};

/* Appends a copy. */
void config_list_add(struct config_list *list, struct slice text);
void config_list_fini(struct config_list *list);

struct config_rate {
    double per_second; /* 0: unlimited */
    int64_t burst;     /* >= 1 */
};

/* The hook whose delivery log the reaper reads, unless it is the App's own. */
struct config_hook {
    int64_t id; /* 0: none configured */
    char *organization;
    char *repository; /* owner/name; exactly one of the two is set if id is */
};

/* For all calls to AWS. */
struct config_aws {
    char *region;    /* "": from the environment, the profile, the metadata */
    char *profile;   /* "" : the environment's */
    char *endpoint;  /* of every service; "": from the environment, else each service's own host */
    char *proxy;     /* "" : the environment's */
    bool fips;       /* use hosts with FIPS 140 validated cryptography */
    bool dual_stack; /* use hosts with IPv6 */
};

/* One of several GitHub Apps. */
struct config_app {
    char *id;                         /* App id or client id */
    char *key;                        /* PEM text of its private key, or kms:KEY */
    char *api_url;                    /* without a trailing slash; "": github.api_url */
    struct config_list organizations; /* that it serves; empty: all that no other names */
};

struct config_github {
    char *api_url;           /* without a trailing slash */
    char *app_id;            /* App id or client id; "" when a token is used */
    char *app_key;           /* PEM text of the App's private key, or kms:KEY */
    struct config_app *apps; /* in place of the two */
    size_t app_count;
    char *token;          /* a personal access token; "" when an App is used */
    int64_t installation; /* 0: from the delivery, else looked up */
    struct config_list webhook_secrets;
    char *scope;                     /* "organization", "repository" or "enterprise" */
    char *enterprise;                /* its slug */
    struct config_list repositories; /* allow-list: owner/name, owner/ *; empty: all */
    char *public_repositories;       /* "refuse" or "allow": their jobs */
    char *runner_group;
    struct config_list groups; /* "owner/name=group", "owner/ *=group" */
    char *api_version;         /* X-GitHub-Api-Version */
    char *proxy;               /* URL of an HTTP proxy for API calls; "": from the environment */
    char *ca;           /* file of CA certificates, PEM; "": SSL_CERT_FILE, else the host's */
    int64_t timeout_ms; /* of one whole API call */
    /* After a secondary rate limit without a time; doubles with each in a row. */
    int64_t secondary_limit_backoff_ms;
    struct config_rate rate;
    struct config_rate jit_rate;          /* of each installation */
    struct config_rate registration_rate; /* of each organization or repository */
    int64_t reconcile_percent; /* of the hourly limit, for all questions that launch nothing */
    int64_t reserve_percent;   /* below this much of it, only questions that end a VM early */
    struct config_hook hook;
    int64_t
        pull_interval_ms; /* between two readings of the hook's delivery log; 0: it is not pulled */
};

struct config_ingress {
    char *listen; /* address:port */
    char *path;
    char *admin_listen;
    char *tls_certificate; /* PEM file paths; both or neither */
    char *tls_key;
    int64_t threads; /* 0: one per core */
    int64_t max_body_size_bytes;
    int64_t max_header_size_bytes;
    int64_t max_unverified_memory_bytes; /* of all bodies whose signature is not verified yet */
    int64_t max_connections;
    int64_t max_peer_connections;             /* of one peer; 0: peers_limits (ingress/peer) */
    int64_t max_peer_unverified_memory_bytes; /* of one peer; 0: as well */
    struct config_list trusted_proxies;       /* ip_prefix_parse */
    struct config_list allow_from;            /* the same, or config_means_github_hooks */
    int64_t max_in_flight;        /* deliveries read from the network and not yet answered */
    int64_t admission_timeout_ms; /* waiting for max_in_flight */
    int64_t head_timeout_ms;
    int64_t request_timeout_ms;
    int64_t idle_timeout_ms;
    int64_t commit_threads; /* threads that write batches to the queue */
    int64_t batch;          /* most deliveries in one batch */
    int64_t enqueue_timeout_ms;
    int64_t retry_after_ms;
    int64_t dedupe_cache_size; /* delivery GUIDs remembered */
    int64_t drain_timeout_ms;
    int64_t record_format;  /* of enqueued messages; common/job/record.h */
    char *spool_path;       /* the spool's file; "": no spool */
    int64_t spool_after_ms; /* a put that takes longer is handed over to the spool */
    int64_t spool_max_messages;
    int64_t spool_max_age_ms;
    int64_t spool_batch;              /* most deliveries moved to the queue at once */
    int64_t spool_max_retry_delay_ms; /* longest backoff while the queue fails */
    int64_t spool_not_ready_percent;
    int64_t intake_not_ready_percent;
};

struct config_worker {
    char *admin_listen;
    int64_t launch_threads;
    int64_t event_consumer_threads;
    int64_t terminate_threads;
    char *vm_uids;                     /* id_range_parse; "": the worker's */
    int64_t visibility_timeout_ms;     /* of a received message */
    int64_t capacity_poll_ms;          /* interval of checks for a free slot while a class is at its
                                    * cap */
    int64_t terminate_grace_period_ms; /* time for a VM whose job has finished to shut down by
                                        * itself */
    int64_t drain_timeout_ms;
};

/* Reading GitHub's delivery log to find failed deliveries. */
struct config_deliveries {
    int64_t interval_ms;         /* pause between two readings */
    int64_t initial_lookback_ms; /* how far back the first reading goes */
    int64_t overlap_ms;          /* how far a reading goes back before the end of the last one */
    int64_t calls;               /* most calls of GitHub's API in one sweep */
};

struct config_reaper {
    char *admin_listen;
    int64_t interval_ms;              /* between two sweeps */
    int64_t lease_duration_ms;        /* the sweep lease */
    int64_t vm_list_interval_ms;      /* between two complete lists of a service's VMs */
    int64_t confirm_after_ms;         /* least time between the first and the second evidence about
                                       * a VM */
    int64_t deadline_grace_period_ms; /* past a class's max_duration before a VM is terminated */
    int64_t startup_timeout_ms;       /* limit of one launch, until its runner is seen online or
                                       * busy */
    int64_t terminate_timeout_ms;     /* limit for a VM to shut down by itself */
    int64_t relaunch_after_ms; /* a job that waits longer gets another launch if VMs are fewer than
                                * jobs */
    bool give_up;              /* jobs that cannot be launched get a terminal answer at GitHub */
    int64_t give_up_after_ms;
    int64_t retention_ms;     /* of ended jobs and VMs in the ledger */
    int64_t log_retention_ms; /* of ended VMs' consoles and exit records on the host */
    int64_t
        mass_termination_hold_ms; /* how long an unusual number of absent VMs must stay absent */
    int64_t stale_runner_scan_interval_ms; /* pause between two scans of GitHub's runner lists */
    int64_t drain_timeout_ms;
    int64_t job_scan_interval_ms; /* between two readings of the jobs of a repository that had some
                                   * lately */
    struct config_deliveries deliveries;
};

struct config_limits {
    int64_t max_vms;
    int64_t max_vms_per_repository; /* 0: no cap */
    struct config_rate launch_rate;
    /* Calls of all processes to a VM provider's service. */
    struct config_rate terminate_rate;
    struct config_rate describe_rate;
    struct config_rate list_rate;
};

struct config_retry {
    int64_t max_attempts;
    int64_t base_delay_ms;
    int64_t max_delay_ms;
};

struct config_circuit {
    int64_t failure_threshold; /* permanent failures in a row that open it; 0: never */
    int64_t open_duration_ms;  /* time before a trial launch; doubles with each that fails */
    int64_t max_open_duration_ms;
};

/* Records of each change of state, for analytics, billing and audit. */
struct config_events {
    char *file;     /* path; "": none */
    char *kafka;    /* kafka://BROKERS/TOPIC; "": none */
    int64_t buffer; /* most records that wait for one of the two */
};

/* Each job's timeline as a trace. */
struct config_traces {
    char *endpoint; /* URL; "": none */
    struct config_list headers;
    int64_t buffer; /* most ends of jobs and VMs that wait for it */
};

struct config_metrics {
    bool emf;
};

struct config_proxy {
    char *http; /* in the runner's environment; "": not set */
    char *https;
    char *no_proxy;
};

/* What `mayflyctl cost` reckons with, decimal, USD. */
struct config_cost {
    char *vcpu_hour; /* "": the provider's shipped price, if it has one */
    char *gb_hour;
    char *github_minute; /* "": the shipped price of GitHub's own runner of that size */
};

/* VMs that idle until a job comes (min_idle.c). */
struct config_min_idle {
    int64_t count;               /* in each scope; 0: none */
    struct config_list schedule; /* min_idle.h; empty: always */
    struct config_list scopes;   /* as common/job/scope.h names them */
    int64_t replace_after_ms;    /* since its registration */
};

/* One account and region where VMs run. Classes that name the same target share it: its cap, its
 * rate, its circuit. */
struct config_target {
    char *name;                     /* [a-z0-9-], 1 to 32 characters */
    char *image;                    /* as the provider names one */
    char *region;                   /* "": the image's */
    char *role_arn;                 /* with whose rights it is called; "": the process's own */
    int64_t max_vms;                /* of all classes; 0: as many as the classes may have */
    struct config_rate launch_rate; /* of all classes */
    int64_t weight;                 /* 0: nothing is launched there, and its VMs run to their end */
};

/* Also a place: where a class's VMs run. A class without targets is its own place. Each target of one
 * is a place: a copy of the class under a name of its own, with the provider's settings for that target. */
struct config_class {
    char *name;            /* [a-z0-9-], 1 to 32 characters; of a target's place CLASS@TARGET */
    const char *state_dir; /* the configuration's */
    int64_t opening;       /* grows with each reload that changes how its provider is opened */
    uint64_t revision;     /* config_provider.revision when it was read; 0: none */
    struct config_list labels;
    struct config_list required_labels;
    char *provider;     /* one of config_providers */
    char *scope;        /* "": github.scope */
    char *runner_group; /* "" : github.runner_group */
    int64_t max_vms;
    int64_t max_duration_ms;
    int64_t idle_timeout_ms;
    bool shell;      /* people may open shells in its VMs */
    bool has_former; /* of a target's place: the class launched there before it had targets */
    int64_t hold_on_failure_ms;     /* a VM whose job failed stays so long; 0: it ends */
    int64_t relaunch_after_ms;      /* 0: reaper.relaunch_after */
    struct config_rate launch_rate; /* on top of the fleet's */
    struct config_min_idle min_idle;
    struct config_proxy proxy;
    struct config_cost cost;
    struct config_target *targets;
    size_t target_count;
    const struct config_class *place_of; /* of a target's place: the class; else NULL */
    const struct config_target *target;  /* of a target's place; else NULL */
    void *settings; /* of its provider: a struct declared in the provider's header */
    void **blocks;  /* such structs for every provider, used or not; private to config */
};

/* Jobs that come otherwise than by webhooks: a runner scale set of GitHub's. */
struct config_source {
    char *scale_set;    /* its name, which is its label */
    char *class_name;   /* of its VMs */
    char *organization; /* whose jobs they are; or: */
    char *repository;   /* owner/name; exactly one of the two is set */
    char *runner_group; /* of the organization; "": the class's */
};

struct config {
    char *deployment; /* in the names of its runners and VMs; [a-z0-9-], 1 to 20 characters */
    char *queue;
    char *ledger;
    char *state_dir; /* of a host with VMs of its own */
    char *log_level;
    int64_t heartbeat_interval_ms;
    struct config_aws aws;
    struct config_github github;
    struct config_ingress ingress;
    struct config_worker worker;
    struct config_reaper reaper;
    struct config_limits limits;
    struct config_retry retry;
    struct config_circuit circuit;
    struct config_events events;
    struct config_traces traces;
    struct config_metrics metrics;
    struct config_class *classes;
    size_t class_count;
    const struct config_class **places; /* where the VMs of all classes run */
    size_t place_count;
    struct config_class *target_places; /* those of them that are targets' */
    size_t target_place_count;
    struct config_source *sources;
    size_t source_count;
    struct config_list unfetched; /* "key (written value)" of values that a check of the text
                                   * alone cannot look up */
    struct config_list warnings;  /* "origin:line: key: what: fix" */
    struct config_list automatic; /* paths of limits that are `auto`: "classes[0].max_vms" */
    uint64_t text_hash;           /* of the text that it was read from */
    bool quotas_unread;   /* limits that are `auto` have defaults, not what the quotas allow */
    bool has_credentials; /* a value is a credential of the systemd unit */
    char *path;           /* of the file that it was read from; NULL: it was none */
};

/* Fetches the remote value that `written` names ("ssm:NAME", "secretsmanager:ARN[#json-key]") and
 * appends it. `aws` is complete. */
typedef int config_fetch_fn(const struct config_aws *aws, struct slice written, struct buf *out,
                            struct err *e);
/* For the whole process; call it before threads start. Without a fetcher (NULL, the default) remote
 * values, and outside of a unit those of credential:NAME, stay as written, unchecked, and
 * config.unfetched names them: such a configuration is for checking only. */
void config_set_fetcher(config_fetch_fn *fetch);

/* The program that loads. Settings that only other programs need, secrets above all, are neither
 * required nor resolved, so that an ingress works without the App's key. CONFIG_FOR_CHECK requires
 * what every program needs. CONFIG_FOR_CTL_GITHUB: mayflyctl where it asks GitHub, with the
 * credentials if it can read them; those that it cannot are left empty, without a complaint. */
enum config_for {
    CONFIG_FOR_INGRESS,
    CONFIG_FOR_WORKER,
    CONFIG_FOR_REAPER,
    CONFIG_FOR_CTL,
    CONFIG_FOR_CTL_GITHUB,
    CONFIG_FOR_CHECK
};

/* Parses and checks `text`; `origin` names it in messages ("file:line: key: what: fix"). On failure
 * the message holds the first complaint and *complaints (may be NULL) all of them, one a line. *out
 * is owned by the caller (config_free). */
MUST_CHECK int config_parse(struct slice text, const char *origin, enum config_for who,
                            struct config **out, struct buf *complaints, struct err *e);

#define CONFIG_DEFAULT_PATH "/etc/mayfly/mayfly.yaml"
/* Loads --config FILE or, if path is NULL, the text in MAYFLY_CONFIG, or without that the file at
 * CONFIG_DEFAULT_PATH. */
MUST_CHECK int config_load(const char *path, enum config_for who, struct config **out,
                           struct buf *complaints, struct err *e);
/* What can be read of it, and defaults for the rest: nothing is checked, so what is wrong with it
 * stops no question about another setting. Secrets are neither fetched nor required. Owned by the
 * caller, never NULL. */
struct config *config_peek(const char *path, enum config_for who);
/* Whether it has that key, in that section; its value is not looked at. */
bool config_peek_has(const char *path, const char *section, const char *key);
void config_free(struct config *c);

/* How mayflyctl is called for this deployment, for the commands that logs name: with the file of this
 * configuration, unless it is the one that mayflyctl reads by itself. c may be NULL. */
#define CONFIG_CTL_SIZE 1024
const char *config_ctl(const struct config *c, char out[CONFIG_CTL_SIZE]);

/* --- places (place.c) --- */

/* The class whose VMs run there, and its name. */
const struct config_class *config_place_class(const struct config_class *place);
const char *config_place_class_name(const struct config_class *place);
/* The target that it is, as rows name it; "": none. */
const char *config_place_target(const struct config_class *place);
/* Where VMs of the class are launched: *first and those behind it in config.places; returns how many.
 * Those that get no launches are among them. */
size_t config_launch_places(const struct config *c, const struct config_class *class,
                            const struct config_class *const **first);
/* NULL if there is none of that name, as of a class whose VMs run at its targets alone. */
const struct config_class *config_place_by_name(const struct config *c, const char *name);
/* Whether a row's VM, of that class and target, runs at that place. */
bool config_place_is_of(const struct config_class *place, const char *class_name,
                        const char *target);
/* NULL, or what the target of that name is in the first class that names it. */
const struct config_target *config_target_by_name(const struct config *c, const char *name);

/* The reference page (Markdown), from the table. */
void config_reference(struct buf *out);

/* The class a job with these labels belongs to: the first that is not retired and whose `labels`
 * contain all of them and whose `required_labels` they all carry, case folded; NULL for none, and for
 * an empty label list. */
const struct config_class *config_route(const struct config *c, const struct slice *labels,
                                        size_t n);
/* The same for labels joined with commas, as struct job has them. */
const struct config_class *config_route_joined(const struct config *c, const char *labels);

/* Why labels match no class: the class with the fewest differences (then with the most labels in
 * common, then the first), and how it differs. */
enum config_mismatch {
    CONFIG_MATCHES,         /* there is a class that accepts them */
    CONFIG_NO_LABELS,       /* the job has none */
    CONFIG_NO_COMMON_LABEL, /* with any class: probably for GitHub's own runners; `class` is NULL */
    CONFIG_LABEL_UNKNOWN,   /* `class` does not have the job's label `label` */
    CONFIG_LABEL_NOT_CARRIED, /* `class` requires `label`, which the job does not have */
    CONFIG_CLASS_RETIRED,     /* `class` would accept them, but its max_vms is 0 */
    CONFIG_LABELS_IN_ONE,     /* `label` holds several, with commas; `class` is NULL */
};
struct config_nearest {
    enum config_mismatch mismatch;
    const struct config_class *class; /* the configuration's */
    struct slice label; /* the first that differs; the labels' or the configuration's */
    size_t more;        /* how many others differ too */
    /* What they share are labels that GitHub gives to runners by itself ("self-hosted", "linux", "x64"), although
     * the class has others: the job is probably for other runners. */
    bool shares_defaults_only;
};
/* labels: as job_labels_join makes them. */
void config_nearest_class(const struct config *c, const char *labels, struct config_nearest *out);
/* A word for a metric or a log field: "label_unknown"; static text. */
const char *config_mismatch_name(enum config_mismatch m);
/* Appends a clause: `the nearest class, small, does not have the label "gpu"`. */
void config_nearest_describe(const struct config_nearest *nearest, struct buf *out);

/* For the whole process; call it before threads start. It is called for each configuration that is read
 * to be used and in which a limit is `auto`: it sets those limits from what the VM providers' services
 * allow. One that it leaves as it is, or without such a function, has its default. */
typedef void config_quota_fn(struct config *c);
void config_set_quota_reader(config_quota_fn *read);
/* Whether that limit is `auto`; path: "limits.max_vms", "classes[0].max_vms". */
bool config_is_automatic(const struct config *c, const char *path);

const struct config_class *config_class_by_name(const struct config *c, struct slice name);
/* Whether its VMs are run by a service, which has rates of its own, and not by this host. */
bool config_calls_service(const struct config_class *class);

/* A class with max_vms 0: no job is routed to it and none is launched, and its VMs are handled to
 * their end. */
static inline bool config_class_is_retired(const struct config_class *class)
{
    return class->max_vms == 0;
}

/* How many idle VMs the class is to have in that scope (as the ledger names it) at that moment. */
int64_t config_min_idle(const struct config_class *class, const char *scope, int64_t now_ms);
/* The same in all its scopes together. */
int64_t config_idle_wanted(const struct config_class *class, int64_t now_ms);

/* Whether github.repositories admits "owner/name" (case folded). */
bool config_admits_repository(const struct config *c, struct slice full_name);

/* Whether an item of ingress.allow_from stands for the ranges that GitHub publishes. */
static inline bool config_means_github_hooks(const char *item)
{
    return slice_eq_cstr(slice_of(item), "github-hooks");
}

bool config_allows_public_repositories(const struct config *c);

/* Whether there is a GitHub App, or several: not a personal token alone. */
bool config_has_app(const struct config *c);
/* Whether the keys of all of them could be read. */
bool config_has_app_keys(const struct config *c);

/* Where runners register. */
enum config_scope { CONFIG_ORGANIZATION, CONFIG_REPOSITORY, CONFIG_ENTERPRISE };
/* Those of that class (NULL: one that is not configured). */
enum config_scope config_scope_of(const struct config *c, const struct config_class *class);
/* Whether runners of any class register there. */
bool config_uses_scope(const struct config *c, enum config_scope scope);
/* The scope of a source's runners, as common/job/scope.h names it, cut at `size`. */
void config_source_scope(const struct config_source *source, char *out, size_t size);
/* The source of that scope; NULL: none is configured. */
const struct config_source *config_source_of(const struct config *c, const char *scope);
/* The group of runners that its scale set is in. */
const char *config_source_group(const struct config *c, const struct config_source *source);
/* The name of the group that github.groups gives the repository; "" none. */
const char *config_mapped_group(const struct config *c, const char *repository);
/* The group of a class's runners that are in no mapped one. */
const char *config_class_group(const struct config *c, const struct config_class *class);
/* The group that runners of the class register in, in that scope (common/job/scope.h): of its scale set,
 * the mapped one, which is a part of `scope`, or the class's. */
const char *config_scope_group(const struct config *c, const struct config_class *class,
                               const char *scope);

/* --- the current configuration of a running program, and its reload --- */
struct config_live;
/* Takes ownership of `first`. `path` as for config_load (copied). */
struct config_live *config_live_new(struct config *first, const char *path, enum config_for who);
void config_live_free(struct config_live *live);
/* A reference to the current one; release it with config_live_put. Any thread. */
const struct config *config_live_get(struct config_live *live);
void config_live_put(struct config_live *live, const struct config *c);
/* Reads again (SIGHUP). Reloadable settings change, and the classes: a new one is added, one that is
 * missing stays as a retired one until the restart. `ignored` (may be NULL) gets one line for
 * each changed key that needs a restart. On failure the old one stays current. */
MUST_CHECK int config_live_reload(struct config_live *live, struct buf *ignored, struct err *e);
/* Reads the quotas again that limits which are `auto` come from, if there are such limits and the text is
 * still the one in use: a change of it is for SIGHUP. False: nothing has changed, as where a quota could
 * not be read. */
bool config_live_read_quotas(struct config_live *live);

#endif
