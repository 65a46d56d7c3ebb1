/*
 * One row of a table of settings: its key, the form of its value, and the place of the value in the
 * struct. The rows are constant; table.c has those of the programs, each VM provider those of its
 * own section (provider.h).
 */
#ifndef MAYFLY_CONFIG_SETTING_H
#define MAYFLY_CONFIG_SETTING_H

#include "common/config/config.h"

/* Programs, as a set. */
#define FOR_INGRESS (1U << CONFIG_FOR_INGRESS)
#define FOR_WORKER (1U << CONFIG_FOR_WORKER)
#define FOR_REAPER (1U << CONFIG_FOR_REAPER)
#define FOR_CTL (1U << CONFIG_FOR_CTL)
#define FOR_CTL_GITHUB (1U << CONFIG_FOR_CTL_GITHUB) /* no reader: it takes what it finds */
#define FOR_FLEET (FOR_WORKER | FOR_REAPER)
#define FOR_DAEMONS (FOR_INGRESS | FOR_WORKER | FOR_REAPER)
#define FOR_ALL (FOR_INGRESS | FOR_WORKER | FOR_REAPER | FOR_CTL)

enum setting_flag {
    SETTING_SECRET = 1,     /* never shown, and not resolved for programs that do not read it */
    SETTING_RELOADABLE = 2, /* SIGHUP can change it in a running program */
    SETTING_PATH = 4,       /* a relative path starts at the configuration file's directory */
    SETTING_LINES = 8,      /* may contain line breaks */
    SETTING_PAIRS = 16,     /* of a LIST: written as a map, kept as "key=value" items */
    SETTING_AUTO = 32,      /* may be `auto` (config_set_quota_reader) */
};

/* The type of the struct's member: char *, int64_t (DURATION: milliseconds, SIZE: bytes), double,
 * bool, struct config_list. */
enum setting_type {
    SETTING_TEXT,
    SETTING_WHOLE,
    SETTING_DURATION,
    SETTING_SIZE,
    SETTING_NUMBER,
    SETTING_BOOL,
    SETTING_LIST
};

/* The form of a text, or of each item of a list. */
struct setting_form {
    const char *text; /* for the reference and for complaints, "must be <text>" */
    bool (*fits)(struct slice value);
    /* In place of `fits`, for a value that is wrong in ways of its own: NULL, or what it is or does
     * that it must not, for a complaint. */
    const char *(*trouble)(struct slice value);
};

struct setting {
    const char *key;      /* "ingress.max_body_size", "classes[].launch_rate.burst" */
    const char *fallback; /* the default, as written in the text; "" for an empty list */
    const char *example;  /* a line to add when it is required and missing; else NULL */
    const char *choices;  /* the allowed values, separated by one space; NULL: any */
    const char *help;     /* what it is, and the effect of reaching a limit */
    const struct setting_form *form;
    /* In struct config; for keys below classes[] in struct config_class, for a VM provider's own
     * keys in its struct (provider.h). */
    size_t offset;
    /* WHOLE, DURATION, SIZE, NUMBER: the value; TEXT: its length in bytes; LIST: its number of
     * items. */
    int64_t min;
    int64_t max;
    enum setting_type type;
    unsigned flags;
    unsigned readers;  /* programs that resolve it */
    unsigned required; /* programs that require it */
};

#endif
