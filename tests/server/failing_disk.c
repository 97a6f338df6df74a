/*
 * A disk that is full, or that cannot be read. Preloaded into a server, it lets calls on one file fail.
 *
 * The file named by FAILING_DISK says which: a part of the file's path, then "write" (ENOSPC, where a file
 * would become longer) or "read" (EIO). If it is missing or empty, nothing fails.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int fails(int fd, const char *what) {
    char order[256], path[4096], link[64];
    const char *control = getenv("FAILING_DISK");
    int file = control ? open(control, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return 0;
    ssize_t length = read(file, order, sizeof order - 1);
    close(file);
    if (length <= 0)
        return 0;
    order[length] = 0;
    char *mode = strchr(order, ' ');
    if (!mode || strncmp(mode + 1, what, strlen(what)) != 0)
        return 0;
    *mode = 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof path - 1);
    if (length <= 0)
        return 0;
    path[length] = 0;
    return strstr(path, order) != NULL;
}

/* Whether the disk has no room for bytes up to `end`. */
static int is_full(int fd, off64_t end) {
    struct stat64 now;
    return fails(fd, "write") && fstat64(fd, &now) == 0 && end > now.st_size;
}

static off64_t sum(const struct iovec *parts, int count) {
    off64_t all = 0;
    for (int i = 0; i < count; i++)
        all += parts[i].iov_len;
    return all;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAIL_IF(condition, error) \
    if (condition) {              \
        errno = error;            \
        return -1;                \
    }

ssize_t pwrite64(int fd, const void *buffer, size_t count, off64_t at) {
    FAIL_IF(is_full(fd, at + count), ENOSPC);
    return NEXT(pwrite64)(fd, buffer, count, at);
}

ssize_t pwrite(int fd, const void *buffer, size_t count, off_t at) {
    FAIL_IF(is_full(fd, at + count), ENOSPC);
    return NEXT(pwrite)(fd, buffer, count, at);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    FAIL_IF(is_full(fd, at + sum(parts, count)), ENOSPC);
    return NEXT(pwritev)(fd, parts, count, at);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
    FAIL_IF(is_full(fd, at + sum(parts, count)), ENOSPC);
    return NEXT(pwritev64)(fd, parts, count, at);
}

ssize_t pread(int fd, void *buffer, size_t count, off_t at) {
    FAIL_IF(fails(fd, "read"), EIO);
    return NEXT(pread)(fd, buffer, count, at);
}

ssize_t pread64(int fd, void *buffer, size_t count, off64_t at) {
    FAIL_IF(fails(fd, "read"), EIO);
    return NEXT(pread64)(fd, buffer, count, at);
}

ssize_t preadv(int fd, const struct iovec *parts, int count, off_t at) {
    FAIL_IF(fails(fd, "read"), EIO);
    return NEXT(preadv)(fd, parts, count, at);
}

ssize_t preadv64(int fd, const struct iovec *parts, int count, off64_t at) {
    FAIL_IF(fails(fd, "read"), EIO);
    return NEXT(preadv64)(fd, parts, count, at);
}

/* These return the error. */
int posix_fallocate(int fd, off_t at, off_t length) {
    return is_full(fd, at + length) ? ENOSPC : NEXT(posix_fallocate)(fd, at, length);
}

int posix_fallocate64(int fd, off64_t at, off64_t length) {
    return is_full(fd, at + length) ? ENOSPC : NEXT(posix_fallocate64)(fd, at, length);
}
