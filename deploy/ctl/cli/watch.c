#include "deploy/ctl/cli/watch.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/printable.h"
#include "common/base/quantity.h"
#include "deploy/ctl/cli/report.h"
#include "deploy/ctl/cli/stores.h"

#define HOME "\033[H"
#define CLEAR_LINE "\033[K"
#define CLEAR_BELOW "\033[J"
#define CLEAR_ALL "\033[2J"

struct state {
    json_t *answer; /* the last one; NULL: none yet */
    int64_t answer_ms;
    struct err error; /* of the last try; class ERR_NONE if it succeeded */
    int64_t since_ms; /* the first failure in a row */
    bool drawn;
};

/* --- the terminal, while it is watched --- */

static struct termios modes_before;
static bool reads_keys; /* atomic enough: set before the handlers are */

static void restore_modes(void)
{
    if (reads_keys) {
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &modes_before);
    }
}

/* A call of a store may take as long as its timeout: the program ends at once all the same. Nothing is
 * written that could be cut off. */
static void end_now(int signal_number)
{
    restore_modes();
    if (signal_number == SIGINT) {
        _exit(0);
    }
    (void)signal(signal_number, SIG_DFL);
    (void)raise(signal_number);
}

static void wake_up(int signal_number)
{
    (void)signal_number; /* poll returns */
}

/* Each key at once, and unseen. */
static void begin_keys(bool is_terminal)
{
    struct termios modes;
    if (!is_terminal || tcgetattr(STDIN_FILENO, &modes_before) != 0) {
        return;
    }
    modes = modes_before;
    modes.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    reads_keys = tcsetattr(STDIN_FILENO, TCSANOW, &modes) == 0;
}

static void begin_signals(void)
{
    struct sigaction end = {.sa_handler = end_now};
    struct sigaction wake = {.sa_handler = wake_up};
    (void)sigaction(SIGINT, &end, NULL);
    (void)sigaction(SIGTERM, &end, NULL);
    (void)sigaction(SIGWINCH, &wake, NULL);
}

/* Waits until it is time, or the size has changed. True: a key ended it. */
static bool is_ended_within(int64_t wait_ms)
{
    struct pollfd keys = {.fd = reads_keys ? STDIN_FILENO : -1, .events = POLLIN};
    char key = 0;
    if (poll(&keys, 1, (int)wait_ms) <= 0 || (keys.revents & (POLLIN | POLLHUP)) == 0) {
        return false;
    }
    ssize_t n = read(STDIN_FILENO, &key, 1);
    return n == 0 || (n == 1 && (key == 'q' || key == 'Q' || key == 4));
}

/* --- one answer --- */

static void keep_failure(struct state *s, struct ctl *c, const struct err *e)
{
    s->since_ms = s->error.class == ERR_NONE ? clock_wall_ms() : s->since_ms;
    s->error = *e;
    ctl_close_stores(c); /* the next try opens them anew */
}

static void fetch(struct state *s, struct ctl *c, const struct watch *w)
{
    struct err e = {0};
    json_t *answer = NULL;
    if (ctl_open_stores(c, w->needs, &e) != 0 || w->build(c, &answer, &e) != 0) {
        keep_failure(s, c, &e);
        return;
    }
    json_decref(s->answer);
    s->answer = answer;
    s->answer_ms = clock_wall_ms();
    s->error = (struct err){0};
}

/* --- drawing --- */

static const char *time_of_day(int64_t wall_ms, char out[40])
{
    clock_format_utc(wall_ms, out, 40);
    return out;
}

static void add_head(const struct state *s, const struct watch *w, struct screen *screen)
{
    char at[40];
    char period[QUANTITY_TEXT_SIZE];
    char length[24];
    int64_t now_ms = clock_wall_ms();
    screen_add(screen, STYLE_DIM, "%s, every %s%s", time_of_day(now_ms, at),
               quantity_text(QUANTITY_DURATION, w->period_ms, period),
               reads_keys ? "; q ends" : "");
    screen_end_line(screen);
    if (s->error.class == ERR_NONE) {
        return;
    }
    screen_add(screen, STYLE_BAD, "! the %s does not respond since %s (%s): %s",
               report_subject(&s->error), time_of_day(s->since_ms, at),
               ctl_duration(now_ms - s->since_ms, length), s->error.message);
    screen_end_line(screen);
    if (s->answer != NULL) {
        screen_add(screen, STYLE_DIM, "what follows is as of %s", time_of_day(s->answer_ms, at));
        screen_end_line(screen);
    }
}

/* Over the frame before: as many lines as the screen has. */
static void put_frame(const struct screen *screen, bool first)
{
    struct slice rest = buf_slice(&screen->out);
    size_t most = screen->rows > 1 ? screen->rows - 1 : SIZE_MAX;
    fputs(first ? CLEAR_ALL HOME : HOME, stdout);
    for (size_t i = 0; rest.len > 0 && i < most; i++) {
        struct slice line;
        (void)slice_cut(rest, '\n', &line, &rest);
        if (i + 1 == most && rest.len > 0) {
            printf("(%zu more lines)" CLEAR_LINE, screen->lines - i);
        } else {
            printf("%.*s" CLEAR_LINE "\n", SLICE_ARG(line));
        }
    }
    fputs(CLEAR_BELOW, stdout);
}

static void draw(struct state *s, const struct watch *w)
{
    struct screen screen;
    screen_init(&screen);
    add_head(s, w, &screen);
    if (s->answer != NULL) {
        w->render(s->answer, &screen);
    }
    if (screen.is_terminal) {
        put_frame(&screen, !s->drawn);
    } else {
        printf("%s%.*s", s->drawn ? "\n" : "", SLICE_ARG(buf_slice(&screen.out)));
    }
    s->drawn = true;
    screen_fini(&screen);
}

static void print_line(const struct state *s)
{
    json_t *line = s->answer;
    if (s->error.class != ERR_NONE) {
        line = report_object(&s->error);
        json_object_set_new(line, "since", ctl_time(s->since_ms));
    }
    char *text = json_dumps(line, JSON_COMPACT);
    ASSERT(text != NULL);
    printable_line(stdout, "%s", text);
    free(text);
    if (line != s->answer) {
        json_decref(line);
    }
}

/* Waiting may end it. */
static bool ends_by_itself(const struct err *e)
{
    return e->class == ERR_RETRY || e->class == ERR_THROTTLED || e->class == ERR_CAPACITY;
}

int watch_run(struct ctl *c, const struct watch *w, struct err *e)
{
    struct state s = {.answer = NULL};
    int64_t next_ms = clock_mono_ms();
    int rc = 0;
    begin_keys(isatty(STDOUT_FILENO) == 1 && !c->json);
    begin_signals();
    for (bool ended = false; !ended;) {
        int64_t wait_ms = next_ms - clock_mono_ms();
        if (wait_ms <= 0) {
            fetch(&s, c, w);
            next_ms = clock_mono_ms() + w->period_ms;
        }
        if (s.answer == NULL && !ends_by_itself(&s.error)) {
            *e = s.error;
            rc = -1;
            break;
        }
        if (c->json && wait_ms <= 0) {
            print_line(&s);
        } else if (!c->json) {
            draw(&s, w);
        }
        ended = fflush(stdout) != 0 || is_ended_within(next_ms - clock_mono_ms());
    }
    restore_modes();
    json_decref(s.answer);
    return rc;
}
