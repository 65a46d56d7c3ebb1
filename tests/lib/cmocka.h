/*
 * cmocka, behind the headers that it wants. Each case takes a state, which few of them use.
 */
#ifndef MAYFLY_TEST_CMOCKA_H
#define MAYFLY_TEST_CMOCKA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#pragma GCC diagnostic ignored "-Wunused-parameter"

#endif
