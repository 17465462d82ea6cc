/*
 * Descriptors that come and go without a path: close, dup, fcntl, and the library calls that close on their own.
 */
#include "shim.h"

#include <dirent.h>
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>

/* The shim's descriptors are not the program's to close; daemons close everything they did not open. */
static bool ours(int descriptor)
{
    if (!shim_ready || log_descriptor < 0)
        return false;
    if (descriptor == log_descriptor)
        return true;
    for (int i = 0; i < MAXIMUM_ROOTS; i++)
        if (graveyards[i] > 0 && descriptor == graveyards[i])
            return true;
    return false;
}

EXPORT int close(int descriptor)
{
    if (ours(descriptor)) {
        errno = EBADF;
        return -1;
    }
    forget(descriptor);
    return raw_close(descriptor);
}

EXPORT int close_range(unsigned first, unsigned last, int flags)
{
    if (!shim_ready || log_descriptor < 0)
        return (int)syscall(SYS_close_range, first, last, flags);
    if (flags & CLOSE_RANGE_CLOEXEC)
        return (int)syscall(SYS_close_range, first, last, flags);
    forget_range(first, last);
    for (unsigned at = first; at <= last; at++) {
        unsigned end = at;
        while (end <= last && end < DESCRIPTORS && !ours((int)end))
            end++;
        if (end >= DESCRIPTORS || end > last)
            return (int)syscall(SYS_close_range, at, last, flags);
        if (end > at && syscall(SYS_close_range, at, end - 1, flags) != 0)
            return -1;
        at = end;
        if (at == UINT_MAX)
            break;
    }
    return 0;
}

EXPORT void closefrom(int first)
{
    close_range(first < 0 ? 0 : (unsigned)first, UINT_MAX, 0);
}

EXPORT int dup(int descriptor)
{
    int copy = (int)syscall(SYS_dup, descriptor);
    copy_watch(descriptor, copy);
    return copy;
}

EXPORT int dup3(int descriptor, int to, int flags)
{
    if (ours(to)) {
        errno = EBUSY;
        return -1;
    }
    forget(to);
    int copy = (int)syscall(SYS_dup3, descriptor, to, flags);
    copy_watch(descriptor, copy);
    return copy;
}

EXPORT int dup2(int descriptor, int to)
{
    if (descriptor == to)
        return syscall(SYS_fcntl, descriptor, F_GETFD) < 0 ? -1 : to;
    return dup3(descriptor, to, 0);
}

static int control(int descriptor, int command, void *argument)
{
    int result = (int)syscall(SYS_fcntl, descriptor, command, argument);
    if (command == F_DUPFD || command == F_DUPFD_CLOEXEC)
        copy_watch(descriptor, result);
    return result;
}

#define ARGUMENT(command)                                                                                                             \
    ({                                                                                                                                \
        va_list list_;                                                                                                                \
        va_start(list_, command);                                                                                                     \
        void *argument_ = va_arg(list_, void *);                                                                                      \
        va_end(list_);                                                                                                                \
        argument_;                                                                                                                    \
    })

EXPORT int fcntl(int descriptor, int command, ...) { return control(descriptor, command, ARGUMENT(command)); }
EXPORT int fcntl64(int descriptor, int command, ...) { return control(descriptor, command, ARGUMENT(command)); }

EXPORT int fclose(FILE *file)
{
    static int (*_Atomic next)(FILE *);
    if (!next)
        next = (int (*)(FILE *))dlsym(RTLD_NEXT, "fclose");
    forget(fileno(file));
    return next(file);
}

EXPORT int closedir(DIR *folder)
{
    static int (*_Atomic next)(DIR *);
    if (!next)
        next = (int (*)(DIR *))dlsym(RTLD_NEXT, "closedir");
    forget(dirfd(folder));
    return next(folder);
}
