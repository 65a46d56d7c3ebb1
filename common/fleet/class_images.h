/*
 * Which version of its class's image a launch uses (ledger/images.h).
 *
 * The cells are read together, at most once in CLASS_IMAGES_AGE_MS, by a launch that needs one: a version that
 * was rejected may be launched as long as that by other workers. A class without a cell, or whose image is
 * another one than the cell's, begins with the newest version that can be launched, which the provider's
 * service is asked for once. A class whose configuration names a version, and a provider whose images have
 * none, use no cell. Any thread.
 */
#ifndef MAYFLY_FLEET_CLASS_IMAGES_H
#define MAYFLY_FLEET_CLASS_IMAGES_H

#include "common/config/config.h"
#include "common/ledger/images.h"

#define CLASS_IMAGES_AGE_MS 5000
/* Where launches are few: a process launches the canary after so long without one, and with its first
 * launch. */
#define CLASS_IMAGES_CANARY_EVERY_MS (60 * 60 * 1000)

struct class_images;

/* Borrows the ledger. */
struct class_images *class_images_new(struct ledger *ledger);
void class_images_free(struct class_images *ci);

struct image_choice {
    char version[LEDGER_IMAGE_VERSION]; /* "": the provider's images have none */
    enum ledger_image_part part;
};
/* For the launch of the VM of that name, by a hash of the name. `is_first`: of its job's first launch; others
 * never get the canary, nor are they of the control group. Errors are the ledger's and the provider's. */
MUST_CHECK int class_images_choose(struct class_images *ci, const struct config_class *class,
                                   const char *vm_name, bool is_first, struct image_choice *out,
                                   struct err *e);

/* The service says that this version cannot be launched (VM_RUN_NO_VERSION). A canary is rejected; in place of the
 * good one the former comes, or else the newest that can be launched and was not rejected. *changed: whether another launch may
 * fare better. */
MUST_CHECK int class_images_gone(struct class_images *ci, const struct config_class *class,
                                 const char *version, bool *changed, struct err *e);

/* The same for a class whose cell the caller has: the good version that can be launched, in place of
 * i->good if that cannot; i->good stays if none can. Returns whether *i changed. */
struct vm_image_version;
bool class_images_replace(struct ledger_image *i, const struct vm_image_version *list, size_t n,
                          int64_t now_ms);

#endif
