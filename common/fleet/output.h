/*
 * The last that a VM wrote which failed or vanished: the end of its console, with the agent's log,
 * in the VM's timeline, where it outlives the VM and its host.
 *
 * It is the text of a guest, and a job may have written it to deceive or to smuggle out what it was
 * given: control characters are removed or shown as escapes, and what looks like a secret of the
 * payload (the JIT config and the keys in it, tokens, a proxy's user and password) is removed. At most FLEET_OUTPUT_MAX bytes of
 * a VM are kept, in lines of the timeline that have several lines of text each; of more than
 * FLEET_OUTPUTS_PER_MINUTE VMs that fail within a minute, the first ones' (by process).
 *
 * The cleaning is pure. The rest blocks; any thread; a failure is logged and changes nothing else.
 */
#ifndef MAYFLY_FLEET_OUTPUT_H
#define MAYFLY_FLEET_OUTPUT_H

#include "common/base/buf.h"
#include "common/fleet/fleet.h"

#define FLEET_OUTPUT_MAX 4096
#define FLEET_OUTPUT_RAW_MAX 16384 /* that is read of it: escapes and secrets take room */
#define FLEET_OUTPUTS_PER_MINUTE 30
#define FLEET_OUTPUT_LINE "console" /* what the timeline calls it */

/* Appends the last FLEET_OUTPUT_MAX bytes of what is left of `raw`; whole lines, as far as there are
 * any. */
void fleet_output_clean(struct slice raw, struct buf *out);

/* Whether a VM that ended with that reason, the provider's or the agent's, did what it was for: its
 * job is over, or it had none. */
bool fleet_ended_well(const char *reason);

/* Writes what the VM of that row wrote, from its provider. */
void fleet_output_keep(struct fleet *f, const struct ledger_vm *vm);
/* Says where it would be, of a VM that no program can reach. */
void fleet_output_say_unreachable(struct fleet *f, const struct ledger_vm *vm, const char *why);
/* Writes that text, of a VM whose launch failed; empty: nothing. */
void fleet_output_keep_text(struct fleet *f, const char *vm, struct slice raw);

#endif
