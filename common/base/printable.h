/*
 * Text of others, for people's eyes: a job's name, for example, is anybody's who can push a workflow.
 *
 * Escaped as \n, \t, … or \uXXXX are the characters that act on a terminal or deceive a reader: C0,
 * DEL, C1, the line separators U+2028 and U+2029, and the controls of bidirectional text (U+061C,
 * U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069). Bytes that are not UTF-8 become U+FFFD.
 * buf_append_json escapes the same, so that a log line can be read on a terminal too. A backslash
 * stays as it is. Pure functions, safe from any thread.
 */
#ifndef MAYFLY_BASE_PRINTABLE_H
#define MAYFLY_BASE_PRINTABLE_H

#include <stdio.h>

#include "common/base/attr.h"
#include "common/base/buf.h"

void printable_append(struct buf *b, struct slice s);
#define PRINTABLE_GROWTH 6 /* bytes of the longest escape of one byte */

/* How many bytes at the end of s, 3 at most, begin a character that s does not end: for text that
 * comes in pieces. */
size_t printable_unfinished(struct slice s);

/* Writes one line; a newline within it is escaped as well. */
PRINTF(2, 3) void printable_line(FILE *to, const char *fmt, ...);

/* Writes each line of a text that has several. */
void printable_lines(FILE *to, struct slice text);

/* The exit code of a program that has printed an answer: `code`, or 1 with a message to stderr if
 * not all of it could be written (a full disk makes an answer that only looks complete). */
int printable_end(const char *program, int code);

#endif
