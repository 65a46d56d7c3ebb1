#include "deploy/image/agent/agent_hosts.h"

#include <stdbool.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Takes the next word off the front; empty at the end. */
static struct slice next_word(struct slice *rest)
{
    while (rest->len > 0 && is_blank(rest->ptr[0])) {
        rest->ptr++;
        rest->len--;
    }
    struct slice word = {rest->ptr, 0};
    while (rest->len > 0 && !is_blank(rest->ptr[0])) {
        rest->ptr++;
        rest->len--;
        word.len++;
    }
    return word;
}

static bool has_name(struct slice entry, struct slice name)
{
    (void)next_word(&entry); /* the address */
    for (struct slice word = next_word(&entry); word.len > 0; word = next_word(&entry)) {
        if (slice_eq(word, name)) {
            return true;
        }
    }
    return false;
}

/* The line without those names, and nothing of a line that has no other. */
static void append_without(struct buf *out, struct slice entry, struct slice comment,
                           const struct slice names[2])
{
    size_t start = out->len;
    bool named = false;
    buf_append(out, next_word(&entry));
    for (struct slice word = next_word(&entry); word.len > 0; word = next_word(&entry)) {
        if (!slice_eq(word, names[0]) && !slice_eq(word, names[1])) {
            buf_append_byte(out, ' ');
            buf_append(out, word);
            named = true;
        }
    }
    if (!named) {
        out->len = start;
        return;
    }
    if (comment.len > 0) {
        buf_append_cstr(out, " #");
        buf_append(out, comment);
    }
    buf_append_byte(out, '\n');
}

void agent_hosts_rename(struct slice old, struct slice old_name, struct slice new_name,
                        struct buf *out)
{
    const struct slice localhost = SLICE("localhost");
    bool local = false;
    const struct slice names[2] = {slice_eq(old_name, localhost) ? SLICE("") : old_name, new_name};
    while (old.len > 0) {
        struct slice line, entry, comment;
        slice_cut(old, '\n', &line, &old);
        slice_cut(line, '#', &entry, &comment);
        local = local || has_name(entry, localhost);
        if (has_name(entry, names[0]) || has_name(entry, names[1])) {
            append_without(out, entry, comment, names);
        } else {
            buf_append(out, line);
            buf_append_byte(out, '\n');
        }
    }
    if (!local) {
        buf_append_cstr(out, "127.0.0.1 localhost\n::1 localhost\n");
    }
    buf_append_cstr(out, "127.0.1.1 ");
    buf_append(out, new_name);
    buf_append_byte(out, '\n');
}
