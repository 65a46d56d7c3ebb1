/*
 * Shared by the files of mayfly_github and their tests; no other file includes it.
 *
 * github.c opens and closes, apps.c chooses who makes a call, call.c makes one call and classifies the response by limits.c, token.c
 * gets the authorisation (jwt.c signs for the App), cache.c caches fetched values, parse.c reads
 * responses (json.h), scale_sets/ is another service with a protocol of its own, and runners.c, groups.c, runs.c, checks.c, deliveries.c and app.c are the operations.
 * All parsers accept any bytes.
 */
#ifndef MAYFLY_GITHUB_INTERNAL_H
#define MAYFLY_GITHUB_INTERNAL_H

#include <openssl/types.h>
#include <pthread.h>

#include "common/aws/secrets.h"
#include "common/base/buf.h"
#include "common/base/metrics.h"
#include "common/github/cache.h"
#include "common/github/github.h"
#include "common/http/client.h"

#define GITHUB_JWT_KEY "app" /* of an App's own token in its cache */
#define GITHUB_PAGE_ITEMS 100
#define GITHUB_PAGES_MAX 1000
#define GITHUB_PATH_BYTES 1024
#define GITHUB_BUCKETS_MAX 64
#define GITHUB_TOKEN_BYTES                                                                         \
    16384 /* far above the length of GitHub's tokens, which is not
                                  * documented */

enum github_op {
    GITHUB_OP_MINT_TOKEN,
    GITHUB_OP_FIND_INSTALLATION,
    GITHUB_OP_LIST_INSTALLATIONS,
    GITHUB_OP_LIST_REPOSITORIES,
    GITHUB_OP_LIST_GROUPS,
    GITHUB_OP_REGISTER_RUNNER,
    GITHUB_OP_GET_RUNNER,
    GITHUB_OP_FIND_RUNNER,
    GITHUB_OP_DELETE_RUNNER,
    GITHUB_OP_LIST_RUNNERS,
    GITHUB_OP_GET_JOB,
    GITHUB_OP_GET_RUN,
    GITHUB_OP_LIST_RUNS,
    GITHUB_OP_LIST_RUN_JOBS,
    GITHUB_OP_LIST_DELIVERIES,
    GITHUB_OP_GET_DELIVERY,
    GITHUB_OP_REDELIVER,
    GITHUB_OP_GET_APP,
    GITHUB_OP_GET_HOOK,
    GITHUB_OP_SET_HOOK,
    GITHUB_OP_GET_DEPRECATION,
    GITHUB_OP_CREATE_CHECK_RUN,
    GITHUB_OP_CANCEL_RUN,
    GITHUB_OP_PING,
    GITHUB_OP_CONNECT_SETS,
    GITHUB_OPS
};

#define GITHUB_BUCKET_NAME 48
#define GITHUB_APP_BUCKET "github:app" /* of calls as the first App; another's has its hash */
#define GITHUB_IDENTITIES_MAX 65       /* github.apps has at most 64; and a token */
#define GITHUB_REFUSALS_MAX 64         /* of one identity; then the oldest is forgotten */

/* This process's state of one rate bucket. */
struct github_bucket {
    char name[GITHUB_BUCKET_NAME];
    int64_t limit;      /* calls an hour, as GitHub last reported; 0: unknown. Under the
                               * handle's lock, as the next two */
    int64_t left;       /* of them; -1: unknown */
    int64_t reset_ms;   /* wall clock: until then */
    int secondary_hits; /* secondary limits in a row, under the handle's lock */
    bool shared;        /* by all installations above the limit */
};

/* An App's signing key: one of the two members is set. Counted, since SIGHUP may replace it while a
 * thread signs. */
struct github_signer {
    EVP_PKEY *key;
    struct aws_kms *kms; /* a key in KMS */
    uint64_t text;       /* hash of what the configuration says */
    int holders;         /* under the handle's lock */
};

/* An owner for whom an identity is of no use until then. */
struct github_refusal {
    uint64_t owner;   /* hash_text of its name */
    int64_t until_ms; /* monotonic */
};

/* Who calls: an App, or a person by a token. */
struct github_identity {
    char *app_id; /* "" of a token */
    char *api_url;
    char *pat;                    /* "" of an App; a secret */
    struct github_signer *signer; /* NULL of a token; under the handle's lock, as the next ones */
    struct config_list owners;    /* that it serves; empty: all that no App names */
    struct github_refusal refusals[GITHUB_REFUSALS_MAX];
    size_t next_refusal;
    int64_t *listed; /* installations that it was heard to have */
    size_t listed_count;
    struct github_cache *jwts;          /* the App's own token, if signing takes a call */
    struct github_cache *tokens;        /* installation id -> token */
    struct github_cache *installations; /* owner, lower case -> installation id, 0: none */
    char bucket[24];                    /* of calls as the App */
    char suffix[12];                    /* of its installations' buckets */
};

