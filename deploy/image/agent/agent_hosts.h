/*
 * The text of /etc/hosts when a VM gets its name: the image's lines stay, with the old host name
 * taken out of them, and the new one gets a line of its own. Pure, safe from any thread.
 */
#ifndef MAYFLY_AGENT_HOSTS_H
#define MAYFLY_AGENT_HOSTS_H

#include "common/base/buf.h"
#include "common/base/slice.h"

/* Appends the new text. old: the file's text; a file that does not know localhost gets that, too.
 * The old name is kept where it is localhost. */
void agent_hosts_rename(struct slice old, struct slice old_name, struct slice new_name,
                        struct buf *out);

#endif
