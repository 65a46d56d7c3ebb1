#include <string.h>

#include "common/config/private.h"

static const char introduction[] =
    "# Configuration reference\n"
    "\n"
    "Generated from the tables of settings (`common/config/table*.c`, and one for each VM "
    "provider)\n"
    "by the build target `reference-pages`; a test fails when it is stale. Do not edit it.\n"
    "\n"
    "One YAML file (JSON is YAML too), given as `--config FILE`, as text in the variable\n"
    "`MAYFLY_CONFIG`, or as `" CONFIG_DEFAULT_PATH
    "`, serves all programs. `--check-config` reads it and names the key, the line "
    "and the "
    "fix of\n"
    "each error.\n"
    "\n"
    "- Any value can be written `env:NAME` (an environment variable), `file:PATH` (the content of "
    "a\n"
    "  file, less one line end), `credential:NAME` (a credential of the systemd unit, from its "
    "`LoadCredential=`;\n"
    "  systemd reads it when the unit starts, so that a rotated secret needs a restart), "
    "`ssm:NAME` (a parameter of AWS's Systems Manager) or\n"
    "  `secretsmanager:ARN[#json-key]` (a secret, or one text of the JSON object in it); see "
    "`aws-reference.md`.\n"
    "  A program looks up only what it needs: the ingress reads neither the App's key nor the "
    "token,\n"
    "  the worker and the reaper no webhook secret.\n"
    "- A duration is a number and its unit, `ms`, `s`, `m`, `h` or `d`: `250ms`, `90s`, `1.5h`, "
    "`1h30m`.\n"
    "  A size has `B`, `KiB`, `MiB`, `GiB` or `TiB`: `512MiB`. A number without a unit is an "
    "error.\n"
    "- A limit that is `auto` is what the quotas of the VM provider's service allow, as applied to "
    "the account, read at the\n"
    "  start, by SIGHUP and each day (`quotas_applied`); its default where they cannot be read "
    "(`quotas_not_read`), or\n"
    "  where no class has a provider with quotas.\n"
    "- Relative paths start at the directory of the configuration file.\n"
    "- SIGHUP reads it again. Settings marked *reload* change at once; others keep their value "
    "until\n"
    "  a restart, and the log names them. Classes are added and changed; one that is missing is\n"
    "  retired, as with `max_vms: 0`. A text with an error changes nothing.\n"
    "- Aliases, anchors and tags of YAML are errors, and so is a key that is given twice.\n"
    "- At most 1 MiB of text, 64 classes, 64 KiB a value.\n";

static struct slice section_of(const struct setting *s)
{
    const char *dot = strchr(s->key, '.');
    return dot == NULL ? slice_of("") : (struct slice){s->key, (size_t)(dot - s->key)};
}

static const char *type_name(const struct setting *s)
{
    switch (s->type) {
    case SETTING_TEXT:
        return s->choices != NULL ? "enum" : (s->flags & SETTING_PATH) != 0 ? "path" : "text";
    case SETTING_WHOLE:
        return "whole number";
    case SETTING_DURATION:
        return "duration";
    case SETTING_SIZE:
        return "size";
    case SETTING_NUMBER:
        return "number";
    case SETTING_BOOL:
        return "true or false";
    case SETTING_LIST:
        return (s->flags & SETTING_PAIRS) != 0 ? "map" : "list";
    }
    return "";
}

static void append_default(struct buf *out, const struct setting *s)
{
    if (s->required != 0) {
        buf_append_cstr(out, "*required*");
    } else if (s->type == SETTING_LIST) {
        buf_append_cstr(out, (s->flags & SETTING_PAIRS) != 0 ? "`{}`" : "`[]`");
    } else if (s->fallback[0] != '\0') {
        buf_printf(out, "`%s`", s->fallback);
    }
}

static void append_range(struct buf *out, const struct setting *s)
{
    if (s->form != NULL) {
        buf_append_cstr(out, s->form->text);
        buf_append_cstr(out, s->type == SETTING_LIST ? "; " : "");
    }
    if (s->max == INT64_MAX) {
        buf_printf(out, "%lld and up", (long long)s->min);
    } else if (s->form == NULL || s->type != SETTING_TEXT) {
        setting_range(s, out);
    }
}

/* A reload opens the provider of a class anew if its other settings have changed. */
static bool is_reloaded(const struct setting *s)
{
    return (s->flags & SETTING_RELOADABLE) != 0 ||
           (strncmp(s->key, "classes[].", 10) == 0 && strcmp(s->key, "classes[].provider") != 0);
}

static void append_row(struct buf *out, const struct setting *s)
{
    buf_printf(out, "| `%s` | %s%s | ", s->key, type_name(s),
               (s->flags & SETTING_AUTO) != 0 ? " or `auto`" : "");
    append_default(out, s);
    buf_append_cstr(out, " | ");
    append_range(out, s);
    buf_printf(out, " | %s | %s%s |\n", is_reloaded(s) ? "reload" : "",
               (s->flags & SETTING_SECRET) != 0 ? "*Secret.* " : "", s->help);
}

void config_reference(struct buf *out)
{
    buf_append_cstr(out, introduction);
    for (size_t i = 0; i < config_section_count; i++) {
        const struct setting_section *section = &config_sections[i];
        buf_printf(out, "\n## %s\n\n%s\n\n", section->name[0] != '\0' ? section->name : "Top level",
                   section->help);
        buf_append_cstr(out, "| Key | Type | Default | Range | Reload | Meaning |\n"
                             "|---|---|---|---|---|---|\n");
        const struct setting *s = NULL;
        for (size_t k = 0; (s = setting_at(k)) != NULL; k++) {
            if (slice_eq_cstr(section_of(s), section->name)) {
                append_row(out, s);
            }
        }
    }
}
