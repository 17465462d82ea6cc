/*
 * fsync and fdatasync: the only calls that make something durable.
 *
 * A sync is two records. What counts as durable is what was complete when the first was written; it counts only if the second is
 * there, so a sync that the kill cut short promised nothing. Changes made while the device works are not covered.
 */
#include "shim.h"

#include <sys/mman.h>

/* As the kernel hands it out; glibc's struct dirent is not the same on all machines. */
struct kernel_entry {
    uint64_t inode;
    int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[];
};

struct listing {
    unsigned char *bytes;
    size_t length, capacity;
};

static void grow(struct listing *listing, size_t more)
{
    if (listing->length + more <= listing->capacity)
        return;
    size_t capacity = listing->capacity * 2;
    void *larger = mremap(listing->bytes, listing->capacity, capacity, MREMAP_MAYMOVE);
    if (larger == MAP_FAILED)
        die("no memory to list a folder", errno);
    listing->bytes = larger;
    listing->capacity = capacity;
}

static void append(struct listing *listing, const void *bytes, size_t length)
{
    memcpy(listing->bytes + listing->length, bytes, length);
    listing->length += length;
}

/* All entries of the folder: device, inode, kind and name each. names_lock is held. */
static void list(int folder, struct listing *into)
{
    char buffer[8192] __attribute__((aligned(8)));
    int reader = raw_openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (reader < 0)
        die("a folder cannot be listed", errno);
    into->capacity = 1u << 16;
    into->length = 0;
    into->bytes = mmap(NULL, into->capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (into->bytes == MAP_FAILED)
        die("no memory to list a folder", errno);
    for (;;) {
        long got = syscall(SYS_getdents64, reader, buffer, sizeof buffer);
        if (got < 0)
            die("a folder cannot be listed", errno);
        if (got == 0)
            break;
        for (long at = 0; at < got;) {
            struct kernel_entry *entry = (struct kernel_entry *)(buffer + at);
            struct stat status;
            at += entry->length;
            if (strcmp(entry->name, ".") == 0 || strcmp(entry->name, "..") == 0)
                continue;
            /* Not the entry's own number: overlay file systems show another one there than in stat. */
            if (raw_fstatat(reader, entry->name, &status, AT_SYMLINK_NOFOLLOW) != 0)
                continue;
            struct payload payload = {0};
            put_node(&payload, status.st_dev, status.st_ino);
            put_u8(&payload, (uint8_t)kind_of(status.st_mode));
            put_name(&payload, entry->name);
            grow(into, payload.length);
            append(into, payload.bytes, payload.length);
        }
    }
    raw_close(reader);
}

static void log_begin(int descriptor, const struct descriptor *watch, uint64_t operation)
{
    struct payload head = {0};
    put_u64(&head, operation);
    put_node(&head, watch->device, watch->inode);
    if (watch->kind == KIND_FILE) {
        /* The stripe: no change of the file is half done at this point of the log. */
        pthread_mutex_lock(stripe_of(watch->inode));
        log_payload(RECORD_FILE_SYNC_BEGIN, &head);
        pthread_mutex_unlock(stripe_of(watch->inode));
        return;
    }
    struct listing listing;
    pthread_mutex_lock(&names_lock);
    list(descriptor, &listing);
    struct iovec parts[] = {{head.bytes, head.length}, {listing.bytes, listing.length}};
    log_record(RECORD_FOLDER_SYNC_BEGIN, parts, 2);
    pthread_mutex_unlock(&names_lock);
    munmap(listing.bytes, listing.capacity);
}

static int sync_with(int descriptor, long call)
{
    struct descriptor watch_now;
    struct stat status;
    if (!shim_ready)
        return (int)syscall(call, descriptor);
    if (!watched(descriptor, &watch_now) || raw_fstat(descriptor, &status) != 0 || status.st_ino != watch_now.inode ||
        status.st_dev != watch_now.device) {
        /* opendir and stdio open behind the shim's back; a sync is rare and slow enough to look again. */
        watch(descriptor);
        if (!watched(descriptor, &watch_now))
            return (int)syscall(call, descriptor);
    }
    if (has_mark(descriptor, &watch_now, ".unsyncable")) {
        errno = EIO;
        return -1;
    }
    throttle(&watch_now, 4096);
    if (!recorded(&watch_now.scope))
        return (int)syscall(call, descriptor);

    uint64_t operation = next_operation();
    log_begin(descriptor, &watch_now, operation);
    int result = (int)syscall(call, descriptor);
    if (result == 0) {
        struct payload done = {0};
        put_u64(&done, operation);
        log_payload(RECORD_SYNC_DONE, &done);
    }
    return result;
}

EXPORT int fsync(int descriptor) { return sync_with(descriptor, SYS_fsync); }

EXPORT int fdatasync(int descriptor) { return sync_with(descriptor, SYS_fdatasync); }
