/*
 * The CPU time of one signature check over a body: ingress-hmac FILE ROUNDS prints microseconds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/fs.h"
#include "common/github/webhook.h"

static double cpu_us(void)
{
    struct timespec ts;
    ASSERT(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts) == 0);
    return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

int main(int argc, char **argv)
{
    char secret[] = "bench";
    char *secrets[] = {secret};
    const struct config_list list = {secrets, 1};
    /* Never valid, which costs the same. */
    const struct slice signature =
        SLICE("sha256=0000000000000000000000000000000000000000000000000000000000000000");
    struct buf body;
    struct err e = {0};
    int64_t rounds = 0;
    int64_t valid = 0;
    buf_init(&body, 32U * 1024 * 1024);
    if (argc != 3 || !slice_to_int64(slice_of(argv[2]), &rounds) || rounds < 1 ||
        fs_read(argv[1], &body, &e) != 0) {
        fprintf(stderr, "usage: ingress-hmac FILE ROUNDS\n%s\n", e.message);
        return 2;
    }
    double begun = cpu_us();
    for (int64_t i = 0; i < rounds; i++) {
        valid += webhook_verify(buf_slice(&body), signature, &list);
    }
    printf("%.2f\n", (cpu_us() - begun) / (double)rounds);
    buf_fini(&body);
    return valid == 0 ? 0 : 1;
}