struct github {
    struct http_client *http;
    struct ledger *ledger;                                    /* borrowed; may be NULL */
    struct github_identity identities[GITHUB_IDENTITIES_MAX]; /* the first is whose hook is on */
    size_t identity_count;
    size_t app_count;
    bool several_servers; /* their API's URLs differ */
    unsigned turn;        /* of the next registration; under the lock */
    char *api_version;
    int64_t installation;
    int64_t timeout_ms;
    int64_t secondary_limit_backoff_ms;
    struct config_rate rate;
    struct config_rate jit_rate;
    struct config_rate registration_rate;
    int64_t reconcile_percent;
    int64_t reserve_percent;
    struct github_cache *sets;   /* scale_sets/: connections, and ids of sets */
    struct github_cache *groups; /* bucket/organisation/group -> group id */
    pthread_mutex_t lock;        /* protects buckets, and of identities what it says there */
    struct github_bucket buckets[GITHUB_BUCKETS_MAX + 1];
    size_t bucket_count;
};

/* Whether it is an App, not a personal token. */
static inline bool github_is_app(const struct github_identity *i)
{
    return i->app_id[0] != '\0';
}

/* The bucket of that name, or the shared last one above the limit. Valid as long as the handle. */
struct github_bucket *github_bucket(struct github *g, const char *name);

/* --- jwt.c --- */

/* The signer that an App has now; drop it after use. */
struct github_signer *github_signer_hold(struct github *g, struct github_identity *i);
void github_signer_drop(struct github *g, struct github_signer *s);
void github_signer_free(struct github_signer *s);

/* Appends a signed RS256 token for the App: iat a minute ago (GitHub's clock may be behind), exp
 * nine minutes ahead, random jti. */
MUST_CHECK int github_jwt_sign(const struct github_signer *signer, const char *app_id,
                               int64_t now_ms, struct buf *out, struct err *e);

/* --- apps.c: which identity makes a call --- */

/* The identities that may make it, the best first, and what the first ones met. */
struct github_choice {
    struct github_identity *list[GITHUB_IDENTITIES_MAX];
    size_t count;
    size_t at;
    struct err why; /* of those before `at`, the most helpful; only if at > 0 */
};
/* Those that serve the scope's owner and were not refused for it lately (all, if each was). A
 * registration takes them in turn; any other call the one with the largest share of its hourly limit
 * left. Fails if none serves it. */
enum github_order { GITHUB_IN_TURN, GITHUB_BY_SHARE };
MUST_CHECK int github_choose(struct github *g, const struct github_scope *s,
                             enum github_order order, struct github_choice *out, struct err *e);
/* How many serve the scope's owner. */
size_t github_serving(struct github *g, const struct github_scope *s);
/* After a call failed: whether the next one may fare better; notes what this one met. If not, *e is
 * the most helpful error of all. */
bool github_choose_next(struct github *g, const struct github_scope *s, struct github_choice *c,
                        struct err *e);
/* The owner in lower case: GitHub ignores case. */
void github_owner_key(const struct github_scope *s, char *out, size_t size);
/* The name of the bucket of an installation. */
void github_installation_bucket(const struct github_identity *i, int64_t installation,
                                char out[GITHUB_BUCKET_NAME]);
/* Notes that this identity has the installation, and of which owner it is (token.c). */
void github_note_installation(struct github *g, struct github_identity *i, int64_t installation);
void github_note_owner(struct github *g, struct github_identity *i,
                       const struct github_installation *of);
/* Marks an error that another App may not meet (err.h), and names the App. Returns -1. */
int github_error_of(const struct github *g, const struct github_identity *i, struct err *e);

/* --- token.c --- */

/* The authorisation of a call. */
struct github_pass {
    struct github_identity *identity;
    struct buf token; /* a secret */
    int64_t installation;
    char bucket[GITHUB_BUCKET_NAME]; /* what its responses say is about this one */
    char paced[GITHUB_BUCKET_NAME];  /* the calls are taken from this one, and a limit closes it */
    bool cached;                     /* it was not made for this call */
};
void github_pass_fini(struct github_pass *p);

/* The bucket that a pass for the scope would have, without a call. False: that needs a lookup. */
bool github_known_bucket(struct github *g, const struct github_scope *s,
                         char out[GITHUB_BUCKET_NAME]);
/* The same, of that identity. */
bool github_bucket_of(struct github *g, struct github_identity *i, const struct github_scope *s,
                      char out[GITHUB_BUCKET_NAME]);

/* The pass of an identity for a scope: the personal token, or an installation token, which is
 * created if necessary. */
MUST_CHECK int github_pass_get(struct github *g, struct github_identity *i,
                               const struct github_scope *s, struct github_pass *out,
                               struct err *e);
/* How long ago its token was made; INT64_MAX: it is not this process's newest, or a personal one. */
int64_t github_pass_age_ms(const struct github_pass *p);
/* Removes its token from the cache: the next pass has a new one. */
void github_pass_drop(const struct github_pass *p);

/* --- call.c --- */

struct github_call {
    enum github_op op;
    const char *method;
    const char *path; /* appended to the API's URL, with its query */
    struct slice body;
    size_t limit_bytes;   /* of the response; 0: the client's default */
    int64_t installation; /* that a call as the App is about: its limit stops no other's; 0: none */
};

/* One authorised call for a scope, by the identities that serve it until one is not refused: takes from the bucket, sends, and classifies the response. A 2xx
 * is success and *out is owned (http_response_fini); anything else is an error with the status as
 * its code. GitHub knows a new token everywhere only after some seconds: until then a 401 is no
 * refusal, and the call is repeated. A 401 later on is one if a new token meets the same. */
MUST_CHECK int github_call(struct github *g, const struct github_scope *s,
                           const struct github_call *call, struct http_response *out,
                           struct err *e);
/* The same with this pass and without the repetition. */
MUST_CHECK int github_call_with(struct github *g, const struct github_pass *pass,
                                const struct github_call *call, struct http_response *out,
                                struct err *e);

/* One call as the App itself, with a token signed for it alone. ERR_AUTH if it is none. */
MUST_CHECK int github_call_app(struct github *g, struct github_identity *i,
                               const struct github_call *call, struct http_response *out,
                               struct err *e);

/* Takes one call from a bucket that all processes share. Sleeps through a short wait; a longer one is
 * ERR_THROTTLED, so that no thread blocks for a minute. setting: what raises the rate. */
struct ledger_bucket;
MUST_CHECK int github_take(struct github *g, const struct ledger_bucket *b, const char *setting,
                           struct err *e);

/* Appends "/orgs/o" or "/repos/o/r"; ERR_PERMANENT if the scope's name is not a GitHub name. */
MUST_CHECK int github_path_scope(struct buf *path, const struct github_scope *s, struct err *e);

/* --- budget.c --- */

struct github_verdict;
/* What a response says about the limit of its bucket. */
void github_budget_observe(struct github *g, struct github_bucket *b,
                           const struct github_verdict *v);

/* Before a registration: GitHub's limits of JIT configurations, for each installation, and of
 * registrations, for each organization or repository. The second is skipped where the first of all
 * Apps that serve it together is the narrower one, as with the defaults and one App. */
MUST_CHECK int github_registration_turn(struct github *g, struct github_identity *i,
                                        const struct github_scope *s, struct err *e);

/* --- limits.c --- */

/* The pause after a limit without a time. */
struct github_silence {
    int64_t pause_ms; /* github.secondary_limit_backoff */
    int hits;
};

struct github_verdict {
    enum err_class class;  /* ERR_NONE for a 2xx */
    int64_t wait_ms;       /* until the next call may succeed; 0: GitHub gave no time */
    bool close;            /* no process should call until then: close the bucket */
    bool secondary;        /* a limit without a time: the pause doubles with each in a row */
    int64_t remaining;     /* x-ratelimit-remaining; -1 unknown */
    int64_t limit;         /* x-ratelimit-limit, of the API's main limit; -1 unknown */
    int64_t reset_ms;      /* wall clock, of x-ratelimit-reset; -1 unknown */
    char message[200];     /* GitHub's message, printable; "": none */
    char permissions[120]; /* X-Accepted-GitHub-Permissions; "" none */
    char request_id[64];
};
/* Classifies a response. `secondary_hits`: secondary limits in a row before it. A pure function. */
void github_judge(const struct http_response *r, int64_t now_ms,
                  const struct github_silence *silence, struct github_verdict *out);

/* --- parse.c: all accept any bytes, and return ERR_RETRY for an invalid response --- */

