/*
 * TLS and SASL of a Kafka cluster.
 */
#include <stdlib.h>
#include <string.h>

#include "common/aws/aws.h"
#include "common/base/fs.h"
#include "common/base/log.h"
#include "common/kafka/internal.h"

#define SCRAM_LEAST 0x020601ff
#define PASSWORD_LIMIT_BYTES 4096

static const struct mechanism {
    const char *name;      /* in the URL */
    const char *mechanism; /* librdkafka's */
    bool password;
    bool readable; /* sends the password as it is */
    bool scram;
} mechanisms[] = {
    {"plain", "PLAIN", true, true, false},
    {"scram-sha-256", "SCRAM-SHA-256", true, false, true},
    {"scram-sha-512", "SCRAM-SHA-512", true, false, true},
    {"msk-iam", "OAUTHBEARER", false, true, false},
};

static const struct mechanism *find_mechanism(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(mechanisms); i++) {
        if (strcmp(mechanisms[i].name, name) == 0) {
            return &mechanisms[i];
        }
    }
    return NULL;
}

bool kafka_scram_works(int version)
{
    return version >= SCRAM_LEAST;
}

/* --- which options go together --- */
static int refuse(struct err *e, const char *what)
{
    return err_set(e, ERR_PERMANENT, 0, "the Kafka URL %s", what);
}

static int check_tls(const struct kafka_cluster *c, struct err *e)
{
    if (c->tls == 0 && (c->ca[0] != '\0' || c->cert[0] != '\0' || c->key[0] != '\0')) {
        return refuse(e, "has ca, cert or key, but no TLS: add tls=1");
    }
    if (c->key[0] != '\0' && c->cert[0] == '\0') {
        return refuse(e, "has a key, but no certificate: add cert=PATH");
    }
    return 0;
}

static int check_password_mechanism(const struct kafka_cluster *c, const struct mechanism *m,
                                    struct err *e)
{
    if (c->user[0] == '\0' || c->password_file[0] == '\0') {
        return err_set(e, ERR_PERMANENT, 0,
                       "the Kafka URL has sasl=%s, which needs user=NAME and password_file=PATH",
                       m->name);
    }
    if (c->region[0] != '\0') {
        return refuse(e, "has a region, which is for sasl=msk-iam alone: remove it");
    }
    if (m->scram && !kafka_scram_works(rd_kafka_version())) {
        return err_set(e, ERR_PERMANENT, 0,
                       "the Kafka URL has sasl=%s, but this librdkafka is %s, whose SCRAM Kafka "
                       "refuses since 3.8.1: install librdkafka 2.6.1 or newer (Debian 13 has "
                       "2.8.0), or use sasl=plain or a client certificate (cert=PATH)",
                       m->name, rd_kafka_version_str());
    }
    return 0;
}

static int check_msk_iam(const struct kafka_cluster *c, struct err *e)
{
    if (c->user[0] != '\0' || c->password_file[0] != '\0') {
        return refuse(e, "has a user or a password_file, but sasl=msk-iam takes AWS credentials: "
                         "remove them (deploy/docs/aws-reference.md)");
    }
    return 0;
}

static int check_sasl(const struct kafka_cluster *c, const struct mechanism *m, struct err *e)
{
    if (m == NULL) {
        return refuse(e, "has an unknown sasl: write plain, scram-sha-256, scram-sha-512 or "
                         "msk-iam");
    }
    if (m->readable && c->tls == 0) {
        return err_set(e, ERR_PERMANENT, 0,
                       "the Kafka URL has sasl=%s without TLS, so that everyone on the way could "
                       "read the credentials: add tls=1",
                       m->name);
    }
    return m->password ? check_password_mechanism(c, m, e) : check_msk_iam(c, e);
}

/* --- open and close --- */
static int read_password(struct kafka_cluster *c, struct err *e)
{
    struct buf *b = &c->password;
    buf_init(b, PASSWORD_LIMIT_BYTES);
    if (fs_read_regular(c->password_file, b, e) != 0) {
        return err_wrap(e, "password_file of the Kafka URL");
    }
    while (b->len > 0 && (b->data[b->len - 1] == '\n' || b->data[b->len - 1] == '\r')) {
        b->data[--b->len] = '\0';
    }
    if (b->len == 0 || memchr(b->data, '\0', b->len) != NULL) {
        return err_set(e, ERR_PERMANENT, 0,
                       "password_file of the Kafka URL: %s is empty or no text: put the password "
                       "into it, as one line",
                       c->password_file);
    }
    return 0;
}

