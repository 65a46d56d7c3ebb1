/*
 * `--health`: asks the /healthz of the same program on this host, for the health check of a container.
 *
 * It reads only where the admin port is: a configuration that was damaged after the program's start,
 * or a secret that cannot be fetched now, does not make a program unhealthy that goes on.
 */
#ifndef MAYFLY_PROGRAM_HEALTH_H
#define MAYFLY_PROGRAM_HEALTH_H

#include "common/program/program.h"

/* Prints the answer. Returns the exit code: 0 healthy; 1 not, or no answer within HEALTH_TIMEOUT_MS;
 * 2 if there is no admin port to ask. */
int health_ask(const struct program *p, const char *config_path);

/* Below the five seconds that ECS gives a check. */
#define HEALTH_TIMEOUT_MS 4000

#endif