MUST_CHECK int github_parse_runner(struct slice body, struct github_runner *out, struct err *e);
/* Calls `each` for every runner of a page until it returns non-zero (*stopped). *count: items. */
struct github_page {
    int64_t total; /* of all pages, as GitHub says; 0: it does not */
    size_t count;
    bool stopped;
};
MUST_CHECK int github_parse_runners(struct slice body, github_runner_fn *each, void *arg,
                                    struct github_page *out, struct err *e);
MUST_CHECK int github_parse_jit(struct slice body, struct github_jit *out, struct err *e);
/* out->id: of the group of that name, 0 if it is not on this page. */
MUST_CHECK int github_parse_groups(struct slice body, const char *name, struct github_group *out,
                                   size_t *count, struct err *e);
MUST_CHECK int github_parse_job(struct slice body, struct github_job *out, struct err *e);
MUST_CHECK int github_parse_installation(struct slice body, int64_t *id, struct err *e);
/* *expires_ms: -1 if the response has none. */
MUST_CHECK int github_parse_token(struct slice body, struct buf *token, int64_t *expires_ms,
                                  struct err *e);
/* Whether more pages follow: by the Link header (RFC 8288), or without one if the page is full. */
bool github_more_pages(struct slice link, size_t count);
/* Calls `each` for every entry of a page of deliveries until it returns non-zero. Skips entries
 * without an id, a GUID or a time. */
MUST_CHECK int github_parse_deliveries(struct slice body, github_delivery_fn *each, void *arg,
                                       struct err *e);
/* Appends the request's payload as JSON text. ERR_NOT_FOUND if the response has none. */
MUST_CHECK int github_parse_payload(struct slice body, struct buf *out, struct err *e);
/* The repository of that payload. ERR_NOT_FOUND if the response names none. */
MUST_CHECK int github_parse_delivery_repository(struct slice body, char out[REPOSITORY_SIZE],
                                                struct err *e);
MUST_CHECK int github_parse_app(struct slice body, struct github_app *out, struct err *e);
MUST_CHECK int github_parse_hook_config(struct slice body, struct github_hook_config *out,
                                        struct err *e);
MUST_CHECK int github_parse_deprecation(struct slice body, struct github_deprecation *out,
                                        struct err *e);
MUST_CHECK int github_parse_installations(struct slice body, github_installation_fn *each,
                                          void *arg, struct github_page *out, struct err *e);
/* Of an installation. */
MUST_CHECK int github_parse_repositories(struct slice body, github_repository_fn *each, void *arg,
                                         struct github_page *out, struct err *e);
/* An item that cannot be read is an error: without it the list would be a shorter one. */
MUST_CHECK int github_parse_runs(struct slice body, const struct github_runs_query *q,
                                 github_run_fn *each, void *arg, struct github_page *out,
                                 struct err *e);
MUST_CHECK int github_parse_run_jobs(struct slice body, const struct github_run *run,
                                     github_run_job_fn *each, void *arg, struct github_page *out,
                                     struct err *e);
MUST_CHECK int github_parse_run_states(struct slice body, github_run_state_fn *each, void *arg,
                                       struct github_page *out, struct err *e);
/* The cursor of the next page in the Link header; false if there is none, or if it is too long or
 * has characters that a query cannot contain. */
bool github_next_cursor(struct slice link, char *out, size_t size);
/* The "message" of an error's body, made printable and truncated; "" if there is none. */
void github_parse_message(struct slice body, char *out, size_t size);
/* A truncated copy, with printable ASCII only. */
void github_printable(struct slice in, char *out, size_t size);

/* --- deliveries.c --- */

/* Appends the path of that hook, "/app/hook" or "/orgs/o/hooks/1"; ERR_PERMANENT if its owner's
 * name is not a GitHub name. */
MUST_CHECK int github_path_hook(struct buf *path, const struct github_hook *h, struct err *e);
/* A call about a hook: as the App for its own, else for the hook's scope. */
MUST_CHECK int github_call_hook(struct github *g, const struct github_hook *h,
                                const struct github_call *call, struct http_response *out,
                                struct err *e);

/* --- groups.c --- */

/* The id of an organisation's runner group, cached for ten minutes. */
MUST_CHECK int github_group_id(struct github *g, const struct github_scope *s, const char *name,
                               int64_t *id, bool *cached, struct err *e);
/* Removes it from the cache, after a 404. */
void github_group_forget(struct github *g, const struct github_scope *s, const char *name,
                         int64_t id);

#endif
