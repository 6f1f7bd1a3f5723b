/*
 * Stock programs as peers of a test: started, their port read from what they print, stopped at the end.
 */
#ifndef SMX_TEST_PEER_H
#define SMX_TEST_PEER_H

#include <stdint.h>
#include <sys/types.h>

struct peer {
    pid_t pid;
    int out; /* its stdout and stderr */
    uint16_t port;
};
/* Waits for a line that contains `marker`; the digits behind it are the port. Aborts the test when the program ends
 * before. The program dies with the test. */
void peer_start(struct peer *peer, const char *const *argv, const char *marker);
void peer_stop(struct peer *peer);

/* A listening socket on 127.0.0.1 with a free port. */
int peer_listen(uint16_t *port);

/* Runs a shell command; aborts the test when it fails. */
void peer_shell(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
