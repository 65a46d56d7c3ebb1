/*
 * What worker and reaper do after a reload: new and changed classes get a provider. What needs a restart
 * is logged as `config_restart_required`.
 */
#ifndef MAYFLY_PROGRAM_RELOAD_H
#define MAYFLY_PROGRAM_RELOAD_H

#include "common/program/presence.h"
#include "common/program/stores.h"

/* For the thread that reloads. */
void reload_stores(struct stores *s, struct presence *presence, const struct config *c);

#endif
