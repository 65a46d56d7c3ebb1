/*
 * A scripted server in the place of the Lambda MicroVMs service, and the provider that calls it.
 * For the tests of the provider `lambda`.
 */
#ifndef MAYFLY_TESTS_VM_LAMBDA_SCENE_H
#define MAYFLY_TESTS_VM_LAMBDA_SCENE_H

#include <jansson.h>

#include "tests/unit/http/http_server.h"
#include "tests/unit/vm/lambda_class.h"

#define MICROVM "{\"microvmId\":\"microvm-1\",\"state\":\"PENDING\",\"startedAt\":1790000000.5}"
#define ERROR(name) "x-amzn-errortype: " name ":http://x/\r\nx-amzn-RequestId: req-7\r\n"

/* One answer of the script; the last one is repeated. */
struct step {
    int status; /* 0: hang up */
    const char *headers;
    const char *body;
};

struct scene {
    struct http_server *server;
    struct vm_provider *p;
    const struct step *steps;
    size_t count;
    size_t at; /* requests since the script was set */
};

int scene_set_up(void **state);
int scene_tear_down(void **state);
#define IN_SCENE(test) cmocka_unit_test_setup_teardown(test, scene_set_up, scene_tear_down)

/* The steps are borrowed. */
void scene_script(struct scene *s, const struct step *steps, size_t count);
#define SCRIPT(s, ...)                                                                             \
    scene_script(s, (const struct step[]){__VA_ARGS__},                                            \
                 sizeof((const struct step[]){__VA_ARGS__}) / sizeof(struct step))

/* vm_run of a small spec; *e is cleared first. */
int scene_run(struct scene *s, char *id, struct err *e);

/* The n-th request's body, owned by the caller; a failure of the test if it is no JSON. */
json_t *scene_body(struct scene *s, size_t n);
/* A member that is a text; "" otherwise. */
const char *scene_text(const json_t *o, const char *key);

#endif
