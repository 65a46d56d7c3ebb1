/*
 * A thread pool: a bounded number of threads that process the numbered parts of a task together.
 *
 * The calling thread works too, so a task completes even if no thread could be started. Several
 * tasks share the pool. Threads start with the first task that has work for them and run until
 * sqs_pool_free. Threading: any thread; sqs_pool_free only when no task is in progress.
 */
#ifndef MAYFLY_QUEUE_SQS_THREAD_POOL_H
#define MAYFLY_QUEUE_SQS_THREAD_POOL_H

#include <stddef.h>

struct sqs_thread_pool;

struct sqs_thread_pool *sqs_pool_new(size_t threads_max);
void sqs_pool_free(struct sqs_thread_pool *p); /* NULL is fine */

typedef void sqs_part_fn(void *arg, size_t part);
/* Calls work(arg, 0) … work(arg, parts - 1), each once, on several threads; returns after all. */
void sqs_pool_run(struct sqs_thread_pool *p, sqs_part_fn *work, void *arg, size_t parts);

#endif
