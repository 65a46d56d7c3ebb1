#include "common/http/url.h"

#include <curl/curl.h>
#include <strings.h>

#include "common/base/attr.h"

/* Owned, curl_free(); NULL if there is none. */
static char *part_of(CURLU *url, CURLUPart part)
{
    char *text = NULL;
    return curl_url_get(url, part, &text, CURLU_DEFAULT_PORT) == CURLUE_OK ? text : NULL;
}

static bool is_part(CURLU *url, CURLUPart part, const char *expected)
{
    char *text = part_of(url, part);
    bool is = text != NULL && expected != NULL && strcasecmp(text, expected) == 0;
    curl_free(text);
    return is;
}

static bool have_same(CURLU *a, CURLU *b, CURLUPart part)
{
    char *text = part_of(a, part);
    bool same = is_part(b, part, text);
    curl_free(text);
    return same;
}

bool url_same_host(const char *from, const char *to)
{
    CURLU *a = curl_url();
    CURLU *b = curl_url();
    ASSERT(a != NULL && b != NULL);
    bool same = curl_url_set(a, CURLUPART_URL, from, 0) == CURLUE_OK &&
                curl_url_set(b, CURLUPART_URL, to, 0) == CURLUE_OK &&
                have_same(a, b, CURLUPART_HOST);
    bool place = same && have_same(a, b, CURLUPART_SCHEME) && have_same(a, b, CURLUPART_PORT);
    bool secured = same && is_part(a, CURLUPART_SCHEME, "http") &&
                   is_part(a, CURLUPART_PORT, "80") && is_part(b, CURLUPART_SCHEME, "https") &&
                   is_part(b, CURLUPART_PORT, "443");
    curl_url_cleanup(a);
    curl_url_cleanup(b);
    return place || secured;
}
