/*
 * Directory entries: create, rename, unlink, link, mkdir, rmdir, symlink, one at a time under names_lock, logged once they happened.
 *
 * An entry that a kill made between the call and its record is not missed: what is durable is read from the folder itself
 * when it is synced; these records only say what else may have survived. A file that loses a name gets one in the graveyard first.
 */
#include "shim.h"

#include <stdio.h>

static void keep_in_graveyard(const struct place *place, const struct stat *status)
{
    char name[64];
    if (S_ISDIR(status->st_mode))
        return;
    snprintf(name, sizeof name, "%llx-%llx", (unsigned long long)status->st_dev, (unsigned long long)status->st_ino);
    if (syscall(SYS_linkat, place->folder, place->name, graveyards[place->scope.root], name, 0) != 0 && errno != EEXIST)
        die("a file cannot be linked into the graveyard, which must be on the same file system as its root", errno);
}

static bool look(const struct place *place, struct stat *status)
{
    return raw_fstatat(place->folder, place->name, status, AT_SYMLINK_NOFOLLOW) == 0;
}

static void log_entry(enum record record, const struct place *place, const struct stat *status)
{
    struct payload payload = {0};
    put_node(&payload, place->device, place->inode);
    put_node(&payload, status->st_dev, status->st_ino);
    put_u8(&payload, (uint8_t)kind_of(status->st_mode));
    put_name(&payload, place->name);
    log_payload(record, &payload);
}

static int finish(struct place *place, int result)
{
    int saved = errno;
    pthread_mutex_unlock(&names_lock);
    leave_place(place);
    errno = saved;
    return result;
}

/* O_TRUNC is taken out of the call and done as a recorded truncation, so that the old content can be had back. */
static int open_changing(int folder, const char *path, int flags, mode_t mode)
{
    struct place place;
    struct stat before, after;
    if (!find_place(folder, path, &place))
        return raw_openat(folder, path, flags, mode);

    pthread_mutex_lock(&names_lock);
    bool existed = look(&place, &before);
    int descriptor = raw_openat(folder, path, flags & ~O_TRUNC, mode);
    if (descriptor >= 0 && !existed && look(&place, &after))
        log_entry(RECORD_CREATE, &place, &after);
    finish(&place, 0);
    if (descriptor < 0 || !(flags & O_TRUNC))
        return descriptor;

    struct descriptor seen;
    watch(descriptor);
    int truncated = watched(descriptor, &seen) && seen.kind == KIND_FILE && recorded(&seen.scope)
                        ? tracked_truncate(descriptor, &seen, 0)
                        : (int)syscall(SYS_ftruncate, descriptor, 0L);
    if (truncated != 0 && raw_fstat(descriptor, &after) == 0 && S_ISREG(after.st_mode) && after.st_size > 0)
        die("a file opened with O_TRUNC cannot be truncated", errno);
    return descriptor;
}

static int open_any(int folder, const char *path, int flags, mode_t mode)
{
    if (!shim_ready)
        return raw_openat(folder, path, flags, mode);
    bool nameless = (flags & O_TMPFILE) == O_TMPFILE || flags & O_PATH;
    int descriptor =
        flags & (O_CREAT | O_TRUNC) && !nameless ? open_changing(folder, path, flags, mode) : raw_openat(folder, path, flags, mode);
    if (descriptor >= 0 && !(flags & O_PATH))
        watch(descriptor);
    else if (descriptor >= 0)
        forget(descriptor);
    return descriptor;
}

#define MODE(flags)                                                                                                                   \
    ({                                                                                                                                \
        mode_t mode_ = 0;                                                                                                             \
        if ((flags) & O_CREAT || ((flags) & O_TMPFILE) == O_TMPFILE) {                                                                \
            __builtin_va_list list_;                                                                                                  \
            __builtin_va_start(list_, flags);                                                                                         \
            mode_ = __builtin_va_arg(list_, mode_t);                                                                                  \
            __builtin_va_end(list_);                                                                                                  \
        }                                                                                                                             \
        mode_;                                                                                                                        \
    })

