/*
 * A runner class of the provider `lambda`, for the tests of that provider. Its texts are constants.
 */
#ifndef MAYFLY_TESTS_VM_LAMBDA_CLASS_H
#define MAYFLY_TESTS_VM_LAMBDA_CLASS_H

#include "common/vm/lambda/settings.h"
#include "common/vm/vm.h"

#define LAMBDA_IMAGE "arn:aws:lambda:us-east-1:123456789012:microvm-image:mayfly"

/* Gives the process the stand-in's keys, and nothing else of the environment's AWS settings. First
 * thing in main(). */
void lambda_environment(void);

/* Fills *settings, which is the class's. The endpoint is borrowed. */
struct config_class lambda_class(const char *endpoint, struct lambda_settings *settings);

/* A text that the configuration's struct takes; it is never written to. */
char *lambda_text(const char *s);

/* A spec with that token; the payload is borrowed. */
struct vm_spec lambda_spec(const char *token, const char *payload);

#endif
