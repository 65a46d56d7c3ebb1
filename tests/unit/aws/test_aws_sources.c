/* Where credentials come from: each source against a scripted other side, their order, the chains
 * of roles, and what is said when there are none. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/aws/internal.h"
#include "common/aws/sources.h"
#include "tests/lib/cmocka.h"
#include "tests/unit/aws/aws_fixture.h"

#define NEVER "2100-01-01T00:00:00Z"

static void assert_found(const char *access_key, const char *secret_key, const char *token,
                         const char *source)
{
    struct aws_keys k;
    struct err e = {0};
    int rc = aws_sources_find(&k, &e);
    if (rc != 0) {
        print_message("%s\n", e.message);
    }
    assert_int_equal(rc, 0);
    assert_string_equal(k.access_key, access_key);
    assert_string_equal(k.secret_key, secret_key);
    assert_string_equal(k.session_token, token);
    assert_string_equal(k.source, source);
    aws_keys_fini(&k);
}

static struct err assert_none(enum err_class class, const char *what)
{
    struct aws_keys k;
    struct err e = {0};
    assert_int_equal(aws_sources_find(&k, &e), -1);
    if (e.class != class || strstr(e.message, what) == NULL) {
        print_message("%s\n", e.message);
    }
    assert_int_equal(e.class, class);
    assert_non_null(strstr(e.message, what));
    return e;
}

static void set_url(const char *variable, const struct fixture_server *s, const char *path)
{
    char url[256];
    (void)snprintf(url, sizeof url, "%s%s", http_server_url(s->http), path);
    (void)setenv(variable, url, 1);
}

/* --- order ------------------------------------------------------------------------------------ */

static void without_any_each_source_says_why(void **state)
{
    struct err e = assert_none(ERR_AUTH, "no AWS credentials: ");
    assert_non_null(strstr(e.message, "environment: AWS_ACCESS_KEY_ID is not set; "));
    assert_non_null(
        strstr(e.message, "shared files: profile default: not found in the shared files; "));
    assert_non_null(strstr(e.message, "web identity: AWS_WEB_IDENTITY_TOKEN_FILE is not set; "));
    assert_non_null(strstr(e.message, "container: AWS_CONTAINER_CREDENTIALS_* is not set; "));
    assert_non_null(strstr(e.message, "instance: AWS_EC2_METADATA_DISABLED is set"));
    assert_int_equal(e.code, HTTP_NOT_SENT);
}

static void environment_comes_before_the_files(void **state)
{
    aws_fixture_file("credentials",
                     "[default]\naws_access_key_id=FILE\naws_secret_access_key=file-secret\n");
    assert_found("FILE", "file-secret", "", "profile");
    (void)setenv("AWS_ACCESS_KEY_ID", "ENV", 1);
    (void)setenv("AWS_SECRET_ACCESS_KEY", "env-secret", 1);
    (void)setenv("AWS_SESSION_TOKEN", "env-token", 1);
    assert_found("ENV", "env-secret", "env-token", "environment");
}

static void profile_of_the_configuration_comes_before_the_environment(void **state)
{
    struct aws_defaults d = {"", "mine", "", "", false, false};
    aws_fixture_file("credentials",
                     "[mine]\naws_access_key_id=FILE\naws_secret_access_key=file-secret\n");
    (void)setenv("AWS_ACCESS_KEY_ID", "ENV", 1);
    (void)setenv("AWS_SECRET_ACCESS_KEY", "env-secret", 1);
    aws_set_defaults(&d);
    assert_found("FILE", "file-secret", "", "profile");
}

static void half_a_pair_in_the_environment_ends_the_search(void **state)
{
    aws_fixture_file("credentials",
                     "[default]\naws_access_key_id=FILE\naws_secret_access_key=file-secret\n");
    (void)setenv("AWS_SECRET_ACCESS_KEY", "env-secret", 1);
    struct err e = assert_none(ERR_AUTH, "only one of AWS_ACCESS_KEY_ID");
    assert_null(strstr(e.message, "env-secret"));
}

static void named_profile_that_is_missing_ends_the_search(void **state)
{
    (void)setenv("AWS_PROFILE", "nobody", 1);
    struct err e = assert_none(ERR_AUTH, "profile nobody: not found in the shared files");
    assert_null(strstr(e.message, "container"));
}

static void key_that_could_not_be_sent_is_refused(void **state)
{
    (void)setenv("AWS_ACCESS_KEY_ID", "ENV", 1);
    (void)setenv("AWS_SECRET_ACCESS_KEY", "env-secret", 1);
    (void)setenv("AWS_SESSION_TOKEN", "a\r\nX-Injected: b", 1);
    struct err e = assert_none(ERR_AUTH, "environment: ");
    assert_null(strstr(e.message, "Injected"));
}

/* --- roles ------------------------------------------------------------------------------------ */

#define BASE_KEYS "[base]\naws_access_key_id=BASE\naws_secret_access_key=base-secret\n"

static void role_is_assumed_with_its_source_profile(void **state)
{
    struct fixture_server s;
    struct fixture_answer answers[] = {
        {"POST /", 200, "", fixture_sts("AssumeRole", "ROLE", NEVER), 0, 0}};
    fixture_serve(&s, answers, 1);
    set_url("AWS_ENDPOINT_URL_STS", &s, "");
    aws_fixture_file("credentials", BASE_KEYS);
    aws_fixture_file("config", "[profile r]\nrole_arn=arn:aws:iam::1:role/x y\n"
                               "source_profile=base\nexternal_id=e&1\nrole_session_name=n\n"
                               "duration_seconds=900\nregion=eu-west-1\n");
    (void)setenv("AWS_PROFILE", "r", 1);
    assert_found("ROLE", "secret+of/ROLE", "token=of&ROLE", "role");
    const struct served_request *q = http_server_request(s.http, 0);
    assert_string_equal(q->body.data,
                        "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3A"
                        "role%2Fx%20y&RoleSessionName=n&DurationSeconds=900&ExternalId=e%261");
    assert_non_null(strstr(served_header(q, "Authorization"), "Credential=BASE/"));
    assert_non_null(strstr(served_header(q, "Authorization"), "/eu-west-1/sts/aws4_request"));
    assert_string_equal(served_header(q, "Content-Type"), "application/x-www-form-urlencoded");
    fixture_stop(&s);
}

static void roles_are_assumed_one_by_one_along_a_chain(void **state)
{
    struct fixture_server s;
    char first[2048];
    char second[2048];
    (void)snprintf(first, sizeof first, "%s", fixture_sts("AssumeRole", "ONE", NEVER));
    (void)snprintf(second, sizeof second, "%s", fixture_sts("AssumeRole", "TWO", NEVER));
    struct fixture_answer answers[] = {{"POST /", 200, "", first, 1, 0},
                                       {"POST /", 200, "", second, 1, 0}};
    fixture_serve(&s, answers, 2);
    set_url("AWS_ENDPOINT_URL_STS", &s, "");
    (void)setenv("AWS_REGION", "eu-west-1", 1);
    aws_fixture_file("credentials", BASE_KEYS);
    aws_fixture_file("config", "[profile two]\nrole_arn=arn:two\nsource_profile=one\n"
                               "[profile one]\nrole_arn=arn:one\nsource_profile=base\n");
    (void)setenv("AWS_PROFILE", "two", 1);
    assert_found("TWO", "secret+of/TWO", "token=of&TWO", "role");
    assert_non_null(strstr(http_server_request(s.http, 0)->body.data, "arn%3Aone"));
    const struct served_request *q = http_server_request(s.http, 1);
    assert_non_null(strstr(q->body.data, "arn%3Atwo"));
    assert_non_null(strstr(served_header(q, "Authorization"), "Credential=ONE/"));
    assert_string_equal(served_header(q, "X-Amz-Security-Token"), "token=of&ONE");
    fixture_stop(&s);
}