EXPORT int open(const char *path, int flags, ...) { return open_any(AT_FDCWD, path, flags, MODE(flags)); }
EXPORT int open64(const char *path, int flags, ...) { return open_any(AT_FDCWD, path, flags, MODE(flags)); }
EXPORT int openat(int folder, const char *path, int flags, ...) { return open_any(folder, path, flags, MODE(flags)); }
EXPORT int openat64(int folder, const char *path, int flags, ...) { return open_any(folder, path, flags, MODE(flags)); }
EXPORT int __open_2(const char *path, int flags) { return open_any(AT_FDCWD, path, flags, 0); }
EXPORT int __open64_2(const char *path, int flags) { return open_any(AT_FDCWD, path, flags, 0); }
EXPORT int __openat_2(int folder, const char *path, int flags) { return open_any(folder, path, flags, 0); }
EXPORT int __openat64_2(int folder, const char *path, int flags) { return open_any(folder, path, flags, 0); }
EXPORT int creat(const char *path, mode_t mode) { return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
EXPORT int creat64(const char *path, mode_t mode) { return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

EXPORT int unlinkat(int folder, const char *path, int flags)
{
    struct place place;
    struct stat status;
    if (!find_place(folder, path, &place))
        return (int)syscall(SYS_unlinkat, folder, path, flags);
    pthread_mutex_lock(&names_lock);
    bool existed = look(&place, &status);
    if (existed && !(flags & AT_REMOVEDIR))
        keep_in_graveyard(&place, &status);
    int result = (int)syscall(SYS_unlinkat, folder, path, flags);
    if (result == 0 && existed)
        log_entry(RECORD_UNLINK, &place, &status);
    return finish(&place, result);
}

EXPORT int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }

EXPORT int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

EXPORT int remove(const char *path)
{
    int saved = errno;
    if (unlink(path) == 0)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -1;
    errno = saved;
    return rmdir(path);
}

/* Makes an entry with `call` and records it. */
#define MAKING(record_, folder_, path_, call)                                                                                         \
    do {                                                                                                                              \
        struct place place_;                                                                                                          \
        struct stat made_;                                                                                                            \
        if (!find_place((folder_), (path_), &place_))                                                                                 \
            return (int)(call);                                                                                                       \
        pthread_mutex_lock(&names_lock);                                                                                              \
        int result_ = (int)(call);                                                                                                    \
        if (result_ == 0 && look(&place_, &made_))                                                                                    \
            log_entry((record_), &place_, &made_);                                                                                    \
        return finish(&place_, result_);                                                                                              \
    } while (0)

EXPORT int mkdirat(int folder, const char *path, mode_t mode)
{
    MAKING(RECORD_CREATE, folder, path, syscall(SYS_mkdirat, folder, path, mode));
}

EXPORT int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

EXPORT int symlinkat(const char *target, int folder, const char *path)
{
    MAKING(RECORD_CREATE, folder, path, syscall(SYS_symlinkat, target, folder, path));
}

EXPORT int symlink(const char *target, const char *path) { return symlinkat(target, AT_FDCWD, path); }

EXPORT int linkat(int from_folder, const char *from, int folder, const char *path, int flags)
{
    MAKING(RECORD_LINK, folder, path, syscall(SYS_linkat, from_folder, from, folder, path, flags));
}

EXPORT int link(const char *from, const char *path) { return linkat(AT_FDCWD, from, AT_FDCWD, path, 0); }

static void log_rename(const struct place *from, const struct place *to, const struct stat *moved, const struct stat *replaced)
{
    struct payload payload = {0};
    put_node(&payload, from->device, from->inode);
    put_node(&payload, to->device, to->inode);
    put_node(&payload, moved->st_dev, moved->st_ino);
    put_u8(&payload, (uint8_t)kind_of(moved->st_mode));
    put_node(&payload, replaced ? replaced->st_dev : 0, replaced ? replaced->st_ino : 0);
    put_u8(&payload, replaced ? (uint8_t)kind_of(replaced->st_mode) : 0);
    put_name(&payload, from->name);
    put_name(&payload, to->name);
    log_payload(RECORD_RENAME, &payload);
}

EXPORT int renameat2(int from_folder, const char *from_path, int to_folder, const char *to_path, unsigned flags)
{
    struct place from, to;
    struct stat moved, replaced;
    bool leaves = find_place(from_folder, from_path, &from), arrives = find_place(to_folder, to_path, &to);
    if (!leaves && !arrives)
        return (int)syscall(SYS_renameat2, from_folder, from_path, to_folder, to_path, flags);

    pthread_mutex_lock(&names_lock);
    int result = -1;
    bool exists = leaves ? look(&from, &moved) : raw_fstatat(from_folder, from_path, &moved, AT_SYMLINK_NOFOLLOW) == 0;
    bool replaces = arrives && look(&to, &replaced);
    bool same = exists && replaces && moved.st_dev == replaced.st_dev && moved.st_ino == replaced.st_ino;
    if (flags & ~RENAME_NOREPLACE) {
        errno = EINVAL; /* what a file system without exchange and whiteout says */
    } else if (leaves != arrives && exists && S_ISDIR(moved.st_mode)) {
        errno = EXDEV; /* what is inside would appear or vanish without records */
    } else {
        if (replaces && !same)
            keep_in_graveyard(&to, &replaced);
        if (leaves && !arrives && exists)
            keep_in_graveyard(&from, &moved);
        result = (int)syscall(SYS_renameat2, from_folder, from_path, to_folder, to_path, flags);
        if (result == 0 && !same) {
            if (leaves && arrives)
                log_rename(&from, &to, &moved, replaces ? &replaced : NULL);
            else if (leaves)
                log_entry(RECORD_UNLINK, &from, &moved);
            else
                log_entry(RECORD_LINK, &to, &moved);
        }
    }
    if (leaves)
        leave_place(&from);
    return finish(&to, result);
}

EXPORT int renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    return renameat2(from_folder, from, to_folder, to, 0);
}

EXPORT int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }
