/*
 * Reads the environment once, before the program's own code runs, and keeps the locks usable over fork.
 *
 * THERMOCLINE_POWER_LOSS_ROOTS      folders to record, separated by colons
 * THERMOCLINE_POWER_LOSS_LOG        the log; without it nothing is recorded and only faults act
 * THERMOCLINE_POWER_LOSS_GRAVEYARD  a folder on the roots' file system, or one per root, separated by colons
 */
#include "shim.h"

#include <stdlib.h>

bool shim_ready;
int log_descriptor = -1;
int graveyards[MAXIMUM_ROOTS];
pid_t owner_process;

static char roots[MAXIMUM_ROOTS][PATH_MAX];
static int root_count;

/* The emulator must never turn its own trouble into a wrong picture of the disk, so it ends the program, loudly. */
void die(const char *what, int error)
{
    static const char prefix[] = "power-loss shim: ";
    const char *reason = error ? strerrordesc_np(error) : "";
    struct iovec parts[] = {
        {(void *)prefix, sizeof prefix - 1}, {(void *)what, strlen(what)},     {": ", error ? 2 : 0},
        {(void *)reason, strlen(reason)},    {"\n", 1},
    };
    syscall(SYS_writev, 2, parts, 5);
    abort();
}

static bool below(const char *path, const char *folder)
{
    size_t length = strlen(folder);
    return strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

struct scope scope_of(const char *path)
{
    struct scope scope = {-1, throttle_of(path), no_space_of(path), marks_of(path)};
    for (int i = 0; i < root_count; i++)
        if (below(path, roots[i])) {
            scope.root = i;
            break;
        }
    return scope;
}

/* Calls `each` for every part of a colon separated list. */
static void split(const char *list, void (*each)(const char *part))
{
    char part[PATH_MAX];
    while (list && *list) {
        size_t length = strcspn(list, ":");
        if (length >= sizeof part)
            die("a path in the environment is too long", 0);
        memcpy(part, list, length);
        part[length] = '\0';
        if (length)
            each(part);
        list += length + (list[length] == ':');
    }
}

static void add_root(const char *path)
{
    if (root_count == MAXIMUM_ROOTS)
        die("more than 16 roots", 0);
    if (!realpath(path, roots[root_count]))
        die("a root in THERMOCLINE_POWER_LOSS_ROOTS cannot be resolved", errno);
    root_count++;
}

static int graveyard_count;

/* Keeps the shim's own descriptors out of the way of programs that expect low numbers. */
static int move_up(int descriptor)
{
    int high = (int)syscall(SYS_fcntl, descriptor, F_DUPFD_CLOEXEC, 800);
    if (high < 0)
        return descriptor;
    raw_close(descriptor);
    return high;
}

static void add_graveyard(const char *path)
{
    if (graveyard_count == MAXIMUM_ROOTS)
        die("more than 16 graveyards", 0);
    int folder = raw_openat(AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (folder < 0)
        die("a folder in THERMOCLINE_POWER_LOSS_GRAVEYARD cannot be opened", errno);
    graveyards[graveyard_count++] = move_up(folder);
}

static void after_fork_in_child(void)
{
    owner_process = (pid_t)syscall(SYS_getpid);
    renew_locks();
}

/* A program started by a watched one may inherit descriptors of watched files. */
static void adopt_inherited(void)
{
    for (int descriptor = 0; descriptor < 800; descriptor++)
        watch(descriptor);
}

__attribute__((constructor)) static void configure(void)
{
    int saved = errno;
    owner_process = (pid_t)syscall(SYS_getpid);
    faults_configure();

    const char *log = getenv("THERMOCLINE_POWER_LOSS_LOG");
    if (log) {
        split(getenv("THERMOCLINE_POWER_LOSS_ROOTS"), add_root);
        split(getenv("THERMOCLINE_POWER_LOSS_GRAVEYARD"), add_graveyard);
        if (root_count == 0)
            die("THERMOCLINE_POWER_LOSS_ROOTS names no folder", 0);
        if (graveyard_count != 1 && graveyard_count != root_count)
            die("THERMOCLINE_POWER_LOSS_GRAVEYARD must name one folder, or one per root", 0);
        for (int i = graveyard_count; i < root_count; i++)
            graveyards[i] = graveyards[0];
        int opened = raw_openat(AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
        if (opened < 0)
            die("the log named by THERMOCLINE_POWER_LOSS_LOG cannot be opened", errno);
        log_descriptor = move_up(opened);

        struct payload start = {0};
        put_u64(&start, (uint64_t)owner_process);
        log_payload(RECORD_START, &start);
    }
    /* Without this a child forked while another thread writes would find a lock held for ever. */
    if (pthread_atfork(lock_all, unlock_all, after_fork_in_child) != 0)
        die("pthread_atfork failed", errno);
    shim_ready = true;
    adopt_inherited();
    errno = saved;
}
