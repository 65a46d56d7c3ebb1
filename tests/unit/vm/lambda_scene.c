#include "tests/unit/vm/lambda_scene.h"

#include <stdlib.h>

#include "tests/lib/cmocka.h"

static void serve(void *arg, const struct served_request *q, struct served_answer *a)
{
    struct scene *s = arg;
    const struct step *step = &s->steps[s->at < s->count ? s->at : s->count - 1];
    (void)q;
    s->at++;
    a->status = step->status;
    a->hang_up = step->status == 0;
    buf_append_cstr(&a->headers, step->headers != NULL ? step->headers : "");
    buf_append_cstr(&a->body, step->body != NULL ? step->body : "");
}

void scene_script(struct scene *s, const struct step *steps, size_t count)
{
    s->steps = steps;
    s->count = count;
    s->at = 0;
}
int scene_set_up(void **state)
{
    struct scene *s = calloc(1, sizeof *s);
    struct err e;
    s->server = http_server_start(serve, s);
    struct lambda_settings settings;
    struct config_class class = lambda_class(http_server_url(s->server), &settings);
    if (vm_open(&class, "t", &s->p, &e) != 0) {
        return -1;
    }
    *state = s;
    return 0;
}

int scene_tear_down(void **state)
{
    struct scene *s = *state;
    vm_close(s->p);
    http_server_stop(s->server);
    free(s);
    return 0;
}

int scene_run(struct scene *s, char *id, struct err *e)
{
    struct vm_spec spec = lambda_spec("mf-t-arm-1", "cGF5bG9hZA==");
    *e = (struct err){0};
    return vm_run(s->p, &spec, id, e);
}

json_t *scene_body(struct scene *s, size_t n)
{
    const struct served_request *q = http_server_request(s->server, n);
    json_t *body = json_loadb(q->body.data, q->body.len, 0, NULL);
    assert_non_null(body);
    return body;
}

const char *scene_text(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s != NULL ? s : "";
}
