#include "tests/unit/vm/lambda_class.h"

#include <stdlib.h>

void lambda_environment(void)
{
    static const char *const unset[] = {"AWS_SESSION_TOKEN", "AWS_PROFILE",
                                        "AWS_REGION",        "AWS_DEFAULT_REGION",
                                        "AWS_ENDPOINT_URL",  "AWS_USE_FIPS_ENDPOINT",
                                        "AWS_CONFIG_FILE",   "AWS_SHARED_CREDENTIALS_FILE"};
    for (size_t i = 0; i < COUNT_OF(unset); i++) {
        (void)unsetenv(unset[i]);
    }
    (void)setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE", 1);
    (void)setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret", 1);
    (void)setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
}

char *lambda_text(const char *s)
{
    union {
        const char *in;
        char *out;
    } u = {.in = s};
    return u.out;
}

struct config_class lambda_class(const char *endpoint, struct lambda_settings *settings)
{
    *settings = (struct lambda_settings){.endpoint = lambda_text(endpoint),
                                         .region = lambda_text(""),
                                         .image = lambda_text(LAMBDA_IMAGE),
                                         .image_version = lambda_text(""),
                                         .execution_role = lambda_text(""),
                                         .kms_key = lambda_text(""),
                                         .log_group = lambda_text(""),
                                         .timeout_ms = 5000};
    return (struct config_class){
        .name = lambda_text("arm"), .provider = lambda_text("lambda"), .settings = settings};
}

struct vm_spec lambda_spec(const char *token, const char *payload)
{
    return (struct vm_spec){.name = token,
                            .client_token = token,
                            .payload = slice_of(payload),
                            .max_duration_ms = 600000};
}
