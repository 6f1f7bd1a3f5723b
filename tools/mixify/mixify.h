/*
 * mixify: runs a command whose network traffic goes through the mixnet.
 *
 * Processes. The one the shell knows (front.c) draws progress, forwards signals and mirrors job control. Its child is
 * the engine (engine_process.c), in a process group of its own, so that neither Ctrl-C nor Ctrl-Z on the terminal
 * reaches it: a stopped command keeps its tunnel. The command is the engine's child but lives in the front's process
 * group, so the terminal treats it as it would without mixify; and its tracer-to-be is its ancestor.
 *
 *     shell -> front -> engine -> command and all its children
 *                            \-> smolmix-lab (with --lab)
 *
 * The front and the engine talk over a SOCK_SEQPACKET pair (struct message). Whoever dies first: front gone -> the
 * engine is killed (PR_SET_PDEATHSIG), the command finds no engine and gets ENETDOWN, never the direct network.
 * Engine gone -> the front says so and ends with 125.
 *
 * With --guard netns the command is forked first and waits in its namespace (netns.c).
 *
 * `mixify up` is the same engine without a command, in the background, under a name that belongs to the user.
 */
#ifndef MIXIFY_H
#define MIXIFY_H

#include "stack/config.h"
#include "stack/control.h"
#include "stack/policy/policy.h"
#include "stack/tunnel/tunnel.h"

#include <stdbool.h>
#include <sys/types.h>

/* Exit statuses of our own (design section 10). */
#define EXIT_TUNNEL    125
#define EXIT_CANNOT    126
#define EXIT_NOT_FOUND 127
#define EXIT_USAGE     125

#define DRAIN_TIME (10 * SMX_SEC) /* after the command ended, for what it wrote (design section 10) */
#define LAB_START  (20 * SMX_SEC) /* the lab must be ready by then */

enum mixify_verb { VERB_RUN, VERB_UP, VERB_DOWN, VERB_STATUS, VERB_TOP, VERB_DOCTOR };

struct options {
    enum mixify_verb verb;
    bool lab, json, quiet;
    int verbose;
    struct smx_config config;
    struct smx_policy *policy; /* of --policy; NULL: the built-in rules */
    char **command;            /* NULL-terminated, for VERB_RUN */
};

/* Fills options from environment and arguments. Returns -1 to go on, else the exit status (after --help or an error).
 */
int options_parse(struct options *options, int argc, char **argv);

/* Messages from the engine process to the front. */
enum message_kind {
    MSG_PHASE,   /* state, text: the tunnel reached a phase (PHASE_LAB before the tunnel starts) */
    MSG_STARTED, /* pid of the command; for `up`: the tunnel is ready */
    MSG_STOPPED, /* value: stop signal */
    MSG_CONTINUED,
    MSG_NOTICE,   /* text: something the user did not ask for but will want to know */
    MSG_DRAINING, /* the command ended, unsent data is being delivered */
    MSG_DONE,     /* value: exit status for the shell */
};
#define PHASE_LAB (-1)
struct message {
    int32_t kind, state, value;
    char text[256];
};

/* --- pieces ------------------------------------------------------------------------------------------------------- */

/* The process the shell knows. `link` is the socket to the engine process. Returns the exit status. */
int front_run(const struct options *options, int link, pid_t engine);
/* The engine's process; never returns. shared: the engine is another process, this one supervises the command; NULL:
 * it makes the engine. */
_Noreturn void engine_process(struct options *options, int link, pid_t front_group, const char *shared);

/* The guard. Is one wanted; can it be had, before anything is started; the command's process enters it, with one end of
 * a socket pair, while its parent has the other. */
bool guard_wanted(const struct options *options);
enum smx_err guard_check_standard(struct smx_fault *fault); /* the standard descriptors only */
enum smx_err guard_check(struct smx_fault *fault);
void guard_enter(int link);
enum smx_err guard_supervise(int link, const char engine[static SMX_CONTROL_NAME_MAX], const struct smx_config *config,
                             struct smx_fault *fault);

/* Starts smolmix-lab; on success *url gets its directory. The lab ends when the descriptor *lifeline is closed. */
enum smx_err lab_start(char *url, size_t cap, int *lifeline, struct smx_fault *fault);

/* Progress line on a terminal, JSON lines with --json, nothing otherwise. */
void progress_begin(const struct options *options);
void progress_phase(int state, const char *text);
void progress_end(void);                /* removes the line */
void progress_notice(const char *text); /* a line of its own, unless -q */

/* Absolute path of a file that belongs to us: beside mixify (build folder) or where it is installed. */
enum smx_err find_own(char *path, size_t cap, const char *file, struct smx_fault *fault);
/* Name of the running `mixify up` of this user. */
void up_name(char name[static SMX_CONTROL_NAME_MAX]);
bool engine_alive(const char *name);
/* Environment of a command served by the engine `name`: LD_PRELOAD, SMOLMIX_TUNNEL and SMOLMIX_GUARD set. name NULL: one
 * that needs nothing of that, and has nothing of it. NULL: out of memory. */
char **command_environment(const struct options *options, const char *name, const char *library, const char *guard);
/* What SMOLMIX_GUARD tells the preloaded library: "off" only if the user said so, else it refuses to start programs
 * that it does not reach. NULL: nothing. */
const char *guard_told(const struct options *options, bool guarded);
/* The process that will be the command joins the terminal's process group, and signals reach it. */
void command_foreground(pid_t group);
/* exec with a shell's statuses; returns 126 or 127 after one line on stderr. */
int command_exec(char **command, char **environment);

int verb_status(const struct options *options);
int verb_top(const struct options *options);
int verb_down(const struct options *options);
int verb_doctor(const struct options *options);

#endif
