/*
 * The one home of what an error code means outside this program: the errno a program sees when its socket call fails,
 * and the phrase a person reads. The errno choices follow spec 07 section 11.1 and the rule that a program must never
 * take a failed tunnel for a working network: there is no code that maps to "try without the tunnel".
 */
#include "core/base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static const struct {
    int number;
    const char *text;
} meaning[SMX_ERR_COUNT] = {
    [SMX_OK] = {0, "success"},
    [SMX_E_TRUNCATED] = {EPROTO, "the message ends too early"},
    [SMX_E_MALFORMED] = {EPROTO, "the message breaks its format"},
    [SMX_E_MAC] = {EPROTO, "the message failed its authentication"},
    [SMX_E_REPLAY] = {EPROTO, "the message was seen before"},
    [SMX_E_VERSION] = {EPROTO, "the peer speaks another version of the protocol"},
    [SMX_E_UNSUPPORTED] = {EOPNOTSUPP, "this feature is not supported"},
    [SMX_E_RANGE] = {EINVAL, "a value is outside its permitted range"},
    [SMX_E_FULL] = {ENOBUFS, "a queue or table is full"},
    [SMX_E_NOMEM] = {ENOMEM, "out of memory"},
    [SMX_E_AGAIN] = {EAGAIN, "nothing to do until the next event"},
    [SMX_E_CRYPTO] = {EPROTO, "a cryptographic key cannot be used"},
    [SMX_E_TIMEOUT] = {ETIMEDOUT, "no answer arrived in time"},
    [SMX_E_REFUSED] = {ECONNREFUSED, "the peer refused the connection"},
    [SMX_E_UNREACHABLE] = {EHOSTUNREACH, "the peer cannot be reached"},
    [SMX_E_CLOSED] = {ECONNRESET, "the peer closed the connection"},
    [SMX_E_IO] = {EIO, "an operating-system call failed"},
    [SMX_E_TLS] = {ECONNABORTED, "the TLS connection could not be trusted or agreed on"},
    [SMX_E_PROTOCOL] = {EPROTO, "the peer broke the protocol"},
    [SMX_E_AUTH] = {ENETUNREACH, "the gateway refused our authentication"},
    [SMX_E_BANDWIDTH] = {ENETUNREACH, "the gateway grants no more bandwidth"},
    [SMX_E_DIRECTORY] = {ENETUNREACH, "the network's directory cannot be used"},
    [SMX_E_NO_ROUTE] = {ENETUNREACH, "no route through the mixnet: the directory lacks a usable node"},
    [SMX_E_NO_GATEWAY] = {ENETUNREACH, "no usable entry gateway"},
    [SMX_E_NO_EXIT] = {ENETUNREACH, "no usable exit"},
    [SMX_E_EXIT_DENIED] = {ENETUNREACH, "the exit refused to connect us"},
    [SMX_E_POLICY] = {EACCES, "policy forbids this destination"},
    [SMX_E_CONFIG] = {EINVAL, "an option or configuration file is invalid"},
    [SMX_E_STATE] = {EIO, "the state folder cannot be used"},
};

enum smx_err smx_fail(struct smx_fault *fault, enum smx_err code, const char *format, ...)
{
    if (!fault)
        return code;
    fault->code = code;
    va_list args;
    va_start(args, format);
    if (vsnprintf(fault->text, sizeof(fault->text), format, args) < 0)
        snprintf(fault->text, sizeof(fault->text), "%s", smx_err_text(code));
    va_end(args);
    return code;
}

int smx_err_errno(enum smx_err code)
{
    return (unsigned)code < SMX_ERR_COUNT ? meaning[code].number : EIO;
}

const char *smx_err_text(enum smx_err code)
{
    return (unsigned)code < SMX_ERR_COUNT ? meaning[code].text : "unknown error";
}
