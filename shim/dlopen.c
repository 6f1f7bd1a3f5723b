/*
 * RTLD_DEEPBIND makes a library prefer its own dependencies to us: taken away. The call is the last thing the function
 * does, so that it becomes a jump and libc sees the caller's address, by which it finds the caller's library path.
 */
#include "shim/shim.h"

#include <dlfcn.h>
#include <stdatomic.h>

void *smx_next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

static void *open_library(const char *file, int mode)
{
    typedef void *function(const char *, int);
    static _Atomic(function *) next;

    if (!next) {
        void *found = smx_next("dlopen");
        next = *(function **)(void *)&found;
    }
    return next(file, mode & ~RTLD_DEEPBIND);
}
EXPORT(open_library, dlopen);
