/* The proxy's address: parsing, and what a VM is told. */
#include <string.h>

#include "common/vm/proxy.h"
#include "common/vm/qemu/settings.h"
#include "tests/lib/cmocka.h"

static void proxy_parse_good_is_split(void **state)
{
    static const struct {
        const char *url;
        const char *host;
        const char *port;
        const char *userinfo;
    } good[] = {
        {"http://proxy:3128", "proxy", "3128", ""},
        {"HTTP://proxy.corp.example/", "proxy.corp.example", "80", ""},
        {"http://10.1.2.3:8080/", "10.1.2.3", "8080", ""},
        {"http://me:p%40ss@proxy:1", "proxy", "1", "me:p%40ss@"},
        {"http://a@b@proxy:65535", "proxy", "65535", "a@b@"},
        {"http://[2001:db8::1]:3128", "2001:db8::1", "3128", ""},
        {"http://[::1]", "::1", "80", ""},
    };
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        struct vm_proxy p;
        assert_true(vm_proxy_parse(good[i].url, &p));
        assert_string_equal(p.host, good[i].host);
        assert_string_equal(p.port, good[i].port);
        assert_true(slice_eq_cstr(p.userinfo, good[i].userinfo));
    }
}

static void proxy_parse_bad_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "proxy:3128",
        "https://proxy:3128",
        "http://",
        "http://:3128",
        "http://proxy:0",
        "http://proxy:65536",
        "http://proxy:-1",
        "http://proxy:",
        "http://proxy:80/path",
        "http://pro xy:80",
        "http://proxy,hostfwd=tcp::22-:22:80",
        "http://proxy;reboot:80",
        "http://$(reboot):80",
        "http://[::1:80",
        "http://[::1]80",
        "http://[]:80",
        "http://proxy:80a",
        "http://proxy:000080",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct vm_proxy p;
        if (vm_proxy_parse(bad[i], &p)) {
            fail_msg("%s was taken for host %s port %s", bad[i], p.host, p.port);
        }
    }
}

static char qemu[] = "qemu";
static char network_open[] = "internet";
static char network_closed[] = "proxy";
static char http[] = "http://u:p@proxy.corp:8080";
static char https[] = "http://other.corp:8081";
static char no_proxy[] = "localhost";
static char none[] = "";

static void proxy_env_open_network_is_as_configured(void **state)
{
    struct qemu_settings settings = {.network = network_open};
    const struct config_class class = {
        .provider = qemu, .proxy = {http, https, no_proxy}, .settings = &settings};
    struct vm_proxy_env env;
    vm_proxy_env_of(&class, &env);
    assert_string_equal(env.http, http);
    assert_string_equal(env.https, https);
    assert_string_equal(env.no_proxy, no_proxy);
}

static void proxy_env_closed_network_is_the_inner_address(void **state)
{
    struct qemu_settings settings = {.network = network_closed};
    struct config_class class = {
        .provider = qemu, .proxy = {http, https, no_proxy}, .settings = &settings};
    struct vm_proxy_env env;
    vm_proxy_env_of(&class, &env);
    assert_string_equal(env.http, "http://u:p@10.0.2.2:3128");
    assert_string_equal(env.https, env.http);
    assert_string_equal(env.no_proxy, "");
    class.proxy.http = none;
    vm_proxy_env_of(&class, &env);
    assert_string_equal(env.http, "http://10.0.2.2:3128");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proxy_parse_good_is_split),
        cmocka_unit_test(proxy_parse_bad_is_refused),
        cmocka_unit_test(proxy_env_open_network_is_as_configured),
        cmocka_unit_test(proxy_env_closed_network_is_the_inner_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
