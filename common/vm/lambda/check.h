/*
 * Checks the settings of the provider `lambda` with the service (check.h).
 */
#ifndef MAYFLY_VM_LAMBDA_CHECK_H
#define MAYFLY_VM_LAMBDA_CHECK_H

#include "common/check/check.h"
#include "common/vm/vm.h"

/* All classes with this provider: image and version, permissions, quotas. */
void lambda_check(struct check *c);

/* Sets the limits that are `auto` from the account's applied quotas (vm_use_quotas). */
void lambda_apply_quotas(struct config *c);

/* See vm_image_of. */
void lambda_image(const struct config_class *class, struct vm_image *out);

/* See vm_image_versions. */
MUST_CHECK int lambda_image_versions(const struct config_class *class,
                                     struct vm_image_version **out, size_t *n, struct err *e);

/* See vm_image_deactivate. */
MUST_CHECK int lambda_image_deactivate(const struct config_class *class, const char *version,
                                       struct err *e);

/* --- for the files of the check only --- */

/* The size of the version that a launch of the class would run. */
MUST_CHECK int lambda_image_memory(const struct config_class *class, int64_t *mib, struct err *e);

/* See vm_size_of. */
MUST_CHECK int lambda_size(const struct config_class *class, const char *version,
                           struct vm_size *out, struct err *e);

/* When it was built. */
MUST_CHECK int lambda_image_built(const struct config_class *class, const char *version,
                                  int64_t *built_ms, struct err *e);
/* See vm_image_recalled. */
MUST_CHECK int lambda_image_recalled(const struct config_class *class, const char *version,
                                     bool *recalled, struct err *e);
#define LAMBDA_BASES_OPERATION "ListManagedMicrovmImageVersions"
/* The same of a version; of an open client. ERR_NOT_FOUND: the base is not known, or no longer listed. */
struct aws_client;
MUST_CHECK int lambda_base_recalled(struct aws_client *service,
                                    const struct vm_image_version *version, bool *recalled,
                                    struct err *e);
/* Which runner it has. */
MUST_CHECK int lambda_image_runner(const struct config_class *class, char out[VM_RUNNER_VERSION],
                                   struct err *e);

#define LAMBDA_VERSIONS_OPERATION "ListMicrovmImageVersions"
/* See vm_image_versions; of an open client. */
MUST_CHECK int lambda_list_versions(struct aws_client *service, const char *image,
                                    struct vm_image_version **out, size_t *n, struct err *e);
/* Which of the list a launch of the class uses, where the ledger says `version`; NULL: none. */
const struct vm_image_version *lambda_version_in_use(const struct config_class *class,
                                                     const struct vm_image_version *list, size_t n,
                                                     const char *version);

/* A class, or a class at a target, with what could be read about it. */
struct lambda_check_class {
    const struct config_class *class;
    char region[64];
    int64_t memory_mib; /* of the version it runs; 0 unknown */
};

/* The quotas of every account and region of these classes, compared with the configuration. */
void lambda_check_quotas(struct check *c, const struct lambda_check_class *classes, size_t n);

#endif
