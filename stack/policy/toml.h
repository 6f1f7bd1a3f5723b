/*
 * Reading TOML 1.0, as much of it as files of options need, with the place of everything that is wrong. The essay is in
 * toml.c. Pure.
 */
#ifndef SMX_POLICY_TOML_H
#define SMX_POLICY_TOML_H

#include "core/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SMX_TOML_PATH_MAX   128 /* tables and key, joined with dots */
#define SMX_TOML_STRING_MAX 512

struct smx_toml_place {
    unsigned line, column; /* from 1; a column is a character, not a byte */
};

enum smx_toml_kind {
    SMX_TOML_TABLE,   /* [path] */
    SMX_TOML_LIST,    /* path = [ ... begins; its elements follow as items of the other kinds */
    SMX_TOML_STRING,  /* text */
    SMX_TOML_INTEGER, /* integer */
    SMX_TOML_BOOLEAN, /* integer: 0 or 1 */
};

struct smx_toml_item {
    enum smx_toml_kind kind;
    bool element; /* of a list */
    const char *path;
    struct smx_toml_place key, value; /* where they begin; of a table both are the header's name */
    const char *text;                 /* terminated, without NUL inside */
    int64_t integer;
};

struct smx_toml_error {
    struct smx_toml_place place;
    char text[200];
};

/* Called for every item in order. False: error is filled in (place and text), reading ends. */
typedef bool smx_toml_fn(void *ctx, const struct smx_toml_item *item, struct smx_toml_error *error);

bool smx_toml_read(const char *text, size_t len, smx_toml_fn *fn, void *ctx, struct smx_toml_error *error);

/* Fills in an error and returns false. */
bool smx_toml_wrong(struct smx_toml_error *error, struct smx_toml_place place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
