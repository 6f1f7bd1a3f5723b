/*
 * The log: one line per event, one write(2) per line, so lines of several threads and processes do not mix.
 *
 * The only global state of the engine: where the log goes is a property of the process, as its stderr is. It is written
 * once by smx_log_open, before threads exist, and only read afterwards. A line longer than LINE_MAX is cut; control
 * characters become '?', so a peer's text cannot move the cursor of a terminal.
 */
#include "stack/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOG_TEXT_MAX 600
#define LOG_LINE_MAX (2 * LOG_TEXT_MAX + 128) /* JSON escapes may double the text */

static int log_fd = -1;
static enum smx_log_level log_level;
static bool log_json;

static const char *const level_names[] = {"error", "warn", "info", "debug", "trace"};

void smx_log_open(int fd, enum smx_log_level level, bool json)
{
    log_level = level;
    log_json = json;
    log_fd = fd;
}

bool smx_log_enabled(enum smx_log_level level)
{
    return log_fd >= 0 && level <= log_level;
}

static size_t escape(char *out, const char *text)
{
    size_t n = 0;
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            out[n++] = '\\';
        out[n++] = *text;
    }
    return n;
}

static size_t format_line(char *line, enum smx_log_level level, const char *text)
{
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    char when[40];
    strftime(when, sizeof(when), log_json ? "%Y-%m-%dT%H:%M:%S" : "%H:%M:%S", &tm);
    int head =
        snprintf(line, LOG_LINE_MAX,
                 log_json ? "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"message\":\"" : "smolmix %s.%03ldZ %s: ", when,
                 now.tv_nsec / 1000000, level_names[level]);
    size_t n = (size_t)head;
    if (log_json) {
        n += escape(line + n, text);
        memcpy(line + n, "\"}", 2);
        n += 2;
    } else {
        size_t len = strlen(text);
        memcpy(line + n, text, len);
        n += len;
    }
    line[n++] = '\n';
    return n;
}

void smx_log(enum smx_log_level level, const char *format, ...)
{
    if (!smx_log_enabled(level))
        return;
    int saved = errno;
    char text[LOG_TEXT_MAX], line[LOG_LINE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    ssize_t n = write(log_fd, line, format_line(line, level, text));
    (void)n; /* a full or closed stderr is not the tunnel's problem */
    errno = saved;
}
