#include "worker/launch_image.h"

#include <string.h>

#include "common/base/log.h"
#include "common/vm/vm.h"

int launch_image_choose(struct worker *w, const struct config_class *class,
                        const struct queue_message *m, const struct launch_request *r,
                        const char *vm_name, struct image_choice *out, struct err *e)
{
    bool is_first = m->attempts == 0 && strcmp(r->reason, "relaunch") != 0;
    return class_images_choose(w->images, class, vm_name, is_first, out, e);
}

static void start_again(const struct image_choice *image, struct err *e)
{
    e->class = ERR_RETRY;
    e->from = ERR_FROM_US;
    e->code = VM_RUN_NOTHING;
    (void)err_wrap(e, "version %s of the image is not launched again like this", image->version);
}

/* Whether the cell has another version for the next launch. */
static bool is_replaced(struct worker *w, const struct config_class *class,
                        const struct image_choice *image)
{
    struct err e = {0};
    bool changed = false;
    if (class_images_gone(w->images, class, image->version, &changed, &e) != 0) {
        log_debug("image_check_failed", LOG_STR("class", class->name), LOG_ERR(&e),
                  LOG_STR("action", "the next launch that is refused tries again"));
    }
    return changed;
}

bool launch_image_failed(struct worker *w, const struct config_class *class,
                         const struct image_choice *image, struct err *e)
{
    struct vm_image of;
    bool refused = e->from == ERR_FROM_PROVIDER && e->class == ERR_PERMANENT;
    bool chosen = image->version[0] != '\0' && vm_image_of(class, &of) && of.pinned[0] == '\0';
    if (!refused || !chosen) {
        return false;
    }
    if (e->code == VM_RUN_NO_VERSION) {
        if (is_replaced(w, class, image)) {
            start_again(image, e);
        }
        return false;
    }
    if (image->part == IMAGE_IS_CANARY) {
        start_again(image, e);
    }
    return true;
}
