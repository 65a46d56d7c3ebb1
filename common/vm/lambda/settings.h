/*
 * The settings of the provider `lambda`, classes[].lambda: what config_class.settings points to.
 * This part of the provider is linked into every program, its client only into those that use it.
 */
#ifndef MAYFLY_VM_LAMBDA_SETTINGS_H
#define MAYFLY_VM_LAMBDA_SETTINGS_H

#include "common/config/provider.h"

struct vm_ops;

#define LAMBDA_SECONDS_MAX 28800 /* the longest life of a MicroVM */

struct lambda_settings {
    char *endpoint;       /* URL of the service; "" : its own host in the region */
    char *region;         /* "" : the image's */
    char *image;          /* ARN; one image per deployment and place, it identifies the VMs */
    const char *role_arn; /* of a target: with whose rights it is called; else NULL */
    char *image_version;  /* "" : the newest ACTIVE one */
    char *execution_role; /* ARN; "" : none, so that a job can reach no credentials */
    char *kms_key;        /* ARN of a key or alias; "": the service's own */
    char *log_group;      /* CloudWatch, a stream for each VM; "": nothing is stored */
    bool shell;           /* a person with permission may open a shell in a VM */
    struct config_list egress_connectors;  /* ARNs; empty: INTERNET_EGRESS */
    struct config_list ingress_connectors; /* ARNs */
    int64_t timeout_ms;                    /* one call, whole */
};

extern const struct config_provider lambda_config;
extern const struct vm_ops vm_ops_lambda;

/* The settings of a class with this provider. */
const struct lambda_settings *lambda_settings_of(const struct config_class *class);

/* The region: the setting, or else the image's; empty for none. */
struct slice lambda_region(const struct lambda_settings *s);

/* The service's rates are per account and region: "lambda/<region>/<account>". */
void lambda_domain_of(const void *settings, struct buf *out);

/* The n-th part of an ARN, from 0; a slice of it; empty if there is none. */
struct slice lambda_arn_part(const char *arn, int n);

#endif
