/*
 * URLs of directories: http or https, a host name or address literal, an optional port, a base path. Nothing else a URL
 * can hold makes sense there, so user names, queries and fragments are refused rather than ignored. Spec 05
 * section 1.1.
 */
#include "stack/net/http.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Each part is read at *at, which moves behind it. NULL, or what is wrong. */

/* Letters, digits, '-', '.' and '_' (seen in practice), or an IPv6 literal in brackets, which are taken off. */
static const char *parse_host(struct smx_url *url, const char **at)
{
    bool bracket = **at == '[';
    const char *start = *at + bracket, *end = start;
    while (bracket ? *end && *end != ']' : isalnum((unsigned char)*end) || (*end && strchr("-._", *end)))
        end++;
    size_t len = (size_t)(end - start);
    if (!len)
        return "it has no host name";
    if (len >= sizeof(url->host))
        return "the host name is too long";
    memcpy(url->host, start, len);
    url->host[len] = 0;
    struct in6_addr ip;
    if (bracket && (!*end || inet_pton(AF_INET6, url->host, &ip) != 1))
        return "the brackets do not hold an IPv6 address";
    *at = end + bracket;
    return NULL;
}

static const char *parse_port(struct smx_url *url, const char **at)
{
    url->port = url->tls ? 443 : 80;
    if (**at != ':')
        return NULL;
    const char *start = *at + 1;
    size_t digits = strspn(start, "0123456789");
    long port = digits && digits <= 5 ? strtol(start, NULL, 10) : 0;
    if (port < 1 || port > 65535)
        return "the port is no number from 1 to 65535";
    url->port = (uint16_t)port;
    *at = start + digits;
    return NULL;
}

static const char *parse_path(struct smx_url *url, const char *at)
{
    if (*at && *at != '/')
        return "there is something odd after the host name";
    size_t len = strlen(at);
    while (len && at[len - 1] == '/')
        len--;
    if (len >= sizeof(url->path))
        return "the path is too long";
    for (size_t i = 0; i < len; i++)
        if (at[i] <= ' ' || at[i] == 0x7f || at[i] == '?' || at[i] == '#')
            return "the path must be plain, without spaces, queries or fragments";
    memcpy(url->path, at, len);
    url->path[len] = 0;
    return NULL;
}

const char *smx_url_wrong(struct smx_url *url, const char *text)
{
    *url = (struct smx_url){.tls = !strncasecmp(text, "https://", 8)};
    if (!url->tls && strncasecmp(text, "http://", 7))
        return "it must start with http:// or https://";
    const char *at = text + (url->tls ? 8 : 7);
    const char *wrong = parse_host(url, &at);
    if (!wrong)
        wrong = parse_port(url, &at);
    return wrong ? wrong : parse_path(url, at);
}

enum smx_err smx_url_parse(struct smx_url *url, const char *text, struct smx_fault *fault)
{
    const char *wrong = smx_url_wrong(url, text);
    return wrong ? smx_fail(fault, SMX_E_CONFIG, "%s", wrong) : SMX_OK;
}

void smx_authority(char out[static SMX_AUTHORITY_MAX], const char *host, uint16_t port, bool tls)
{
    bool bracket = strchr(host, ':') != NULL;
    char suffix[8] = "";
    if (port != (tls ? 443 : 80))
        snprintf(suffix, sizeof(suffix), ":%u", port);
    snprintf(out, SMX_AUTHORITY_MAX, "%s%.255s%s%s", bracket ? "[" : "", host, bracket ? "]" : "", suffix);
}
