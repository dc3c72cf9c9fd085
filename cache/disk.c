#include "cache/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "cache/counters.h"
#include "cache/directory.h"
#include "util/range.h"

#define MAGIC "mkmblk1"
#define PAUSE 30      /* seconds without storing after a failure */
#define LEAST_FREE 20 /* a 20th of the file system stays free */
#define STALE 3600    /* age in seconds of a temporary file left behind */
#define FOLDERS 256   /* by the first byte of the key */
#define SCAN_STEP 4   /* folders looked at before a block is stored */

/* What precedes a payload on disk; in the machine's byte order, since a cache
 * does not travel between kinds of machines. */
struct header {
	char magic[8];
	uint64_t key_high, key_low;
	uint64_t size;		    /* of the payload */
	uint64_t codec;		    /* 0: raw */
	uint64_t sum_high, sum_low; /* of the fields above and the payload */
};

/*
 * How much there is was not counted when the cache was opened: a large one has
 * a million files. Each store looks at a few folders more, until all are known;
 * until then, what is in the others beside our own blocks counts as nothing.
 */
struct usage {
	pthread_mutex_t lock;
	uint64_t size;		    /* bytes in known folders, and own ones */
	uint64_t own[FOLDERS];	    /* bytes we stored in unknown folders */
	unsigned n_known, n_looked; /* folders; looked at by some thread */
};

struct disk_cache {
	char *directory; /* owned; absolute */
	int fd;		 /* of the directory */
	uint64_t budget; /* 0: half of what is free, or is the cache's */
	uint64_t nonce;	 /* tells our temporary files from other processes' */
	struct usage usage;
	atomic_int_fast64_t paused_until; /* CLOCK_MONOTONIC seconds */
	atomic_uint_fast64_t n_temporary;
	atomic_uint_fast64_t loaded, absent, bad, stored, failed, no_room;
	atomic_uint_fast64_t bytes_loaded, bytes_stored;
};

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec;
}

static struct header make_header(struct digest key, const void *data,
				 size_t size)
{
	struct header header = {
		.magic = MAGIC,
		.key_high = key.high,
		.key_low = key.low,
		.size = size,
	};
	struct digest head = digest_of(
		&header, offsetof(struct header, sum_high), sizeof(header));
	struct digest sum = digest_of(data, size, head.high ^ head.low);

	header.sum_high = sum.high;
	header.sum_low = sum.low;
	return header;
}

/* "ab/cdef...": a folder by the first byte, a file by the rest. */
static void block_path(struct digest key, char path[48])
{
	char hex[33];

	digest_format(key, hex);
	snprintf(path, 48, "%.2s/%s", hex, hex + 2);
}

int disk_cache_open(const struct disk_options *options, struct disk_cache **ret,
		    struct error *err)
{
	AUTO(disk_cache) disk = calloc(1, sizeof(*disk));
	if (!disk)
		return error_set(err, -ENOMEM, "out of memory");
	disk->fd = -1;
	disk->budget = options->size;
	pthread_mutex_init(&disk->usage.lock, NULL);
	if (getrandom(&disk->nonce, sizeof(disk->nonce), GRND_NONBLOCK) < 0)
		disk->nonce = (uint64_t)now() << 32 ^ (uint64_t)getpid();
	disk->directory = strdup(options->directory);
	if (!disk->directory)
		return error_set(err, -ENOMEM, "out of memory");

	int r = directory_open(disk->directory, &disk->fd, err);
	if (r < 0)
		return r;
	/* For making it again: a daemon's working directory changes. */
	char *absolute = realpath(disk->directory, NULL);
	if (absolute) {
		free(disk->directory);
		disk->directory = absolute;
	}
	*ret = TAKE(disk);
	return 0;
}

void disk_cache_close(struct disk_cache *disk)
{
	if (!disk)
		return;
	if (disk->fd >= 0)
		close(disk->fd);
	pthread_mutex_destroy(&disk->usage.lock);
	free(disk->directory);
	free(disk);
}