/* The region of the URL, or that of the process, the profile or the host. */
static int find_region(struct kafka_cluster *c, struct err *e)
{
    struct aws_client *client;
    const struct aws_client_options options = {.service = "kafka", .region = c->region};
    if (aws_client_open(&options, &client, e) != 0) {
        return err_wrap(e, "sasl=msk-iam of the Kafka URL");
    }
    bool fits = slice_to_cstr(slice_of(aws_client_region(client)), c->region, sizeof c->region);
    ASSERT(fits);
    aws_client_close(client);
    return 0;
}

int kafka_security_open(struct kafka_cluster *c, struct err *e)
{
    if (check_tls(c, e) != 0) {
        return -1;
    }
    if (c->sasl[0] == '\0') {
        return c->user[0] != '\0' || c->password_file[0] != '\0' || c->region[0] != '\0'
                   ? refuse(e, "has a user, password_file or region, but no sasl: add "
                               "sasl=scram-sha-512, plain or msk-iam")
                   : 0;
    }
    const struct mechanism *m = find_mechanism(c->sasl);
    if (check_sasl(c, m, e) != 0) {
        return -1;
    }
    if (m->password) {
        return read_password(c, e);
    }
    c->credentials = aws_credentials_acquire();
    c->make_token = kafka_msk_token;
    return find_region(c, e);
}

void kafka_security_close(struct kafka_cluster *c)
{
    if (c->password.data != NULL) {
        explicit_bzero(c->password.data, c->password.cap);
    }
    buf_fini(&c->password);
    if (c->credentials != NULL) {
        aws_credentials_release(c->credentials);
    }
}

/* --- of a client --- */
static void fail_token(rd_kafka_t *rk, const struct kafka_cluster *c, enum err_class class,
                       const char *text)
{
    if (kafka_trouble_remember(c, class, text)) {
        log_warn("kafka_auth_failed", LOG_STR("error", text));
    }
    (void)rd_kafka_oauthbearer_set_token_failure(rk, text);
}

/* Called when there is no token yet, at 80 % of its life, and 10 s after a failure. */
static void refresh_token(rd_kafka_t *rk, const char *config, void *opaque)
{
    (void)config;
    (void)opaque;
    char why[256];
    struct err e;
    struct kafka_token token;
    const struct kafka_cluster *c = kafka_cluster_of(rk);
    if (c == NULL) {
        return;
    }
    if (c->make_token(c, &token, &e) != 0) {
        fail_token(rk, c, e.class, e.message);
        return;
    }
    if (rd_kafka_oauthbearer_set_token(rk, token.text.data, token.expires_ms, "mayfly", NULL, 0,
                                       why, sizeof why) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        fail_token(rk, c, ERR_AUTH, why);
    }
    kafka_token_fini(&token);
}

static void set_path(rd_kafka_conf_t *conf, const char *name, const char *path)
{
    if (path[0] != '\0') {
        kafka_conf_set(conf, name, path);
    }
}

void kafka_security_apply(const struct kafka_cluster *c, rd_kafka_conf_t *conf)
{
    const struct mechanism *m = find_mechanism(c->sasl);
    static const char *const protocols[2][2] = {{"plaintext", "ssl"},
                                                {"sasl_plaintext", "sasl_ssl"}};
    kafka_conf_set(conf, "security.protocol", protocols[m != NULL][c->tls != 0]);
    set_path(conf, "ssl.ca.location", c->ca);
    set_path(conf, "ssl.certificate.location", c->cert);
    set_path(conf, "ssl.key.location", c->key[0] != '\0' ? c->key : c->cert);
    kafka_conf_set(conf, "ssl.endpoint.identification.algorithm", "https");
    if (m == NULL) {
        return;
    }
    kafka_conf_set(conf, "sasl.mechanism", m->mechanism);
    if (m->password) {
        kafka_conf_set(conf, "sasl.username", c->user);
        kafka_conf_set(conf, "sasl.password", c->password.data);
    } else {
        /* Else the callback would wait for the caller to poll. */
        rd_kafka_conf_enable_sasl_queue(conf, 1);
        rd_kafka_conf_set_oauthbearer_token_refresh_cb(conf, refresh_token);
    }
}

void kafka_security_start(const struct kafka_cluster *c, rd_kafka_t *rk)
{
    if (c->make_token != NULL) {
        rd_kafka_error_t *failed = rd_kafka_sasl_background_callbacks_enable(rk);
        ASSERT(failed == NULL);
    }
}
