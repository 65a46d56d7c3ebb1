/* Any text as a configuration: the first byte chooses the program that asks, the rest is the text.
 * What is accepted must keep the contract of config.h, and survive a reload. */
#include <string.h>

#include "common/config/private.h"
#include "tests/fuzz/fuzz.h"

#define COMPLAINTS_LIMIT_BYTES ((size_t)4 << 20)

/* Relative file: paths lead nowhere from here; absolute ones might name a device that blocks. */
static const char origin[] = "/nonexistent/m.yaml";

static void check_class(const struct config *c, const struct config_class *class)
{
    struct slice labels[100];
    ASSERT(class->name[0] != '\0' && class->labels.count > 0);
    ASSERT(class->labels.count <= COUNT_OF(labels) && class->max_vms >= 0);
    for (size_t i = 0; i < class->labels.count; i++) {
        labels[i] = slice_of(class->labels.items[i]);
    }
    /* A job with all its labels belongs to it, or to one before it; to a retired one never. */
    const struct config_class *taken = config_route(c, labels, class->labels.count);
    ASSERT(class->max_vms == 0 || (taken != NULL && taken <= class));
    ASSERT(taken == NULL || taken->max_vms > 0);
    ASSERT(config_class_by_name(c, slice_of(class->name)) == class);
}

static void check_accepted(const struct config *c, enum config_for who)
{
    ASSERT(c->queue[0] != '\0');
    ASSERT(c->retry.base_delay_ms <= c->retry.max_delay_ms);
    ASSERT(config_route(c, NULL, 0) == NULL);
    for (size_t i = 0; i < c->class_count && who != CONFIG_FOR_CTL; i++) {
        check_class(c, &c->classes[i]);
    }
    if (who == CONFIG_FOR_INGRESS) {
        ASSERT(c->github.app_key[0] == '\0' && c->github.token[0] == '\0');
        ASSERT(c->github.webhook_secrets.count > 0);
    } else if (who != CONFIG_FOR_CHECK) {
        ASSERT(c->github.webhook_secrets.count == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config *c = NULL;
    struct buf complaints;
    struct err e;
    if (size == 0 || memmem(data, size, "file:/", 6) != NULL) {
        return 0;
    }
    enum config_for who = (enum config_for)(data[0] % 5);
    struct slice text = {(const char *)data + 1, size - 1};
    buf_init(&complaints, COMPLAINTS_LIMIT_BYTES);
    if (config_parse(text, origin, who, &c, &complaints, &e) == 0) {
        struct config *defaults = config_new_with_defaults();
        check_accepted(c, who);
        config_keep_fixed(c, defaults, NULL);
        config_free(defaults);
        config_free(c);
    } else {
        ASSERT(c == NULL && e.class == ERR_PERMANENT && !complaints.failed);
        ASSERT(strncmp(complaints.data, e.message, strlen(e.message)) == 0);
    }
    buf_fini(&complaints);
    return 0;
}
