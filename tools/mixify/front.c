/*
 * The process the shell knows. It owns the terminal side: progress, signals, job control, exit status.
 *
 * Signals: INT and QUIT from the terminal reach the command directly (same process group), so the front ignores them;
 * TSTP, TTIN and TTOU likewise: the front stops only when the engine reports that the command stopped. TERM, HUP, USR1,
 * USR2 and ALRM sent to mixify are passed on to the command. Before the command runs, INT, TERM and HUP end mixify.
 */
#include "tools/mixify/mixify.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

struct front {
    int link, signals;
    pid_t engine, command;
    int status; /* -1: not ended yet */
};

static void on_message(struct front *front, const struct message *message)
{
    switch ((enum message_kind)message->kind) {
    case MSG_PHASE:
        progress_phase(message->state, message->text);
        break;
    case MSG_STARTED:
        progress_end();
        front->command = message->value;
        break;
    case MSG_STOPPED:
        /* The command stopped: so do we, and the shell takes the terminal. SIGCONT wakes the whole group. */
        kill(getpid(), SIGSTOP);
        break;
    case MSG_NOTICE:
        progress_end();
        progress_notice(message->text);
        break;
    case MSG_CONTINUED:
    case MSG_DRAINING:
        break;
    case MSG_DONE:
        progress_end();
        if (message->text[0])
            fprintf(stderr, "mixify: %s\n", message->text);
        front->status = message->value;
        break;
    }
}

/* True: there may be more. */
static bool on_link(struct front *front)
{
    struct message message;
    ssize_t n = recv(front->link, &message, sizeof(message), MSG_DONTWAIT);

    if (n == (ssize_t)sizeof(message)) {
        message.text[sizeof(message.text) - 1] = '\0';
        on_message(front, &message);
        return front->status < 0;
    }
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return errno == EINTR;
    progress_end();
    fputs("mixify: the engine ended unexpectedly; the command has no network any more\n", stderr);
    front->status = EXIT_TUNNEL;
    return false;
}

static void on_signal(struct front *front)
{
    struct signalfd_siginfo info;

    if (read(front->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    int number = (int)info.ssi_signo;
    if (front->command > 0) {
        /* From the terminal the command has it already. */
        if (number != SIGINT && number != SIGQUIT && number != SIGTSTP && number != SIGTTIN && number != SIGTTOU)
            kill(front->command, number);
        return;
    }
    if (number == SIGTSTP) {
        kill(getpid(), SIGSTOP);
        return;
    }
    if (number == SIGUSR1 || number == SIGUSR2 || number == SIGALRM || number == SIGTTIN || number == SIGTTOU)
        return;
    progress_end();
    kill(front->engine, SIGKILL);
    front->status = 128 + number;
}

int front_run(const struct options *options, int link, pid_t engine)
{
    static const int watched[] = {SIGINT,  SIGQUIT, SIGTERM, SIGHUP,  SIGUSR1,
                                  SIGUSR2, SIGALRM, SIGTSTP, SIGTTIN, SIGTTOU};
    struct front front = {.link = link, .engine = engine, .status = -1};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(watched) / sizeof(watched[0]); i++)
        sigaddset(&set, watched[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    front.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    progress_begin(options);
    while (front.status < 0) {
        struct pollfd fds[2] = {{.fd = front.link, .events = POLLIN}, {.fd = front.signals, .events = POLLIN}};

        if (poll(fds, 2, -1) < 0)
            continue;
        /* Messages first: who signals the command because it has seen its output shall not meet a front that does not
         * know of it yet. */
        while (on_link(&front))
            ;
        if (fds[1].revents && front.status < 0)
            on_signal(&front);
    }
    return front.status;
}
