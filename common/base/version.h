/*
 * What this build is: the release, and the commit where the sources were a checkout.
 */
#ifndef MAYFLY_BASE_VERSION_H
#define MAYFLY_BASE_VERSION_H

/* "0.1.0 (c089517f0a12)", or "0.1.0" when the commit is not known. */
extern const char mayfly_version[];

#endif
