#include <stdlib.h>

#include "common/base/fs.h"
#include "common/config/config.h"
#include "common/config/private.h"

static void read_text(const char *path, struct buf *text)
{
    struct err ignored = {0};
    const char *from_environment = path == NULL ? getenv("MAYFLY_CONFIG") : NULL;
    if (from_environment != NULL) {
        buf_append_cstr(text, from_environment);
    } else {
        (void)!fs_read(path != NULL ? path : CONFIG_DEFAULT_PATH, text, &ignored);
    }
}

/* The tree has copies of what it needs of the text. */
static void read_tree(const char *path, struct config_tree *tree, struct complaints *unread)
{
    struct buf text;
    buf_init(&text, CONFIG_TEXT_LIMIT_BYTES);
    read_text(path, &text);
    config_yaml_read(buf_slice(&text), tree, unread);
    buf_fini(&text);
}

struct config *config_peek(const char *path, enum config_for who)
{
    struct config_tree tree;
    struct complaints *unread = calloc(2, sizeof *unread);
    ASSERT(unread != NULL);
    struct config_reading r = {.tree = &tree,
                               .directory = "",
                               .who = who == CONFIG_FOR_CHECK ? FOR_ALL : 1U << who,
                               .config = config_new_with_defaults(),
                               .complaints = &unread[0],
                               .warnings = &unread[1]};
    read_tree(path, &tree, &unread[0]);
    if (tree.root != NULL) {
        config_read_tree(&r);
        config_complete_classes(r.config);
    }
    config_tree_fini(&tree);
    complaints_fini(&unread[0]);
    complaints_fini(&unread[1]);
    free(unread);
    return r.config;
}

bool config_peek_has(const char *path, const char *section, const char *key)
{
    struct config_tree tree;
    struct complaints *unread = calloc(1, sizeof *unread);
    ASSERT(unread != NULL);
    read_tree(path, &tree, unread);
    bool has = json_object_get(json_object_get(tree.root, section), key) != NULL;
    config_tree_fini(&tree);
    complaints_fini(unread);
    free(unread);
    return has;
}
