#include "tests/bench/ledger/dynamo_expr.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/attr.h"

/* --- words --- */
struct parser {
    const char *at;
    const json_t *names;
    const json_t *values;
    const json_t *item;
    char word[96];
};

static bool is_of_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '#' || c == ':';
}

static void next(struct parser *p)
{
    size_t n = 0;
    while (*p->at == ' ') {
        p->at++;
    }
    if (is_of_word(*p->at)) {
        while (is_of_word(*p->at) && n + 1 < sizeof p->word) {
            p->word[n++] = *p->at++;
        }
    } else if (*p->at != '\0') {
        p->word[n++] = *p->at++;
        if ((p->word[0] == '<' || p->word[0] == '>') && (*p->at == '=' || *p->at == '>')) {
            p->word[n++] = *p->at++;
        }
    }
    p->word[n] = '\0';
}

static bool is(const struct parser *p, const char *word)
{
    return strcmp(p->word, word) == 0;
}

static void need(struct parser *p, const char *word)
{
    if (!is(p, word)) {
        fprintf(stderr, "model: \"%s\" where \"%s\" was expected, before \"%s\"\n", p->word, word,
                p->at);
        abort();
    }
    next(p);
}

static struct parser begin(const json_t *request, const char *member, const json_t *item)
{
    struct parser p = {.at = json_string_value(json_object_get(request, member)),
                       .names = json_object_get(request, "ExpressionAttributeNames"),
                       .values = json_object_get(request, "ExpressionAttributeValues"),
                       .item = item};
    p.at = p.at != NULL ? p.at : "";
    next(&p);
    return p;
}

static const char *name_of(const struct parser *p, const char *word)
{
    const char *name = json_string_value(json_object_get(p->names, word));
    ASSERT(name != NULL);
    return name;
}

/* --- conditions --- */
static const json_t *operand(struct parser *p)
{
    const json_t *value = p->word[0] == ':' ? json_object_get(p->values, p->word)
                                            : json_object_get(p->item, name_of(p, p->word));
    next(p);
    return value;
}

static const char *text_of(const json_t *value, bool *number)
{
    const char *n = json_string_value(json_object_get(value, "N"));
    *number = n != NULL;
    return n != NULL ? n : json_string_value(json_object_get(value, "S"));
}

static bool compare(const json_t *a, const char *op, const json_t *b)
{
    bool numbers;
    bool both;
    const char *left = text_of(a, &numbers);
    const char *right = text_of(b, &both);
    if (left == NULL || right == NULL || numbers != both) {
        return false;
    }
    double difference =
        numbers ? strtod(left, NULL) - strtod(right, NULL) : (double)strcmp(left, right);
    switch (op[0]) {
    case '=':
        return difference == 0;
    case '<':
        return op[1] == '>' ? difference != 0 : op[1] == '=' ? difference <= 0 : difference < 0;
    default:
        return op[1] == '=' ? difference >= 0 : difference > 0;
    }
}

static bool any_of(struct parser *p);

static bool primary(struct parser *p)
{
    bool holds;
    if (is(p, "(")) {
        next(p);
        holds = any_of(p);
        need(p, ")");
        return holds;
    }
    if (is(p, "attribute_not_exists") || is(p, "attribute_exists")) {
        bool negated = is(p, "attribute_not_exists");
        next(p);
        need(p, "(");
        holds = operand(p) != NULL;
        need(p, ")");
        return holds != negated;
    }
    const json_t *left = operand(p);
    char op[sizeof p->word];
    memcpy(op, p->word, sizeof op);
    next(p);
    return compare(left, op, operand(p));
}

static bool all_of(struct parser *p)
{
    bool holds = primary(p);
    while (is(p, "AND")) {
        next(p);
        holds = primary(p) && holds;
    }
    return holds;
}

static bool any_of(struct parser *p)
{
    bool holds = all_of(p);
    while (is(p, "OR")) {
        next(p);
        holds = all_of(p) || holds;
    }
    return holds;
}

bool dynamo_expr_holds(const json_t *request, const json_t *item)
{
    struct parser p = begin(request, "ConditionExpression", item);
    return p.word[0] == '\0' || any_of(&p);
}

/* --- updates --- */
static double number_of(const json_t *value)
{
    const char *text = json_string_value(json_object_get(value, "N"));
    return text != NULL ? strtod(text, NULL) : 0;
}

static json_t *number(double value)
{
    char text[40];
    (void)snprintf(text, sizeof text, "%.17g", value);
    return json_pack("{s:s}", "N", text);
}

/* a = b, a = b - c, a = b + c */
static void set(struct parser *p, json_t *item)
{
    const char *name = name_of(p, p->word);
    next(p);
    need(p, "=");
    json_t *value = json_copy((json_t *)(uintptr_t)operand(p));
    if (is(p, "-") || is(p, "+")) {
        double sign = is(p, "-") ? -1 : 1;
        next(p);
        json_t *sum = number(number_of(value) + sign * number_of(operand(p)));
        json_decref(value);
        value = sum;
    }
    (void)json_object_set_new(item, name, value);
}

static void add(struct parser *p, json_t *item)
{
    const char *name = name_of(p, p->word);
    next(p);
    double sum = number_of(json_object_get(item, name)) + number_of(operand(p));
    (void)json_object_set_new(item, name, number(sum));
}

static void change(struct parser *p, char verb, json_t *item)
{
    if (verb == 'S') {
        set(p, item);
    } else if (verb == 'A') {
        add(p, item);
    } else {
        (void)json_object_del(item, name_of(p, p->word));
        next(p);
    }
}

void dynamo_expr_update(const json_t *request, json_t *item)
{
    struct parser p = begin(request, "UpdateExpression", item);
    while (p.word[0] != '\0') {
        char verb = p.word[0];
        do {
            next(&p);
            change(&p, verb, item);
        } while (is(&p, ","));
    }
}
