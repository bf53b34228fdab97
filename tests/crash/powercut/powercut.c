/* Keeps a log of every write below one directory and of every sync, so that a test can tell what a power cut would
 * have left. Loaded with LD_PRELOAD. POWERCUT_LIVE names the directory, POWERCUT_LOG the log, POWERCUT_SYNC_US how
 * long a sync takes. The log is appended to under a lock, one record for each call that went through:
 *
 *     kind (1 byte), length of path (2), offset (8), length of data (4), path, data      little-endian
 *
 * W write, D write through an O_DSYNC descriptor, T truncate to offset, E extend to offset, S sync, R rename to data,
 * U unlink. A sync is only noted: what the process has written survives its own death in any case.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <limits.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = -1;
static char live[PATH_MAX];
static size_t live_len;
static long sync_us;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void start(void)
{
    const char *dir = getenv("POWERCUT_LIVE"), *log = getenv("POWERCUT_LOG"), *us = getenv("POWERCUT_SYNC_US");
    if (!dir || !log)
        return;
    snprintf(live, sizeof live, "%s/", dir);
    live_len = strlen(live);
    sync_us = us ? atol(us) : 0;
    log_fd = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static const char *below(const char *path)
{
    return log_fd >= 0 && strncmp(path, live, live_len) == 0 ? path + live_len : NULL;
}

static const char *path_of(int fd, char *path)
{
    char link[32];
    ssize_t n;
    if (log_fd < 0)
        return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, PATH_MAX - 1);
    if (n < 0)
        return NULL;
    path[n] = 0;
    return below(path);
}

static void note(char kind, const char *path, uint64_t offset, const void *data, uint32_t len)
{
    unsigned char head[15];
    uint16_t path_len = strlen(path);
    struct iovec parts[3] = {{head, sizeof head}, {(void *)path, path_len}, {(void *)data, len}};
    head[0] = kind;
    memcpy(head + 1, &path_len, 2);
    memcpy(head + 3, &offset, 8);
    memcpy(head + 11, &len, 4);
    if (syscall(SYS_writev, log_fd, parts, 3) != (long)(sizeof head + path_len + len))
        abort();
}

static char write_kind(int fd)
{
    return fcntl(fd, F_GETFL) & O_DSYNC ? 'D' : 'W';
}

static void note_vector(const char *path, char kind, off_t offset, const struct iovec *iov, ssize_t left)
{
    for (; left > 0; iov++) {
        ssize_t n = left < (ssize_t)iov->iov_len ? left : (ssize_t)iov->iov_len;
        note(kind, path, offset, iov->iov_base, n);
        offset += n;
        left -= n;
    }
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
    char buffer[PATH_MAX];
    const char *path = path_of(fd, buffer);
    int saved;
    ssize_t n;
    if (!path)
        return syscall(SYS_writev, fd, iov, count);
    pthread_mutex_lock(&lock);
    n = syscall(SYS_writev, fd, iov, count);
    saved = errno;
    if (n > 0)
        note_vector(path, write_kind(fd), lseek(fd, 0, SEEK_CUR) - n, iov, n);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return n;
}

ssize_t write(int fd, const void *data, size_t len)
{
    char buffer[PATH_MAX];
    struct iovec one = {(void *)data, len};
    return path_of(fd, buffer) ? writev(fd, &one, 1) : syscall(SYS_write, fd, data, len);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
    char buffer[PATH_MAX];
    const char *path = path_of(fd, buffer);
    int saved;
    ssize_t n;
    if (!path)
        return syscall(SYS_pwritev, fd, iov, count, (long)offset, 0L);
    pthread_mutex_lock(&lock);
    n = syscall(SYS_pwritev, fd, iov, count, (long)offset, 0L);
    saved = errno;
    if (n > 0)
        note_vector(path, write_kind(fd), offset, iov, n);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return n;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
    struct iovec one = {(void *)data, len};
    return pwritev(fd, &one, 1, offset);
}

int ftruncate(int fd, off_t size)
{
    char buffer[PATH_MAX];
    const char *path = path_of(fd, buffer);
    int result;
    pthread_mutex_lock(&lock);
    result = syscall(SYS_ftruncate, fd, size);
    if (result == 0 && path)
        note('T', path, size, "", 0);
    pthread_mutex_unlock(&lock);
    return result;
}

static void note_extended(int fd, const char *path, off_t size)
{
    struct stat now;
    if (path && fstat(fd, &now) == 0 && now.st_size >= size)
        note('E', path, size, "", 0);
}

int posix_fallocate(int fd, off_t offset, off_t len)
{
    char buffer[PATH_MAX];
    int result;
    pthread_mutex_lock(&lock);
    result = REAL(posix_fallocate)(fd, offset, len);
    if (result == 0)
        note_extended(fd, path_of(fd, buffer), offset + len);
    pthread_mutex_unlock(&lock);
    return result;
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
    char buffer[PATH_MAX];
    int result;
    pthread_mutex_lock(&lock);
    result = syscall(SYS_fallocate, fd, mode, offset, len);
    if (result == 0 && mode == 0)
        note_extended(fd, path_of(fd, buffer), offset + len);
    pthread_mutex_unlock(&lock);
    return result;
}

static int synced(int fd, long call)
{
    char buffer[PATH_MAX];
    const char *path = path_of(fd, buffer);
    struct timespec pause = {sync_us / 1000000, sync_us % 1000000 * 1000};
    if (!path)
        return syscall(call, fd);
    nanosleep(&pause, NULL);
    pthread_mutex_lock(&lock);
    note('S', path, 0, "", 0);
    pthread_mutex_unlock(&lock);
    return 0;
}

int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

int rename(const char *from, const char *to)
{
    const char *old = below(from), *new = below(to);
    int result;
    pthread_mutex_lock(&lock);
    result = syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    if (result == 0 && old && new)
        note('R', old, 0, new, strlen(new));
    pthread_mutex_unlock(&lock);
    return result;
}

int unlink(const char *name)
{
    const char *path = below(name);
    int result;
    pthread_mutex_lock(&lock);
    result = syscall(SYS_unlinkat, AT_FDCWD, name, 0);
    if (result == 0 && path)
        note('U', path, 0, "", 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int openat(int dir, const char *name, int flags, ...)
{
    char buffer[PATH_MAX];
    const char *path;
    va_list rest;
    int mode, fd;
    va_start(rest, flags);
    mode = va_arg(rest, int);
    va_end(rest);
    fd = syscall(SYS_openat, dir, name, flags, mode);
    if (fd >= 0 && flags & O_TRUNC && (path = path_of(fd, buffer))) {
        pthread_mutex_lock(&lock);
        note('T', path, 0, "", 0);
        pthread_mutex_unlock(&lock);
    }
    return fd;
}

int open(const char *name, int flags, ...)
{
    va_list rest;
    int mode;
    va_start(rest, flags);
    mode = va_arg(rest, int);
    va_end(rest);
    return openat(AT_FDCWD, name, flags, mode);
}

/* The names that programs built for large files call. */
ssize_t pwrite64(int fd, const void *data, size_t len, off_t offset) __attribute__((alias("pwrite")));
ssize_t pwritev64(int fd, const struct iovec *iov, int count, off_t offset) __attribute__((alias("pwritev")));
int ftruncate64(int fd, off_t size) __attribute__((alias("ftruncate")));
int posix_fallocate64(int fd, off_t offset, off_t len) __attribute__((alias("posix_fallocate")));
int fallocate64(int fd, int mode, off_t offset, off_t len) __attribute__((alias("fallocate")));
int open64(const char *name, int flags, ...) __attribute__((alias("open")));
int openat64(int dir, const char *name, int flags, ...) __attribute__((alias("openat")));
