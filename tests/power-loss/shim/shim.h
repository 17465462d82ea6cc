/*
 * What the parts of the shim share: raw system calls, the descriptor table, the recorder and the injected faults.
 *
 * Contract: every call into the kernel made by the shim itself is a raw system call, so that no part of the shim can
 * re-enter an interposed function, and the shim works before and during the program's own constructors.
 *
 * Lock order: names_lock, then one stripe. Nothing sleeps for a throttle while holding either.
 */
#ifndef THERMOCLINE_POWER_LOSS_SHIM_H
#define THERMOCLINE_POWER_LOSS_SHIM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

/* Descriptors from here on cannot be watched; opening one below a watched folder ends the program. */
#define DESCRIPTORS 65536
#define MAXIMUM_ROOTS 16
#define MAXIMUM_FAULTS 16
/* Files share locks by inode number; more stripes only mean fewer files that wait for each other. */
#define STRIPES 256
/* Bytes of overwritten data per log record. */
#define PREIMAGE_BYTES (1u << 20)

enum kind { KIND_FILE = 1, KIND_DIRECTORY = 2, KIND_SYMLINK = 3, KIND_OTHER = 4 };

/* Record kinds; src/record.rs reads them. */
enum record {
    RECORD_START = 1,
    RECORD_CREATE = 2,
    RECORD_LINK = 3,
    RECORD_UNLINK = 4,
    RECORD_RENAME = 5,
    RECORD_WRITE = 6,
    RECORD_PREIMAGE = 7,
    RECORD_RESIZE = 8,
    RECORD_FILE_SYNC_BEGIN = 9,
    RECORD_FOLDER_SYNC_BEGIN = 10,
    RECORD_SYNC_DONE = 11,
    RECORD_BASELINE = 12, /* written by the library, before the first process starts */
};

/* Which roots and faults a path falls under; -1 is none. */
struct scope {
    int root;
    int throttle;
    int no_space;
    int marks;
};

struct descriptor {
    _Atomic uint32_t watched; /* 0: the fields below mean nothing */
    uint64_t device;
    uint64_t inode;
    struct scope scope;
    enum kind kind;
};

/* A directory entry named by a call: its folder, held open, and its name in it. */
struct place {
    int folder; /* O_PATH descriptor, -1 if the call is none of the shim's business */
    uint64_t device;
    uint64_t inode;
    struct scope scope;
    char name[NAME_MAX + 1];
};

/* configuration.c */
extern bool shim_ready;
extern int log_descriptor; /* -1: faults only, nothing is recorded */
extern int graveyards[MAXIMUM_ROOTS];
extern pid_t owner_process;
struct scope scope_of(const char *path);
void die(const char *what, int error) __attribute__((noreturn));

/* descriptors.c */
bool watched(int descriptor, struct descriptor *into);
void watch(int descriptor);
void forget(int descriptor);
void forget_range(unsigned first, unsigned last);
void copy_watch(int from, int to);
bool descriptor_path(int descriptor, char path[PATH_MAX]);
bool find_place(int folder, const char *path, struct place *place);
void leave_place(struct place *place);

/* log.c */
extern pthread_mutex_t names_lock;
pthread_mutex_t *stripe_of(uint64_t inode);
void lock_all(void);
void unlock_all(void);
void renew_locks(void);
uint64_t next_operation(void);
void log_record(enum record kind, const struct iovec *parts, int count);

/* A small payload under construction. */
struct payload {
    size_t length;
    unsigned char bytes[1024];
};
void put_u8(struct payload *payload, uint8_t value);
void put_u64(struct payload *payload, uint64_t value);
void put_name(struct payload *payload, const char *name);
void put_node(struct payload *payload, uint64_t device, uint64_t inode);
void log_payload(enum record kind, const struct payload *payload);

/* faults.c */
void faults_configure(void);
int throttle_of(const char *path);
int no_space_of(const char *path);
int marks_of(const char *path);
void throttle(const struct descriptor *descriptor, uint64_t bytes);
bool out_of_space(const struct descriptor *descriptor);
bool has_mark(int file, const struct descriptor *descriptor, const char *suffix);

/* data.c */
int tracked_truncate(int descriptor, const struct descriptor *watch, uint64_t length);

static inline enum kind kind_of(mode_t mode)
{
    return S_ISREG(mode) ? KIND_FILE : S_ISDIR(mode) ? KIND_DIRECTORY : S_ISLNK(mode) ? KIND_SYMLINK : KIND_OTHER;
}

static inline bool recorded(const struct scope *scope)
{
    return log_descriptor >= 0 && scope->root >= 0;
}

static inline int raw_openat(int folder, const char *path, int flags, mode_t mode)
{
    return (int)syscall(SYS_openat, folder, path, flags, mode);
}

static inline int raw_close(int descriptor) { return (int)syscall(SYS_close, descriptor); }

static inline int raw_fstatat(int folder, const char *path, struct stat *into, int flags)
{
    return (int)syscall(SYS_newfstatat, folder, path, into, flags);
}

static inline int raw_fstat(int descriptor, struct stat *into) { return (int)syscall(SYS_fstat, descriptor, into); }

#endif
