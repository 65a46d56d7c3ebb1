#include "common/vm/lambda/check.h"
#include "common/vm/lambda/settings.h"

void lambda_image(const struct config_class *class, struct vm_image *out)
{
    const struct lambda_settings *s = lambda_settings_of(class);
    *out = (struct vm_image){.id = s->image, .pinned = s->image_version, .endpoint = s->endpoint};
    (void)!slice_to_cstr(lambda_region(s), out->region, sizeof out->region);
    (void)!slice_to_cstr(lambda_arn_part(s->image, 6), out->name, sizeof out->name);
}
