/*
 * File contents: every change of a recorded file is logged before it is made, with the bytes it overwrites, so that a reader can
 * undo it. The file's stripe is held from the look at its size to the end of the change.
 *
 * Not durable here, on purpose: sync_file_range, sync, syncfs, O_SYNC and O_DSYNC. Not seen: writes through mmap and stdio's own buffers.
 */
#include "shim.h"

#include <sys/mman.h>
#include <sys/sendfile.h>

/* The span of one change. `position` < 0: at the descriptor's own offset. */
struct change {
    int64_t position;
    uint64_t length;
};

/* Logs bytes [from, to) of the file as they are now. Works for descriptors that are open for writing only. */
static void log_preimage(int descriptor, const struct descriptor *watch, uint64_t operation, uint64_t from, uint64_t to)
{
    if (from >= to)
        return;
    char link[32] = "/proc/self/fd/";
    size_t end = strlen(link);
    char digits[12];
    int count = 0;
    for (int rest = descriptor; count == 0 || rest; rest /= 10)
        digits[count++] = (char)('0' + rest % 10);
    while (count)
        link[end++] = digits[--count];
    link[end] = '\0';

    int reader = raw_openat(AT_FDCWD, link, O_RDONLY | O_CLOEXEC, 0);
    if (reader < 0)
        die("a file cannot be read before it is overwritten", errno);
    uint64_t span = to - from < PREIMAGE_BYTES ? to - from : PREIMAGE_BYTES;
    void *buffer = mmap(NULL, span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (buffer == MAP_FAILED)
        die("no memory to save what is overwritten", errno);
    while (from < to) {
        uint64_t wanted = to - from < span ? to - from : span;
        ssize_t got = syscall(SYS_pread64, reader, buffer, wanted, from);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            die("a file cannot be read before it is overwritten", errno);
        if (got == 0)
            break; /* a change without the shim shortened it; nothing to save */
        struct payload head = {0};
        put_node(&head, watch->device, watch->inode);
        put_u64(&head, operation);
        put_u64(&head, from);
        struct iovec parts[] = {{head.bytes, head.length}, {buffer, (size_t)got}};
        log_record(RECORD_PREIMAGE, parts, 2);
        from += (uint64_t)got;
    }
    munmap(buffer, span);
    raw_close(reader);
}

/*
 * Locks the file and logs a write of `change`. False, unlocked, where the descriptor is no longer that file: something closed it
 * behind the shim's back.
 */
static bool begin_write(int descriptor, const struct descriptor *watch, struct change change)
{
    struct stat status;
    pthread_mutex_lock(stripe_of(watch->inode));
    if (raw_fstat(descriptor, &status) != 0 || status.st_ino != watch->inode || status.st_dev != watch->device) {
        pthread_mutex_unlock(stripe_of(watch->inode));
        forget(descriptor);
        return false;
    }
    uint64_t size = (uint64_t)status.st_size, from;
    if (syscall(SYS_fcntl, descriptor, F_GETFL) & O_APPEND) {
        from = size;
    } else if (change.position >= 0) {
        from = (uint64_t)change.position;
    } else {
        long offset = syscall(SYS_lseek, descriptor, 0, SEEK_CUR);
        if (offset < 0)
            die("the offset of a watched file cannot be read", errno);
        from = (uint64_t)offset;
    }
    uint64_t operation = next_operation();
    if (from < size)
        log_preimage(descriptor, watch, operation, from, from + change.length < size ? from + change.length : size);
    struct payload payload = {0};
    put_node(&payload, watch->device, watch->inode);
    put_u64(&payload, operation);
    put_u64(&payload, from);
    put_u64(&payload, change.length);
    put_u64(&payload, size);
    log_payload(RECORD_WRITE, &payload);
    return true;
}

static void end_change(const struct descriptor *watch)
{
    int saved = errno;
    pthread_mutex_unlock(stripe_of(watch->inode));
    errno = saved;
}

/* Runs `call` as a recorded, throttled write of a watched descriptor; as it is for all others. */
#define WRITING(descriptor_, position_, length_, call)                                                                                \
    do {                                                                                                                              \
        struct descriptor watch_;                                                                                                     \
        if (!watched((descriptor_), &watch_) || watch_.kind != KIND_FILE)                                                             \
            return (call);                                                                                                            \
        struct change change_ = {(position_), (length_)};                                                                             \
        if (out_of_space(&watch_)) {                                                                                                  \
            errno = ENOSPC;                                                                                                           \
            return -1;                                                                                                                \
        }                                                                                                                             \
        throttle(&watch_, change_.length);                                                                                            \
        if (!recorded(&watch_.scope) || !begin_write((descriptor_), &watch_, change_))                                                \
            return (call);                                                                                                            \
        ssize_t result_ = (call);                                                                                                     \
        end_change(&watch_);                                                                                                          \
        return result_;                                                                                                               \
    } while (0)

static uint64_t total(const struct iovec *parts, int count)
{
    uint64_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += parts[i].iov_len;
    return bytes;
}

EXPORT ssize_t write(int descriptor, const void *bytes, size_t length)
{
    WRITING(descriptor, -1, length, syscall(SYS_write, descriptor, bytes, length));
}

EXPORT ssize_t pwrite64(int descriptor, const void *bytes, size_t length, off64_t at)
{
    if (at < 0) {
        errno = EINVAL;
        return -1;
    }
    WRITING(descriptor, at, length, syscall(SYS_pwrite64, descriptor, bytes, length, at));
}

EXPORT ssize_t pwrite(int descriptor, const void *bytes, size_t length, off_t at) { return pwrite64(descriptor, bytes, length, at); }

EXPORT ssize_t writev(int descriptor, const struct iovec *parts, int count)
{
    WRITING(descriptor, -1, total(parts, count), syscall(SYS_writev, descriptor, parts, count));
}

EXPORT ssize_t pwritev64v2(int descriptor, const struct iovec *parts, int count, off64_t at, int flags)
{
    WRITING(descriptor, at, total(parts, count), syscall(SYS_pwritev2, descriptor, parts, count, at, 0L, flags));
}

EXPORT ssize_t pwritev2(int descriptor, const struct iovec *parts, int count, off_t at, int flags)
{
    return pwritev64v2(descriptor, parts, count, at, flags);
}

EXPORT ssize_t pwritev64(int descriptor, const struct iovec *parts, int count, off64_t at)
{
    if (at < 0) {
        errno = EINVAL;
        return -1;
    }
    WRITING(descriptor, at, total(parts, count), syscall(SYS_pwritev, descriptor, parts, count, at, 0L));
}

EXPORT ssize_t pwritev(int descriptor, const struct iovec *parts, int count, off_t at) { return pwritev64(descriptor, parts, count, at); }

/* An unreadable source; copies within the kernel read theirs too. */
#define FROM(descriptor_)                                                                                                             \
    do {                                                                                                                              \
        struct descriptor source_;                                                                                                    \
        if (watched((descriptor_), &source_) && has_mark((descriptor_), &source_, ".unreadable")) {                                   \
            errno = EIO;                                                                                                              \
            return -1;                                                                                                                \
        }                                                                                                                             \
    } while (0)

EXPORT ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t length, unsigned flags)
{
    FROM(from);
    WRITING(to, to_at ? *to_at : -1, length, syscall(SYS_copy_file_range, from, from_at, to, to_at, length, flags));
}

EXPORT ssize_t sendfile64(int to, int from, off64_t *from_at, size_t length)
{
    FROM(from);
    WRITING(to, -1, length, syscall(SYS_sendfile, to, from, from_at, length));
}

EXPORT ssize_t sendfile(int to, int from, off_t *from_at, size_t length) { return sendfile64(to, from, from_at, length); }

EXPORT ssize_t splice(int from, off64_t *from_at, int to, off64_t *to_at, size_t length, unsigned flags)
{
    FROM(from);
    WRITING(to, to_at ? *to_at : -1, length, syscall(SYS_splice, from, from_at, to, to_at, length, flags));
}

/* Logs that the size goes from what it is to `length`, with the bytes that [from, to) loses. The stripe is held. */
static void log_resize(int descriptor, const struct descriptor *watch, uint64_t size, uint64_t length, uint64_t from, uint64_t to)
{
    uint64_t operation = next_operation();
    log_preimage(descriptor, watch, operation, from, to);
    struct payload payload = {0};
    put_node(&payload, watch->device, watch->inode);
    put_u64(&payload, operation);
    put_u64(&payload, size);
    put_u64(&payload, length);
    log_payload(RECORD_RESIZE, &payload);
}

int tracked_truncate(int descriptor, const struct descriptor *watch, uint64_t length)
{
    struct stat status;
    pthread_mutex_lock(stripe_of(watch->inode));
    if (raw_fstat(descriptor, &status) == 0 && status.st_ino == watch->inode && status.st_dev == watch->device &&
        (uint64_t)status.st_size != length)
        log_resize(descriptor, watch, (uint64_t)status.st_size, length, length, (uint64_t)status.st_size);
    int result = (int)syscall(SYS_ftruncate, descriptor, length);
    end_change(watch);
    return result;
}

