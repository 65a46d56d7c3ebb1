#include "tests/lib/must.h"

#include <string.h>

#include <pthread.h>

#include "tests/lib/cmocka.h"

void must_succeed_at(int rc, const struct err *e, const char *what, const char *file, int line)
{
    if (rc != 0) {
        print_error("%s: %s: %s\n", what, err_class_name(e->class), e->message);
        _fail(file, line);
    }
}

void must_fail_at(int rc, const struct err *e, enum err_class class, const char *says,
                  const char *file, int line)
{
    if (rc != -1) {
        print_error("returned %d; expected %s and \"%s\"\n", rc, err_class_name(class), says);
        _fail(file, line);
    }
    if (e->class != class || e->message[0] == '\0' || strstr(e->message, says) == NULL) {
        print_error("%s: \"%s\"; expected %s and \"%s\"\n", err_class_name(e->class), e->message,
                    err_class_name(class), says);
        _fail(file, line);
    }
}

static pthread_attr_t usual;

void forbid_threads(void)
{
    pthread_attr_t huge;
    assert_int_equal(pthread_getattr_default_np(&usual), 0);
    assert_int_equal(pthread_attr_init(&huge), 0);
    assert_int_equal(pthread_attr_setstacksize(&huge, (size_t)1 << 47), 0);
    assert_int_equal(pthread_setattr_default_np(&huge), 0);
    pthread_attr_destroy(&huge);
}

void allow_threads(void)
{
    assert_int_equal(pthread_setattr_default_np(&usual), 0);
    pthread_attr_destroy(&usual);
}
