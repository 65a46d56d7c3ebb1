#include "tests/unit/worker/launch_bed.h"

#include "common/job/launch_request.h"
#include "worker/heartbeat.h"

struct lane lane;

void lane_reservation_ended(struct lane *l)
{
    (void)call_begin("lane_reservation_ended", NULL, "%s", l == &lane ? "small" : "?");
}

uint64_t lane_unknown_places(const struct lane *l)
{
    return l->unknown_places;
}

void lane_log_waits(struct lane *l, int64_t job_id, const char *vm, int64_t since_ms)
{
    (void)l; /* it waited for nothing */
    (void)job_id;
    (void)vm;
    (void)since_ms;
}

int64_t lane_known_since_ms(const struct lane *l)
{
    return l->known_since_ms;
}

bool lane_was_full(const struct lane *l, int64_t within_ms)
{
    (void)within_ms;
    return l->was_full;
}

void launch_bed_subjects(const char *class_name, struct subjects *out)
{
    subjects_of_class(config_class_by_name(world.config, slice_of(class_name)),
                      fleet_provider(world.worker.fleet, class_name),
                      fleet_host(world.worker.fleet), out);
}

int launch_bed_set_up(const char *class_name)
{
    int rc = world_set_up(NULL);
    lane.known_since_ms = 0;
    lane.was_full = false;
    launch_bed_subjects(class_name, &lane.subjects);
    world.worker.heartbeat = heartbeat_new(&world.worker);
    return rc;
}

int launch_bed_tear_down(void **state)
{
    heartbeat_free(world.worker.heartbeat);
    return world_tear_down(state);
}

void launch_bed_next(const char *lane_name, int64_t attempts)
{
    struct queue_message m = world_take(lane_name);
    m.attempts += attempts;
    launch(&world.worker, &lane, world.config, &m);
    queue_message_fini(&m);
}
