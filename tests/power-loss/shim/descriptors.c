/*
 * Which open descriptors are watched, and which directory entry a path means.
 *
 * Paths are judged by what the kernel resolved them to (/proc/self/fd), so relative paths, symbolic links and descriptors of
 * folders need no rules of their own.
 */
#include "shim.h"

#include <stdio.h>

static struct descriptor table[DESCRIPTORS];

/* A child of vfork shares this memory but not the descriptors: what it closes stays open here. */
static bool shares_our_descriptors(void) { return (pid_t)syscall(SYS_getpid) == owner_process; }

bool watched(int descriptor, struct descriptor *into)
{
    if (!shim_ready || descriptor < 0 || descriptor >= DESCRIPTORS)
        return false;
    if (!atomic_load_explicit(&table[descriptor].watched, memory_order_acquire))
        return false;
    *into = table[descriptor];
    return true;
}

bool descriptor_path(int descriptor, char path[PATH_MAX])
{
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    if (length < 0)
        return false;
    path[length] = '\0';
    return true;
}

static bool interesting(const struct scope *scope)
{
    return recorded(scope) || scope->throttle >= 0 || scope->no_space >= 0 || scope->marks >= 0;
}

void watch(int descriptor)
{
    int saved = errno;
    char path[PATH_MAX];
    struct stat status;
    if (shim_ready && descriptor >= 0) {
        forget(descriptor);
        if (descriptor_path(descriptor, path) && path[0] == '/') {
            struct scope scope = scope_of(path);
            if (interesting(&scope) && raw_fstat(descriptor, &status) == 0 &&
                (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)) && shares_our_descriptors()) {
                if (descriptor >= DESCRIPTORS)
                    die("a descriptor above 65535 cannot be watched", 0);
                struct descriptor *slot = &table[descriptor];
                slot->device = status.st_dev;
                slot->inode = status.st_ino;
                slot->scope = scope;
                slot->kind = kind_of(status.st_mode);
                atomic_store_explicit(&slot->watched, 1, memory_order_release);
            }
        }
    }
    errno = saved;
}

void forget(int descriptor)
{
    if (descriptor < 0 || descriptor >= DESCRIPTORS || !atomic_load(&table[descriptor].watched))
        return;
    if (shares_our_descriptors())
        atomic_store(&table[descriptor].watched, 0);
}

void forget_range(unsigned first, unsigned last)
{
    for (unsigned i = first; i <= last && i < DESCRIPTORS; i++)
        forget((int)i);
}

void copy_watch(int from, int to)
{
    struct descriptor slot;
    if (to < 0 || from == to)
        return;
    if (!watched(from, &slot)) {
        forget(to);
        return;
    }
    if (!shares_our_descriptors())
        return;
    if (to >= DESCRIPTORS)
        die("a descriptor above 65535 cannot be watched", 0);
    atomic_store(&table[to].watched, 0);
    table[to].device = slot.device;
    table[to].inode = slot.inode;
    table[to].scope = slot.scope;
    table[to].kind = slot.kind;
    atomic_store_explicit(&table[to].watched, 1, memory_order_release);
}

/* Opens the folder that holds the entry. False, with nothing to leave, where the entry is not below a recorded root. */
bool find_place(int folder, const char *path, struct place *place)
{
    int saved = errno;
    char parent[PATH_MAX], resolved[PATH_MAX];
    struct stat status;
    place->folder = -1;
    if (!shim_ready || log_descriptor < 0 || !path)
        return false;

    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    size_t start = length;
    while (start > 0 && path[start - 1] != '/')
        start--;
    size_t name = length - start;
    if (name == 0 || name > NAME_MAX || start >= PATH_MAX)
        return false;
    memcpy(place->name, path + start, name);
    place->name[name] = '\0';
    if (strcmp(place->name, ".") == 0 || strcmp(place->name, "..") == 0)
        return false;
    if (start == 0) {
        strcpy(parent, ".");
    } else {
        memcpy(parent, path, start);
        parent[start] = '\0';
    }

    int opened = raw_openat(folder, parent, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (opened < 0 && (errno == EMFILE || errno == ENFILE))
        die("no descriptor left to look at a folder", errno); /* else the change would go unrecorded */
    if (opened >= 0 && descriptor_path(opened, resolved)) {
        place->scope = scope_of(resolved);
        if (recorded(&place->scope) && raw_fstat(opened, &status) == 0) {
            place->folder = opened;
            place->device = status.st_dev;
            place->inode = status.st_ino;
            errno = saved;
            return true;
        }
    }
    if (opened >= 0)
        raw_close(opened);
    errno = saved;
    return false;
}

void leave_place(struct place *place)
{
    int saved = errno;
    if (place->folder >= 0)
        raw_close(place->folder);
    place->folder = -1;
    errno = saved;
}
