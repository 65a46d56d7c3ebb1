#include "tests/unit/vm/lambda_class.h"

char *lambda_text(const char *s)
{
    union {
        const char *in;
        char *out;
    } u = {.in = s};
    return u.out;
}

struct config_class lambda_class(const char *endpoint)
{
    return (struct config_class){.name = lambda_text("arm"),
                                 .provider = lambda_text("lambda"),
                                 .lambda = {.endpoint = lambda_text(endpoint),
                                            .region = lambda_text(""),
                                            .image = lambda_text(LAMBDA_IMAGE),
                                            .image_version = lambda_text(""),
                                            .execution_role = lambda_text(""),
                                            .timeout_ms = 5000}};
}

struct vm_spec lambda_spec(const char *token, const char *payload)
{
    return (struct vm_spec){.name = token,
                            .client_token = token,
                            .payload = slice_of(payload),
                            .max_duration_ms = 600000};
}
