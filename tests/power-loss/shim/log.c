/*
 * Appends records to the log, one system call each, and owns the locks that order them.
 *
 * Record: magic u32, kind u32, payload length u32, FNV-1a of kind, length and payload u32, payload; little endian. A kill can tear
 * the record being written, never an earlier one: a reader skips to the next frame whose sum is right.
 */
#include "shim.h"

#define MAGIC 0x4c505443u /* "CTPL" */

pthread_mutex_t names_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t stripes[STRIPES] = {[0 ... STRIPES - 1] = PTHREAD_MUTEX_INITIALIZER};
static _Atomic uint32_t operations;

pthread_mutex_t *stripe_of(uint64_t inode) { return &stripes[(inode * 0x9E3779B97F4A7C15ull) >> 56]; }

void lock_all(void)
{
    pthread_mutex_lock(&names_lock);
    for (int i = 0; i < STRIPES; i++)
        pthread_mutex_lock(&stripes[i]);
}

void unlock_all(void)
{
    for (int i = STRIPES - 1; i >= 0; i--)
        pthread_mutex_unlock(&stripes[i]);
    pthread_mutex_unlock(&names_lock);
}

void renew_locks(void)
{
    pthread_mutex_init(&names_lock, NULL);
    for (int i = 0; i < STRIPES; i++)
        pthread_mutex_init(&stripes[i], NULL);
}

/* Unique over all processes that append to one log. */
uint64_t next_operation(void) { return (uint64_t)owner_process << 32 | atomic_fetch_add(&operations, 1); }

static uint32_t sum(uint32_t state, const void *bytes, size_t length)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < length; i++)
        state = (state ^ at[i]) * 16777619u;
    return state;
}

void log_record(enum record kind, const struct iovec *parts, int count)
{
    struct {
        uint32_t magic, kind, length, sum;
    } head = {MAGIC, (uint32_t)kind, 0, 2166136261u};
    struct iovec all[8] = {{&head, sizeof head}};
    size_t total = 0;
    for (int i = 0; i < count; i++) {
        all[i + 1] = parts[i];
        total += parts[i].iov_len;
    }
    if (total > UINT32_MAX)
        die("a record is too long", 0);
    head.length = (uint32_t)total;
    head.sum = sum(head.sum, &head.kind, 8);
    for (int i = 0; i < count; i++)
        head.sum = sum(head.sum, parts[i].iov_base, parts[i].iov_len);

    ssize_t written = syscall(SYS_writev, log_descriptor, all, count + 1);
    if (written != (ssize_t)(sizeof head + total))
        die("the log cannot be written", written < 0 ? errno : ENOSPC);
}

static void put(struct payload *payload, const void *bytes, size_t length)
{
    if (payload->length + length > sizeof payload->bytes)
        die("a payload is too long", 0);
    memcpy(payload->bytes + payload->length, bytes, length);
    payload->length += length;
}

void put_u8(struct payload *payload, uint8_t value) { put(payload, &value, 1); }

void put_u64(struct payload *payload, uint64_t value) { put(payload, &value, 8); }

void put_node(struct payload *payload, uint64_t device, uint64_t inode)
{
    put_u64(payload, device);
    put_u64(payload, inode);
}

void put_name(struct payload *payload, const char *name)
{
    uint16_t length = (uint16_t)strlen(name);
    put(payload, &length, 2);
    put(payload, name, length);
}

void log_payload(enum record kind, const struct payload *payload)
{
    struct iovec part = {(void *)payload->bytes, payload->length};
    log_record(kind, &part, 1);
}
