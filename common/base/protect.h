/*
 * Keeps the memory of a program that holds secrets from other processes of the same user.
 *
 * Called first in main, before a secret is read. An exec undoes it for the program that is started,
 * except for the limit on core files, which is inherited.
 */
#ifndef MAYFLY_BASE_PROTECT_H
#define MAYFLY_BASE_PROTECT_H

/* No core file is written, whatever kernel.core_pattern says, and no process without CAP_SYS_PTRACE
 * can trace this one or read its memory and environment under /proc. Under a sanitizer, which
 * traces itself to find leaks, only the limit on core files is set. */
void protect_memory(void);

/* The version of landlock(7) that the kernel has; 0: none, or it is disabled. */
int protect_landlock_abi(void);

#endif
