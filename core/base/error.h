/*
 * Errors are values. Functions return 0 (SMX_OK) or one of these codes; error.c is the only place that maps a code to
 * an errno for the interposed socket calls and to a sentence for the person.
 *
 * Thread-safety: everything here is pure.
 */
#ifndef SMX_BASE_ERROR_H
#define SMX_BASE_ERROR_H

#include <stddef.h>

enum smx_err {
    SMX_OK = 0,
    /* bytes that came from elsewhere */
    SMX_E_TRUNCATED,   /* input ends too early */
    SMX_E_MALFORMED,   /* input breaks the format */
    SMX_E_MAC,         /* authentication of bytes failed */
    SMX_E_REPLAY,      /* seen before */
    SMX_E_VERSION,     /* peer speaks another protocol version */
    SMX_E_UNSUPPORTED, /* valid, but a feature this program does not have */
    /* our own limits and misuse */
    SMX_E_RANGE,  /* argument outside its documented range */
    SMX_E_FULL,   /* a bounded queue, table or buffer is full */
    SMX_E_NOMEM,  /* out of memory */
    SMX_E_AGAIN,  /* nothing to do now; try after the next event */
    SMX_E_CRYPTO, /* a key or point is unusable (low order, not on the curve) */
    /* the way to the exit */
    SMX_E_TIMEOUT,     /* no answer in time */
    SMX_E_REFUSED,     /* peer refused the connection */
    SMX_E_UNREACHABLE, /* peer cannot be reached */
    SMX_E_CLOSED,      /* peer closed the connection */
    SMX_E_IO,          /* an operating-system call failed */
    SMX_E_TLS,         /* certificate or TLS negotiation refused */
    SMX_E_PROTOCOL,    /* peer broke the protocol */
    SMX_E_AUTH,        /* gateway refused our authentication */
    SMX_E_BANDWIDTH,   /* gateway grants no more bandwidth */
    SMX_E_DIRECTORY,   /* directory unusable */
    SMX_E_NO_ROUTE,    /* topology lacks a layer or the egress */
    SMX_E_NO_GATEWAY,  /* no usable entry gateway */
    SMX_E_NO_EXIT,     /* no usable exit */
    SMX_E_EXIT_DENIED, /* the exit refused to connect us */
    SMX_E_POLICY,      /* our own or the exit's policy forbids the destination */
    SMX_E_CONFIG,      /* an option or file of the user is invalid */
    SMX_E_STATE,       /* the state folder cannot be used */
    SMX_ERR_COUNT
};

/* What failed, with the sentence for the user: what, why, what to do. `text` is always terminated. */
struct smx_fault {
    enum smx_err code;
    char text[240];
};

/* Sets code and text (printf rules, truncated to fit) and returns code. `fault` may be NULL. */
enum smx_err smx_fail(struct smx_fault *fault, enum smx_err code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* errno that an application should see when its socket call fails for this reason (0 for SMX_OK). */
int smx_err_errno(enum smx_err code);

/* Short English phrase, static storage; a phrase for unknown codes too. */
const char *smx_err_text(enum smx_err code);

#endif