static void chain_that_leads_in_a_circle_is_refused(void **state)
{
    (void)setenv("AWS_REGION", "eu-west-1", 1);
    aws_fixture_file("config", "[profile a]\nrole_arn=arn:a\nsource_profile=b\n"
                               "[profile b]\nrole_arn=arn:b\nsource_profile=c\n"
                               "[profile c]\nrole_arn=arn:c\nsource_profile=a\n");
    (void)setenv("AWS_PROFILE", "a", 1);
    (void)assert_none(ERR_AUTH, "leads in a circle, to a again");
}

static void chain_that_is_too_long_is_refused(void **state)
{
    struct buf text;
    buf_init(&text, 65536);
    for (int i = 0; i < 20; i++) {
        buf_printf(&text, "[profile p%d]\nrole_arn=arn:%d\nsource_profile=p%d\n", i, i, i + 1);
    }
    aws_fixture_file("config", text.data);
    buf_fini(&text);
    (void)setenv("AWS_PROFILE", "p0", 1);
    (void)assert_none(ERR_AUTH, "through more than 8");
}

static void profile_may_be_its_own_source(void **state)
{
    struct fixture_server s;
    struct fixture_answer answers[] = {
        {"POST /", 200, "", fixture_sts("AssumeRole", "ROLE", NEVER), 0, 0}};
    fixture_serve(&s, answers, 1);
    set_url("AWS_ENDPOINT_URL_STS", &s, "");
    aws_fixture_file("credentials", BASE_KEYS);
    aws_fixture_file("config",
                     "[profile base]\nrole_arn=arn:r\nsource_profile=base\nregion=eu-west-1\n");
    (void)setenv("AWS_PROFILE", "base", 1);
    assert_found("ROLE", "secret+of/ROLE", "token=of&ROLE", "role");
    fixture_stop(&s);
}

static void credential_source_names_who_assumes_the_role(void **state)
{
    struct fixture_server s;
    struct fixture_answer answers[] = {
        {"POST /", 200, "", fixture_sts("AssumeRole", "ROLE", NEVER), 0, 0},
        {"GET /keys", 200, "",
         "{\"AccessKeyId\":\"TASK\",\"SecretAccessKey\":\"s\",\"Token\":\"t\"}", 0, 0}};
    fixture_serve(&s, answers, 2);
    set_url("AWS_ENDPOINT_URL_STS", &s, "");
    set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", &s, "/keys");
    (void)setenv("AWS_REGION", "eu-west-1", 1);
    (void)setenv("AWS_PROFILE", "r", 1);
    aws_fixture_file("config", "[profile r]\nrole_arn=arn:r\ncredential_source=EcsContainer\n");
    assert_found("ROLE", "secret+of/ROLE", "token=of&ROLE", "role");
    assert_non_null(
        strstr(served_header(http_server_request(s.http, 1), "Authorization"), "Credential=TASK/"));
    aws_fixture_file("config", "[profile r]\nrole_arn=arn:r\ncredential_source=Elsewhere\n");
    (void)assert_none(ERR_AUTH, "credential_source must be Environment");
    aws_fixture_file("config", "[profile r]\nrole_arn=arn:r\n");
    (void)assert_none(ERR_AUTH, "role_arn needs one of source_profile");
    aws_fixture_file("config", "[profile r]\nrole_arn=arn:r\ncredential_source=Environment\n");
    (void)assert_none(ERR_AUTH, "AWS_ACCESS_KEY_ID is not set");
    fixture_stop(&s);
}

static void profile_runs_its_process(void **state)
{
    aws_fixture_file("config",
                     "[default]\ncredential_process = echo '{\"Version\": 1, "
                     "\"AccessKeyId\": \"PROC\", \"SecretAccessKey\": \"proc-secret\"}'\n");
    assert_found("PROC", "proc-secret", "", "credential_process");
}

static void profile_that_wants_a_person_says_so(void **state)
{
    aws_fixture_file("config", "[default]\nsso_session = x\nregion=eu-west-1\n");
    (void)assert_none(ERR_AUTH, "SSO");
    aws_fixture_file("config", "[default]\nrole_arn=arn:r\nsource_profile=b\nmfa_serial=m\n");
    (void)assert_none(ERR_AUTH, "mfa_serial");
}