static bool read_full(int fd, void *data, size_t size, off_t offset)
{
	while (size > 0) {
		ssize_t n = pread(fd, data, size, offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		data = (char *)data + n;
		size -= (size_t)n;
		offset += n;
	}
	return true;
}

static bool load_block(int fd, struct digest key, void *data, size_t size)
{
	struct header header;
	struct stat st;
	if (fstat(fd, &st) < 0 ||
	    (uint64_t)st.st_size != sizeof(header) + size ||
	    !read_full(fd, &header, sizeof(header), 0) ||
	    !read_full(fd, data, size, sizeof(header)))
		return false;

	struct header right = make_header(key, data, size);
	return memcmp(&header, &right, sizeof(header)) == 0;
}

int disk_cache_load(struct disk_cache *disk, struct digest key, void *data,
		    size_t size)
{
	char path[48];
	block_path(key, path);
	AUTO_CLOSE int fd =
		openat(disk->fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0) {
		atomic_fetch_add(&disk->absent, 1);
		return -ENOENT;
	}
	if (load_block(fd, key, data, size)) {
		atomic_fetch_add(&disk->loaded, 1);
		atomic_fetch_add(&disk->bytes_loaded, size);
		return 0;
	}
	atomic_fetch_add(&disk->bad, 1);
	unlinkat(disk->fd, path, 0);
	return -ENOENT;
}

/* What a file takes on disk, near enough. */
static uint64_t space_of(uint64_t size)
{
	return round_up(size, 4096);
}

/* Size of what a folder holds; removes what a crash left behind in it. */
static uint64_t folder_size(const struct disk_cache *disk, unsigned folder)
{
	char name[3];
	snprintf(name, sizeof(name), "%02x", folder & 0xff);
	int fd = openat(disk->fd, name,
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return 0;
	}

	uint64_t size = 0;
	struct stat st;
	for (const struct dirent *entry; (entry = readdir(dir));) {
		if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISREG(st.st_mode))
			continue;
		if (entry->d_name[0] == '.' && time(NULL) - st.st_mtime > STALE)
			unlinkat(fd, entry->d_name, 0);
		else
			size += space_of((uint64_t)st.st_size);
	}
	closedir(dir);
	return size;
}

/* One thread at a time looks; the others go on with what is known. */
static void look_further(struct disk_cache *disk)
{
	struct usage *usage = &disk->usage;

	pthread_mutex_lock(&usage->lock);
	unsigned at = usage->n_looked;
	bool mine = at == usage->n_known && at < FOLDERS;
	if (mine)
		usage->n_looked++;
	pthread_mutex_unlock(&usage->lock);
	if (!mine)
		return;

	uint64_t size = folder_size(disk, at);
	pthread_mutex_lock(&usage->lock);
	if (usage->n_known == at) { /* else the cache was made anew */
		usage->size += size - usage->own[at];
		usage->n_known++;
	}
	pthread_mutex_unlock(&usage->lock);
}

static void count_stored(struct disk_cache *disk, struct digest key,
			 uint64_t size)
{
	struct usage *usage = &disk->usage;
	unsigned folder = (unsigned)(key.high >> 56);

	pthread_mutex_lock(&usage->lock);
	usage->size += space_of(size);
	if (folder >= usage->n_known)
		usage->own[folder] += space_of(size);
	pthread_mutex_unlock(&usage->lock);
}

static uint64_t used_size(struct disk_cache *disk)
{
	pthread_mutex_lock(&disk->usage.lock);
	uint64_t size = disk->usage.size;
	pthread_mutex_unlock(&disk->usage.lock);
	return size;
}

/* Is there room, by the budget and on the file system? */
static bool has_room(struct disk_cache *disk, size_t size)
{
	struct statvfs fs;

	if (now() < atomic_load(&disk->paused_until))
		return false;
	for (unsigned i = 0; i < SCAN_STEP; i++)
		look_further(disk);
	if (fstatvfs(disk->fd, &fs) < 0)
		return false;
	uint64_t most = disk->budget ? disk->budget
				     : (uint64_t)fs.f_bavail * fs.f_frsize;
	return used_size(disk) + space_of(size) <= most &&
	       fs.f_bavail > fs.f_blocks / LEAST_FREE;
}

static int write_full(int fd, const struct header *header, const void *data,
		      size_t size)
{
	struct iovec iov[] = {
		{(void *)header, sizeof(*header)},
		{(void *)data, size},
	};
	size_t total = sizeof(*header) + size;
	ssize_t n = writev(fd, iov, 2);
	if (n < 0)
		return -errno;
	if ((size_t)n == total)
		return 0;

	/* Cut short: a full disk answers the rest with its reason. */
	if ((size_t)n < sizeof(*header))
		return -EIO;
	const char *rest = (const char *)data + ((size_t)n - sizeof(*header));
	size_t left = total - (size_t)n;
	while (left > 0) {
		n = write(fd, rest, left);
		if (n < 0)
			return -errno;
		rest += n;
		left -= (size_t)n;
	}
	return 0;
}

