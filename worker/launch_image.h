/*
 * The version of its class's image in a launch (common/fleet/class_images.h). A canary that is refused
 * is no trouble of the class or the job: the launch starts again.
 */
#ifndef MAYFLY_WORKER_LAUNCH_IMAGE_H
#define MAYFLY_WORKER_LAUNCH_IMAGE_H

#include "common/fleet/class_images.h"
#include "worker/worker.h"

/* A job meets a canary with its first launch only, so that it waits for no second VM that does not work. */
MUST_CHECK int launch_image_choose(struct worker *w, const struct config_class *class,
                                   const struct queue_message *m, const struct launch_request *r,
                                   const char *vm_name, struct image_choice *out, struct err *e);

/* After a run that failed with *e. Returns whether the VM's row is to say that its image failed. Where
 * another launch may fare better *e becomes ERR_RETRY of no subject. */
bool launch_image_failed(struct worker *w, const struct config_class *class,
                         const struct image_choice *image, struct err *e);

#endif