static void role_that_sts_refuses_is_an_operators_matter(void **state)
{
    struct fixture_server s;
    struct fixture_answer answers[] = {
        {"POST /", 403, "",
         "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>User: x is "
         "not authorized to perform: sts:AssumeRole</Message></Error><RequestId>id-9</RequestId>"
         "</ErrorResponse>",
         1, 0},
        {"POST /", 503, "", "<html>no</html>", 0, 0}};
    fixture_serve(&s, answers, 2);
    set_url("AWS_ENDPOINT_URL_STS", &s, "");
    (void)setenv("AWS_REGION", "eu-west-1", 1);
    (void)setenv("AWS_PROFILE", "r", 1);
    aws_fixture_file("credentials", BASE_KEYS);
    aws_fixture_file("config", "[profile r]\nrole_arn=arn:r\nsource_profile=base\n");
    struct err e = assert_none(ERR_AUTH, "AssumeRole: AccessDenied: User: x is not authorized");
    assert_non_null(strstr(e.message, "id-9"));
    (void)assert_none(ERR_RETRY, "HTTP 503");
    fixture_stop(&s);
}

/* --- web identity ----------------------------------------------------------------------------- */

static void web_identity_is_traded_without_a_signature(void **state)
{
    struct fixture_server s;
    struct fixture_answer answers[] = {
        {"POST /", 200, "", fixture_sts("AssumeRoleWithWebIdentity", "WEB", NEVER), 0, 0}};
    fixture_serve(&s, answers, 1);
    set_url("AWS_ENDPOINT_URL_STS", &s, "");
    aws_fixture_file("token", "the.web+token\n");
    (void)setenv("AWS_REGION", "eu-west-1", 1);
    (void)setenv("AWS_WEB_IDENTITY_TOKEN_FILE", aws_fixture_path(".aws/token"), 1);
    (void)assert_none(ERR_AUTH, "AWS_ROLE_ARN is not set");
    (void)setenv("AWS_ROLE_ARN", "arn:w", 1);
    (void)setenv("AWS_ROLE_SESSION_NAME", "sess", 1);
    assert_found("WEB", "secret+of/WEB", "token=of&WEB", "web identity");
    const struct served_request *q = http_server_request(s.http, 0);
    assert_string_equal(q->body.data,
                        "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aw&"
                        "RoleSessionName=sess&WebIdentityToken=the.web%2Btoken");
    assert_string_equal(served_header(q, "Authorization"), "");
    (void)setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/no/such/token", 1);
    (void)assert_none(ERR_AUTH, "/no/such/token");
    fixture_stop(&s);
}

static void answer_of_sts_in_json_is_read_too(void **state)
{
    struct aws_keys k;
    struct err e;
    assert_int_equal(
        aws_keys_from_sts(
            SLICE("{\"AssumeRoleResponse\":{\"AssumeRoleResult\":{\"Credentials\":{"
                  "\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"S\",\"SessionToken\":\"T\","
                  "\"Expiration\":1.893553445E9}}}}"),
            "role", &k, &e),
        0);
    assert_string_equal(k.session_token, "T");
    assert_int_equal(k.expires_ms, 1893553445000);
    aws_keys_fini(&k);
    assert_int_equal(aws_keys_from_sts(SLICE("{}"), "role", &k, &e), -1);
    assert_int_equal(aws_keys_from_sts(SLICE(""), "role", &k, &e), -1);
    assert_int_equal(aws_keys_from_sts(SLICE("<AccessKeyId>A</AccessKeyId>"), "role", &k, &e), -1);
}

/* --- the container ---------------------------------------------------------------------------- */