EXPORT int ftruncate64(int descriptor, off64_t length)
{
    struct descriptor watch;
    if (length < 0 || !watched(descriptor, &watch) || watch.kind != KIND_FILE || !recorded(&watch.scope))
        return (int)syscall(SYS_ftruncate, descriptor, length);
    return tracked_truncate(descriptor, &watch, (uint64_t)length);
}

EXPORT int ftruncate(int descriptor, off_t length) { return ftruncate64(descriptor, length); }

EXPORT int truncate64(const char *path, off64_t length)
{
    if (!shim_ready || log_descriptor < 0)
        return (int)syscall(SYS_truncate, path, length);
    int descriptor = raw_openat(AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    if (descriptor < 0)
        return -1;
    watch(descriptor);
    int result = ftruncate64(descriptor, length);
    int saved = errno;
    forget(descriptor);
    raw_close(descriptor);
    errno = saved;
    return result;
}

EXPORT int truncate(const char *path, off_t length) { return truncate64(path, length); }

EXPORT int fallocate64(int descriptor, int mode, off64_t at, off64_t length)
{
    struct descriptor watch;
    struct stat status;
    if (!watched(descriptor, &watch) || watch.kind != KIND_FILE)
        return (int)syscall(SYS_fallocate, descriptor, mode, at, length);
    if (out_of_space(&watch)) {
        errno = ENOSPC;
        return -1;
    }
    if (!recorded(&watch.scope) || at < 0 || length <= 0)
        return (int)syscall(SYS_fallocate, descriptor, mode, at, length);
    if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
        errno = EOPNOTSUPP; /* shifts of whole extents cannot be undone from bytes alone */
        return -1;
    }
    pthread_mutex_lock(stripe_of(watch.inode));
    if (raw_fstat(descriptor, &status) == 0) {
        uint64_t size = (uint64_t)status.st_size, end = (uint64_t)at + (uint64_t)length;
        uint64_t after = !(mode & FALLOC_FL_KEEP_SIZE) && end > size ? end : size;
        bool erases = mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE);
        uint64_t until = end < size ? end : size;
        /* Blocks reserved beyond the end are not visible as content. */
        if (after != size || (erases && (uint64_t)at < until))
            log_resize(descriptor, &watch, size, after, (uint64_t)at, erases ? until : 0);
    }
    int result = (int)syscall(SYS_fallocate, descriptor, mode, at, length);
    end_change(&watch);
    return result;
}

EXPORT int fallocate(int descriptor, int mode, off_t at, off_t length) { return fallocate64(descriptor, mode, at, length); }

EXPORT int posix_fallocate64(int descriptor, off64_t at, off64_t length)
{
    int saved = errno;
    int result = fallocate64(descriptor, 0, at, length) == 0 ? 0 : errno;
    errno = saved;
    return result;
}

EXPORT int posix_fallocate(int descriptor, off_t at, off_t length) { return posix_fallocate64(descriptor, at, length); }

/* Reads are watched for the faults alone. */
#define READING(descriptor_, length_, call)                                                                                           \
    do {                                                                                                                              \
        struct descriptor watch_;                                                                                                     \
        FROM(descriptor_);                                                                                                            \
        if (watched((descriptor_), &watch_) && watch_.scope.throttle >= 0)                                                            \
            throttle(&watch_, (length_));                                                                                             \
        return (call);                                                                                                                \
    } while (0)

EXPORT ssize_t read(int descriptor, void *into, size_t length)
{
    READING(descriptor, length, syscall(SYS_read, descriptor, into, length));
}

EXPORT ssize_t pread64(int descriptor, void *into, size_t length, off64_t at)
{
    READING(descriptor, length, syscall(SYS_pread64, descriptor, into, length, at));
}

EXPORT ssize_t pread(int descriptor, void *into, size_t length, off_t at) { return pread64(descriptor, into, length, at); }

EXPORT ssize_t readv(int descriptor, const struct iovec *parts, int count)
{
    READING(descriptor, total(parts, count), syscall(SYS_readv, descriptor, parts, count));
}

EXPORT ssize_t preadv64(int descriptor, const struct iovec *parts, int count, off64_t at)
{
    READING(descriptor, total(parts, count), syscall(SYS_preadv, descriptor, parts, count, at, 0L));
}

EXPORT ssize_t preadv(int descriptor, const struct iovec *parts, int count, off_t at) { return preadv64(descriptor, parts, count, at); }
