/*
 * Injected faults: slow devices, full devices and files that cannot be read or synced, by path prefix.
 *
 * THERMOCLINE_THROTTLE       "prefix=bytes_per_second,..."; 0 is unlimited
 * THERMOCLINE_THROTTLE_RATES a file of little-endian u64, one per prefix in that order, that overrides the rates while the program runs
 * THERMOCLINE_NOSPACE_FLAG   "prefix=flag_path,..."; while the flag exists, writes below the prefix fail with ENOSPC
 * THERMOCLINE_MARKS          "prefix=on,..."; below the prefix, while a file PATH.unreadable exists, reads of the file PATH fail with EIO,
 *                            and while PATH.unsyncable exists syncs of the file or folder PATH do
 *
 * A throttled prefix is one device: all its reads and writes queue up behind each other, a sync costs one block of 4096 bytes.
 */
#include "shim.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#define SECOND 1000000000ull
/* A change of the rate is noticed within this time even by calls that already wait. */
#define SLICE 20000000ull

static struct device {
    char prefix[PATH_MAX];
    uint64_t rate;
    _Atomic uint64_t busy_until; /* nanoseconds of the monotonic clock */
    _Atomic uint64_t last_rate;
} devices[MAXIMUM_FAULTS];
static int device_count;
static const _Atomic uint64_t *rates; /* shared with whoever controls the test */

static struct {
    char prefix[PATH_MAX];
    char flag[PATH_MAX];
} full[MAXIMUM_FAULTS];
static int full_count;

static char marked[MAXIMUM_FAULTS][PATH_MAX];
static int marked_count;

/* Takes one "prefix=value" off the list. The value is copied to `value`. */
static const char *next_pair(const char *list, char prefix[PATH_MAX], char value[PATH_MAX])
{
    char given[PATH_MAX];
    size_t name = strcspn(list, "="), end = strcspn(list, ",");
    if (name >= end || name >= PATH_MAX || end - name > PATH_MAX)
        die("a fault in the environment is not of the form prefix=value", 0);
    memcpy(given, list, name);
    given[name] = '\0';
    memcpy(value, list + name + 1, end - name - 1);
    value[end - name - 1] = '\0';
    if (!realpath(given, prefix))
        die("the prefix of a fault in the environment cannot be resolved", errno);
    return list + end + (list[end] == ',');
}

void faults_configure(void)
{
    char value[PATH_MAX];
    const char *list = getenv("THERMOCLINE_THROTTLE");
    while (list && *list) {
        if (device_count == MAXIMUM_FAULTS)
            die("more than 16 throttled prefixes", 0);
        list = next_pair(list, devices[device_count].prefix, value);
        char *end;
        devices[device_count].rate = strtoull(value, &end, 10);
        if (end == value || *end)
            die("a rate in THERMOCLINE_THROTTLE is not a number", 0);
        device_count++;
    }
    const char *path = getenv("THERMOCLINE_THROTTLE_RATES");
    if (path && device_count) {
        struct stat status;
        int file = raw_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
        if (file < 0 || raw_fstat(file, &status) != 0)
            die("the file named by THERMOCLINE_THROTTLE_RATES cannot be opened", errno);
        if ((uint64_t)status.st_size < (uint64_t)device_count * 8)
            die("the file named by THERMOCLINE_THROTTLE_RATES is shorter than its prefixes need", 0);
        void *page = mmap(NULL, (size_t)device_count * 8, PROT_READ, MAP_SHARED, file, 0);
        if (page == MAP_FAILED)
            die("the file named by THERMOCLINE_THROTTLE_RATES cannot be mapped", errno);
        rates = page;
        raw_close(file);
    }
    list = getenv("THERMOCLINE_NOSPACE_FLAG");
    while (list && *list) {
        if (full_count == MAXIMUM_FAULTS)
            die("more than 16 prefixes without space", 0);
        list = next_pair(list, full[full_count].prefix, full[full_count].flag);
        full_count++;
    }
    list = getenv("THERMOCLINE_MARKS");
    while (list && *list) {
        if (marked_count == MAXIMUM_FAULTS)
            die("more than 16 prefixes with marks", 0);
        list = next_pair(list, marked[marked_count++], value);
    }
}

static bool below(const char *path, const char *folder)
{
    size_t length = strlen(folder);
    return strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

int throttle_of(const char *path)
{
    for (int i = 0; i < device_count; i++)
        if (below(path, devices[i].prefix))
            return i;
    return -1;
}

int no_space_of(const char *path)
{
    for (int i = 0; i < full_count; i++)
        if (below(path, full[i].prefix))
            return i;
    return -1;
}

int marks_of(const char *path)
{
    for (int i = 0; i < marked_count; i++)
        if (below(path, marked[i]))
            return i;
    return -1;
}

bool has_mark(int file, const struct descriptor *descriptor, const char *suffix)
{
    char path[PATH_MAX];
    int saved = errno;
    bool has = false;
    if (descriptor->scope.marks >= 0 && descriptor_path(file, path) && strlen(path) + strlen(suffix) < sizeof path) {
        strcat(path, suffix);
        has = syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == 0;
    }
    errno = saved;
    return has;
}

bool out_of_space(const struct descriptor *descriptor)
{
    int index = descriptor->scope.no_space, saved = errno;
    bool is = index >= 0 && syscall(SYS_faccessat, AT_FDCWD, full[index].flag, F_OK) == 0;
    errno = saved;
    return is;
}

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

static uint64_t rate_of(int index) { return rates ? atomic_load(&rates[index]) : devices[index].rate; }

/* Waits until the device would have finished with `bytes`. Holds no lock. */
void throttle(const struct descriptor *descriptor, uint64_t bytes)
{
    int index = descriptor->scope.throttle;
    if (index < 0 || bytes == 0)
        return;
    struct device *device = &devices[index];
    uint64_t rate = rate_of(index);
    if (atomic_exchange(&device->last_rate, rate) != rate)
        atomic_store(&device->busy_until, 0); /* the queue of the old rate is forgotten */
    if (rate == 0)
        return;

    int saved = errno;
    uint64_t cost = (uint64_t)((__uint128_t)bytes * SECOND / rate), done, busy = atomic_load(&device->busy_until);
    do {
        uint64_t start = now();
        done = (busy > start ? busy : start) + cost;
    } while (!atomic_compare_exchange_weak(&device->busy_until, &busy, done));
    for (uint64_t time = now(); time < done && rate_of(index) == rate; time = now()) {
        uint64_t wait = done - time < SLICE ? done - time : SLICE;
        struct timespec slice = {0, (long)wait};
        nanosleep(&slice, NULL);
    }
    errno = saved;
}
