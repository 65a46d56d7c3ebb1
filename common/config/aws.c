#include "common/config/aws.h"

#include "common/aws/aws.h"
#include "common/aws/secrets.h"

void config_aws_apply(const struct config_aws *aws)
{
    const struct aws_defaults d = {.region = aws->region,
                                   .profile = aws->profile,
                                   .endpoint = aws->endpoint,
                                   .proxy = aws->proxy,
                                   .fips = aws->fips,
                                   .dual_stack = aws->dual_stack};
    aws_set_defaults(&d);
}

/* At a reload clients are open, and the section applied at the start stays in force: it is not
 * reloadable. */
static int fetch_from_aws(const struct config_aws *aws, struct slice written, struct buf *out,
                          struct err *e)
{
    config_aws_apply(aws);
    return aws_secret_fetch(written, out, e);
}

void config_aws_use(void)
{
    config_set_fetcher(fetch_from_aws);
}