static void container_is_asked_with_the_token_of_its_file(void **state)
{
    struct fixture_server s;
    struct fixture_answer answers[] = {{"GET /keys?x=1", 200, "",
                                        "{\"AccessKeyId\":\"TASK\",\"SecretAccessKey\":\"s\","
                                        "\"Token\":\"t\",\"Expiration\":\"" NEVER
                                        "\",\"RoleArn\":\"arn:t\"}",
                                        0, 0}};
    fixture_serve(&s, answers, 1);
    set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", &s, "/keys?x=1");
    (void)setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "from-variable", 1);
    assert_found("TASK", "s", "t", "container");
    aws_fixture_file("token", "from-file\n");
    (void)setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", aws_fixture_path(".aws/token"), 1);
    assert_found("TASK", "s", "t", "container");
    assert_string_equal(served_header(http_server_request(s.http, 0), "Authorization"),
                        "from-variable");
    assert_string_equal(served_header(http_server_request(s.http, 1), "Authorization"),
                        "from-file");
    aws_fixture_file("token", "two\nlines\n");
    (void)assert_none(ERR_AUTH, "more than one line");
    fixture_stop(&s);
}

static void container_that_is_busy_is_asked_again(void **state)
{
    struct fixture_server s;
    struct fixture_answer answers[] = {
        {"GET /keys", 503, "", "", 2, 0},
        {"GET /keys", 200, "",
         "{\"AccessKeyId\":\"TASK\",\"SecretAccessKey\":\"s\",\"Token\":\"t\"}", 1, 0},
        {"GET /keys", 500, "", "", 0, 0}};
    fixture_serve(&s, answers, 3);
    set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", &s, "/keys");
    assert_found("TASK", "s", "t", "container");
    (void)assert_none(ERR_RETRY, "container: it returned HTTP 500");
    fixture_stop(&s);
}

static void container_that_refuses_ends_the_search(void **state)
{
    struct fixture_server s;
    struct fixture_answer answers[] = {{"GET /keys", 400, "", "{\"code\":\"x\"}", 1, 0},
                                       {"GET /keys", 200, "", "<html>", 0, 0}};
    fixture_serve(&s, answers, 2);
    set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", &s, "/keys");
    (void)assert_none(ERR_AUTH, "container: it returned HTTP 400");
    (void)assert_none(ERR_AUTH, "container: the response is not a JSON object");
    fixture_stop(&s);
}

/* A proxy that is set for the world would see the keys. */
static void container_is_never_asked_by_a_proxy(void **state)
{
    struct fixture_server s;
    struct fixture_answer answers[] = {
        {"GET /keys", 200, "",
         "{\"AccessKeyId\":\"TASK\",\"SecretAccessKey\":\"s\",\"Token\":\"t\"}", 0, 0}};
    fixture_serve(&s, answers, 1);
    set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", &s, "/keys");
    (void)setenv("http_proxy", "http://127.0.0.1:9", 1);
    assert_found("TASK", "s", "t", "container");
    fixture_stop(&s);
}

static void uri_of_a_container_must_be_near(void **state)
{
    static const char *const near[] = {"https://anywhere.example/x",
                                       "http://127.0.0.1/x",
                                       "http://127.1.2.3:80/x",
                                       "http://localhost:8080/x",
                                       "http://[::1]:1/x",
                                       "http://169.254.170.2/x",
                                       "http://169.254.170.23/v1/credentials",
                                       "http://[fd00:ec2::23]/v1/credentials"};
    static const char *const far[] = {"http://example.com/x",
                                      "http://169.254.169.254/x",
                                      "http://127.0.0.1.example.com/x",
                                      "http://localhost.example.com/x",
                                      "http://127.0.0.1@example.com/x",
                                      "http://localhost:x@example.com/x",
                                      "http://[fd00:ec2::24]/x",
                                      "http://[::1",
                                      "ftp://127.0.0.1/x",
                                      "http:///x",
                                      "127.0.0.1/x",
                                      ""};
    for (size_t i = 0; i < COUNT_OF(near); i++) {
        assert_true(aws_container_uri_is_near(near[i]));
    }
    for (size_t i = 0; i < COUNT_OF(far); i++) {
        assert_false(aws_container_uri_is_near(far[i]));
    }
    (void)setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.com/x", 1);
    (void)assert_none(ERR_AUTH, "must be https");
    (void)setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "@example.com/x", 1);
    (void)assert_none(ERR_AUTH, "does not start with a slash");
}

