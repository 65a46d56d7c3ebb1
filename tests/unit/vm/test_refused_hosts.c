/* The hosts that a class's runners need and that its VMs may not reach. */
#include <stdio.h>
#include <string.h>

#include "common/vm/qemu/settings.h"
#include "common/vm/vm.h"
#include "tests/lib/cmocka.h"

static char qemu[] = "qemu";
static char internet[] = "internet";
static char closed[] = "proxy";
static char none[] = "";
static char api[] = "http://127.0.0.1:8080/api/v3";

static char found[512];

static void note_host(void *arg, const char *host, const char *why)
{
    (void)snprintf(found + strlen(found), sizeof found - strlen(found), "%s: %s\n", host, why);
}

static const char *refused(char *network, char *allow, char *proxy)
{
    struct qemu_settings settings = {.network = network,
                                     .allow = {.items = &allow, .count = allow != NULL}};
    const struct config_class class = {
        .provider = qemu, .proxy = {proxy, none, none}, .settings = &settings};
    const struct config config = {.github = {.api_url = api}};
    found[0] = '\0';
    vm_refused_hosts(&config, &class, note_host, NULL);
    return found;
}

static void github_on_a_refused_address_is_named_with_what_to_add(void **state)
{
    char allow[] = "127.0.0.1:8080";
    char beside[] = "127.0.0.1:8081";
    assert_string_equal(refused(internet, NULL, none),
                        "127.0.0.1: 127.0.0.1 has the address 127.0.0.1, which the VMs' network "
                        "refuses (loopback): add \"127.0.0.1:8080\" to qemu.allow; a VM reaches it "
                        "as 10.0.2.2\n");
    assert_string_equal(refused(internet, allow, none), "");
    assert_string_not_equal(refused(internet, beside, none), "");
}

static void proxy_on_the_loopback_is_named_unless_it_is_reached(void **state)
{
    char loopback[] = "http://127.0.0.1:3128";
    char router[] = "http://10.0.2.2:3128";
    assert_memory_equal(refused(internet, NULL, loopback), "127.0.0.1: the class's proxy", 28);
    assert_string_equal(refused(internet, NULL, router), "");
    assert_string_equal(refused(closed, NULL, loopback), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(github_on_a_refused_address_is_named_with_what_to_add),
        cmocka_unit_test(proxy_on_the_loopback_is_named_unless_it_is_reached),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
