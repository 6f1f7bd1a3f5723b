/*
 * What a person sees while the tunnel comes up: one line on the terminal that grows phase by phase and is removed when
 * the command starts. With --json one object per phase instead; nothing when stderr is no terminal or with -q.
 */
#include "tools/mixify/mixify.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

static struct {
    enum { SILENT, LINE, JSON } mode;
    bool drawn, quiet;
    double start;
    char line[256];
    size_t len;
    const char *phase;
    double phase_start;
} progress;

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void progress_begin(const struct options *options)
{
    progress.start = seconds();
    progress.quiet = options->quiet;
    if (options->json)
        progress.mode = JSON;
    else if (!options->quiet && !options->verbose && isatty(STDERR_FILENO))
        progress.mode = LINE;
}

static void append(const char *name, double took)
{
    int n = snprintf(progress.line + progress.len, sizeof(progress.line) - progress.len, "%s%s %.1f s",
                     progress.len ? " · " : "", name, took);
    if (n > 0 && progress.len + (size_t)n < sizeof(progress.line))
        progress.len += (size_t)n;
}

void progress_phase(int state, const char *text)
{
    const char *name = state == PHASE_LAB ? "lab" : smx_tunnel_state_name((enum smx_tunnel_state)state);
    double now = seconds();

    if (progress.mode == JSON) {
        fprintf(stderr, "{\"phase\":\"%s\",\"seconds\":%.3f}\n", name, now - progress.start);
        return;
    }
    if (progress.mode != LINE)
        return;
    if (progress.phase && progress.phase != name)
        append(progress.phase, now - progress.phase_start);
    progress.phase = name;
    progress.phase_start = now;
    fprintf(stderr, "\r\033[Kmixify: %s%s%s…%s%s", progress.line, progress.len ? " · " : "", name, text[0] ? " " : "",
            text);
    progress.drawn = true;
}

void progress_notice(const char *text)
{
    char escaped[2 * sizeof(((struct message *)0)->text)], *out = escaped;

    if (progress.quiet)
        return;
    if (progress.mode != JSON) {
        fprintf(stderr, "mixify: %s\n", text);
        return;
    }
    for (; *text; *out++ = *text++)
        if (*text == '"' || *text == '\\')
            *out++ = '\\';
    *out = '\0';
    fprintf(stderr, "{\"notice\":\"%s\"}\n", escaped);
}

void progress_end(void)
{
    if (progress.drawn)
        fputs("\r\033[K", stderr);
    progress.drawn = false;
    progress.phase = NULL;
    progress.len = 0;
    progress.line[0] = '\0';
}