/* --- the instance ----------------------------------------------------------------------------- */

static void instance_is_asked_in_a_session(void **state)
{
    struct fixture_server s;
    struct fixture_answer answers[] = {
        {"PUT /latest/api/token", 200, "", "session-token", 0, 0},
        {"GET /latest/meta-data/iam/security-credentials/the-role", 200, "",
         "{\"Code\":\"Success\",\"AccessKeyId\":\"INST\",\"SecretAccessKey\":\"s\",\"Token\":\"t\","
         "\"Expiration\":\"" NEVER "\"}",
         0, 0},
        {"GET /latest/meta-data/iam/security-credentials/", 200, "", "the-role\n", 0, 0}};
    (void)unsetenv("AWS_EC2_METADATA_DISABLED");
    fixture_serve(&s, answers, 3);
    set_url("AWS_EC2_METADATA_SERVICE_ENDPOINT", &s, "/");
    assert_found("INST", "s", "t", "instance");
    assert_string_not_equal(
        served_header(http_server_request(s.http, 0), "X-aws-ec2-metadata-token-ttl-seconds"), "");
    for (size_t i = 1; i < 3; i++) {
        assert_string_equal(
            served_header(http_server_request(s.http, i), "X-aws-ec2-metadata-token"),
            "session-token");
    }
    (void)setenv("AWS_EC2_METADATA_DISABLED", "TRUE", 1);
    (void)assert_none(ERR_AUTH, "AWS_EC2_METADATA_DISABLED is set");
    fixture_stop(&s);
}

static void instance_without_a_role_has_none(void **state)
{
    struct fixture_server s;
    struct fixture_answer answers[] = {{"PUT /latest/api/token", 200, "", "session-token", 0, 0}};
    (void)unsetenv("AWS_EC2_METADATA_DISABLED");
    fixture_serve(&s, answers, 1);
    set_url("AWS_EC2_METADATA_SERVICE_ENDPOINT", &s, "");
    (void)assert_none(ERR_AUTH, "instance: the instance has no role");
    answers[0].status = 403;
    (void)assert_none(ERR_AUTH, "it returned HTTP 403");
    fixture_stop(&s);
}

static void where_there_is_no_instance_nothing_answers(void **state)
{
    (void)unsetenv("AWS_EC2_METADATA_DISABLED");
    (void)setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9", 1);
    (void)assert_none(ERR_AUTH, "no response");
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, aws_fixture_begin, aws_fixture_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(without_any_each_source_says_why),
        CASE(environment_comes_before_the_files),
        CASE(profile_of_the_configuration_comes_before_the_environment),
        CASE(half_a_pair_in_the_environment_ends_the_search),
        CASE(named_profile_that_is_missing_ends_the_search),
        CASE(key_that_could_not_be_sent_is_refused),
        CASE(role_is_assumed_with_its_source_profile),
        CASE(roles_are_assumed_one_by_one_along_a_chain),
        CASE(chain_that_leads_in_a_circle_is_refused),
        CASE(chain_that_is_too_long_is_refused),
        CASE(profile_may_be_its_own_source),
        CASE(credential_source_names_who_assumes_the_role),
        CASE(profile_runs_its_process),
        CASE(profile_that_wants_a_person_says_so),
        CASE(role_that_sts_refuses_is_an_operators_matter),
        CASE(web_identity_is_traded_without_a_signature),
        CASE(answer_of_sts_in_json_is_read_too),
        CASE(container_is_asked_with_the_token_of_its_file),
        CASE(container_that_is_busy_is_asked_again),
        CASE(container_that_refuses_ends_the_search),
        CASE(container_is_never_asked_by_a_proxy),
        CASE(uri_of_a_container_must_be_near),
        CASE(instance_is_asked_in_a_session),
        CASE(instance_without_a_role_has_none),
        CASE(where_there_is_no_instance_nothing_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