static int publish(struct disk_cache *disk, const char *temporary,
		   const char *path, const struct header *header,
		   const void *data, size_t size)
{
	int fd = openat(disk->fd, temporary,
			O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	int r = write_full(fd, header, data, size);
	if (close(fd) < 0 && r == 0)
		r = -errno;
	if (r == 0 && renameat(disk->fd, temporary, disk->fd, path) < 0)
		r = -errno;
	if (r < 0)
		unlinkat(disk->fd, temporary, 0);
	return r;
}

/* The directory has been removed under us: makes it and its format again. */
static int make_again(struct disk_cache *disk)
{
	AUTO_CLOSE int fd = -1;
	int r = directory_open(disk->directory, &fd, NULL);
	if (r < 0)
		return r;
	/* In place, as other threads go on using the number. */
	if (dup3(fd, disk->fd, O_CLOEXEC) < 0)
		return -errno;

	pthread_mutex_lock(&disk->usage.lock);
	disk->usage.size = 0;
	memset(disk->usage.own, 0, sizeof(disk->usage.own));
	disk->usage.n_known = disk->usage.n_looked = FOLDERS;
	pthread_mutex_unlock(&disk->usage.lock);
	return 0;
}

static int make_folder(struct disk_cache *disk, const char *path)
{
	char folder[3] = {path[0], path[1], '\0'};

	if (mkdirat(disk->fd, folder, 0700) == 0 || errno == EEXIST)
		return 0;
	if (errno != ENOENT)
		return -errno;
	int r = make_again(disk);
	if (r < 0)
		return r;
	if (mkdirat(disk->fd, folder, 0700) == 0 || errno == EEXIST)
		return 0;
	return -errno;
}

/* No fsync: a block that a crash tears fails its checksum later. */
static int store_block(struct disk_cache *disk, struct digest key,
		       const void *data, size_t size)
{
	struct header header = make_header(key, data, size);
	char path[48], temporary[80];
	block_path(key, path);
	snprintf(temporary, sizeof(temporary), "%.2s/.%016" PRIx64 ".%" PRIu64,
		 path, disk->nonce,
		 (uint64_t)atomic_fetch_add(&disk->n_temporary, 1));

	int r = publish(disk, temporary, path, &header, data, size);
	if (r != -ENOENT)
		return r;
	r = make_folder(disk, path);
	if (r < 0)
		return r;
	return publish(disk, temporary, path, &header, data, size);
}

void disk_cache_store(struct disk_cache *disk, struct digest key,
		      const void *data, size_t size)
{
	uint64_t total = sizeof(struct header) + size;

	if (!has_room(disk, total)) {
		atomic_fetch_add(&disk->no_room, 1);
		return;
	}
	int r = store_block(disk, key, data, size);
	if (r < 0) {
		atomic_fetch_add(&disk->failed, 1);
		atomic_store(&disk->paused_until, now() + PAUSE);
		return;
	}
	atomic_fetch_add(&disk->stored, 1);
	atomic_fetch_add(&disk->bytes_stored, size);
	count_stored(disk, key, total);
}

void disk_cache_counters(struct disk_cache *disk, struct cache_counters *ret)
{
	int64_t pause = atomic_load(&disk->paused_until) - now();

	ret->loaded = ret->verified = atomic_load(&disk->loaded);
	ret->dropped = atomic_load(&disk->bad);
	ret->absent = atomic_load(&disk->absent);
	ret->bytes_loaded = atomic_load(&disk->bytes_loaded);
	ret->bytes_loaded_disk =
		ret->bytes_loaded + ret->loaded * sizeof(struct header);
	ret->stored = atomic_load(&disk->stored);
	ret->refused = atomic_load(&disk->no_room);
	ret->store_failed = atomic_load(&disk->failed);
	ret->bytes_stored = atomic_load(&disk->bytes_stored);
	ret->bytes_stored_disk =
		ret->bytes_stored + ret->stored * sizeof(struct header);
	ret->used = used_size(disk);
	ret->budget = disk->budget;
	ret->paused = pause > 0 ? (uint64_t)pause : 0;
}
