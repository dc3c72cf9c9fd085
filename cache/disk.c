#include "cache/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "cache/codec.h"
#include "cache/counters.h"
#include "cache/directory.h"
#include "cache/frame.h"
#include "cache/room.h"
#include "cache/walk.h"
#include "util/io.h"
#include "util/range.h"

#define PAUSE 30 /* seconds without storing after a failure */
#define FRESH 60 /* seconds within which a use is not noted again */

/* Codecs that no thread works with; there are as many as threads at once. */
struct desks {
	pthread_mutex_t lock;
	struct desk {
		struct desk *next;
		struct codec *codec;
	} * spare; /* owned */
};

struct disk_cache {
	char *directory;   /* owned; absolute */
	int fd;		   /* of the directory; the number never changes */
	struct room *room; /* owned */
	uint64_t nonce;	   /* tells our temporary files from other processes' */
	struct desks desks;
	atomic_int_fast64_t paused_until; /* CLOCK_MONOTONIC seconds */
	atomic_uint_fast64_t n_temporary;
	atomic_uint_fast64_t loaded, absent, bad, stored, failed, refused;
	atomic_uint_fast64_t bytes_loaded, bytes_loaded_disk;
	atomic_uint_fast64_t bytes_stored, bytes_stored_disk;
};

static int64_t now(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return time.tv_sec;
}

static struct desk *desk_get(struct disk_cache *disk)
{
	struct desks *desks = &disk->desks;

	pthread_mutex_lock(&desks->lock);
	struct desk *desk = desks->spare;
	if (desk)
		desks->spare = desk->next;
	pthread_mutex_unlock(&desks->lock);
	if (desk)
		return desk;

	desk = calloc(1, sizeof(*desk));
	if (desk && codec_new(&desk->codec) < 0) {
		free(desk);
		desk = NULL;
	}
	return desk;
}

static void desk_put(struct disk_cache *disk, struct desk *desk)
{
	struct desks *desks = &disk->desks;

	pthread_mutex_lock(&desks->lock);
	desk->next = desks->spare;
	desks->spare = desk;
	pthread_mutex_unlock(&desks->lock);
}

int disk_cache_open(const struct disk_options *options, struct disk_cache **ret,
		    struct error *err)
{
	AUTO(disk_cache) disk = calloc(1, sizeof(*disk));
	if (!disk)
		return error_set(err, -ENOMEM, "out of memory");
	disk->fd = -1;
	pthread_mutex_init(&disk->desks.lock, NULL);
	if (getrandom(&disk->nonce, sizeof(disk->nonce), GRND_NONBLOCK) < 0)
		disk->nonce = (uint64_t)now(CLOCK_MONOTONIC) << 32 ^
			      (uint64_t)getpid();
	disk->directory = strdup(options->directory);
	if (!disk->directory)
		return error_set(err, -ENOMEM, "out of memory");

	int r = options->look ? directory_find(disk->directory, &disk->fd, err)
			      : directory_open(disk->directory, &disk->fd, err);
	if (r < 0)
		return r;
	struct room_options room = {disk->fd, options->size, options->free};
	r = room_new(&room, &disk->room);
	if (r < 0)
		return error_set(err, r, "out of memory");
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
	while (disk->desks.spare) {
		struct desk *desk = disk->desks.spare;
		disk->desks.spare = desk->next;
		codec_free(desk->codec);
		free(desk);
	}
	room_free(disk->room);
	if (disk->fd >= 0)
		close(disk->fd);
	pthread_mutex_destroy(&disk->desks.lock);
	free(disk->directory);
	free(disk);
}

/* Is all of it in the page cache? A look only: a read that must not wait would
 * have the kernel fetch the file behind our back, and the disk read it twice.
 */
static bool is_cached(int fd, size_t size)
{
	enum { page = 4096 }; /* or larger */
	unsigned char there[CODEC_INPUT / page];
	size_t n = (size + page - 1) / page;
	void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		return false;
	memset(there, 1, n);
	bool all = mincore(map, size, there) == 0;
	munmap(map, size);
	for (size_t i = 0; i < n; i++)
		all &= there[i] & 1;
	return all;
}

/* From the disk past the page cache, which soon has the block's own bytes. */
static bool read_direct(int fd, void *data, size_t size)
{
	return fcntl(fd, F_SETFL, O_DIRECT) == 0 &&
	       pread(fd, data, round_up(size, CODEC_ALIGN), 0) == (ssize_t)size;
}

/* From there, or where the other is not possible. */
static bool read_plainly(int fd, void *data, size_t size)
{
	return fcntl(fd, F_SETFL, 0) == 0 && io_read(fd, data, size, 0) == 0;
}

static bool load_block(struct codec *codec, int fd, struct digest key,
		       void *data, size_t size, const struct stat *st)
{
	struct frame_header header;
	size_t total = (size_t)st->st_size;
	unsigned char *file = codec_input(codec);

	if (total <= sizeof(header) || total > sizeof(header) + size ||
	    !((!is_cached(fd, total) && read_direct(fd, file, total)) ||
	      read_plainly(fd, file, total)))
		return false;
	memcpy(&header, file, sizeof(header));
	return frame_check(&header, key, total) == 0 &&
	       frame_open(codec, &header, file + sizeof(header), data, size) ==
		       0;
}

/* For whoever looks for the blocks used least. */
static void note_use(int fd, const struct stat *st)
{
	int64_t age = now(CLOCK_REALTIME_COARSE) - st->st_mtim.tv_sec;

	if (age < 0 || age > FRESH)
		futimens(fd, NULL);
}

static int drop(struct disk_cache *disk, const char *path)
{
	atomic_fetch_add(&disk->bad, 1);
	unlinkat(disk->fd, path, 0);
	return -ENOENT;
}

/* Is it the file that cannot be opened, and not we who cannot? */
static bool is_unfit(int error)
{
	return error == EACCES || error == EIO || error == ELOOP;
}

int disk_cache_load(struct disk_cache *disk, struct digest key, void *data,
		    size_t size)
{
	char path[WALK_PATH_SIZE];
	struct stat st;
	walk_path(key, path);
	/* O_NONBLOCK: what is no file there is not waited for. */
	AUTO_CLOSE int fd = openat(
		disk->fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 && is_unfit(errno))
		return drop(disk, path);
	struct desk *desk = fd < 0 ? NULL : desk_get(disk);
	if (!desk) {
		atomic_fetch_add(&disk->absent, 1);
		return -ENOENT;
	}

	bool good = fstat(fd, &st) == 0 &&
		    load_block(desk->codec, fd, key, data, size, &st);
	desk_put(disk, desk);
	if (good) {
		atomic_fetch_add(&disk->loaded, 1);
		atomic_fetch_add(&disk->bytes_loaded, size);
		atomic_fetch_add(&disk->bytes_loaded_disk,
				 (uint64_t)st.st_size);
		note_use(fd, &st);
		return 0;
	}
	return drop(disk, path);
}

bool disk_cache_has(struct disk_cache *disk, struct digest key)
{
	char path[WALK_PATH_SIZE];

	walk_path(key, path);
	return faccessat(disk->fd, path, F_OK, 0) == 0;
}

int disk_cache_directory(const struct disk_cache *disk)
{
	return disk->fd;
}

bool disk_cache_fits(struct disk_cache *disk, uint64_t size)
{
	return room_fits(disk->room, size);
}

void disk_cache_took(struct disk_cache *disk, uint64_t size)
{
	room_took(disk->room, size);
}

static int write_full(int fd, const struct frame *frame)
{
	struct iovec iov[] = {
		{(void *)&frame->header, sizeof(frame->header)},
		{(void *)frame->payload, frame->header.stored},
	};
	size_t left = iov[0].iov_len + iov[1].iov_len;
	ssize_t n = writev(fd, iov, 2);
	if (n < 0)
		return -errno;
	if ((size_t)n == left)
		return 0;

	/* Cut short: a full disk answers the rest with its reason. */
	if ((size_t)n < iov[0].iov_len)
		return -EIO;
	const char *rest = iov[1].iov_base;
	rest += (size_t)n - iov[0].iov_len;
	left -= (size_t)n;
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
		   const char *path, const struct frame *frame)
{
	AUTO_CLOSE int fd =
		openat(disk->fd, temporary,
		       O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	/* Says that it is in use; where locks do not work it may be taken for
	 * left behind, which costs one block. */
	flock(fd, LOCK_EX | LOCK_NB);
	int r = write_full(fd, frame);
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
	room_forget(disk->room);
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

/*
 * The folder may be missing, and another process may take the temporary file
 * for left behind before we have locked it.
 */
#define TRIES 8

/* No fsync: a block that a crash tears fails its checksum later. */
static int store_frame(struct disk_cache *disk, struct digest key,
		       const struct frame *frame)
{
	char path[WALK_PATH_SIZE], temporary[80];
	walk_path(key, path);
	snprintf(temporary, sizeof(temporary), "%.2s/.%016" PRIx64 ".%" PRIu64,
		 path, disk->nonce,
		 (uint64_t)atomic_fetch_add(&disk->n_temporary, 1));

	int r = -ENOENT;
	for (unsigned i = 0; r == -ENOENT && i < TRIES; i++) {
		if (i > 0)
			r = make_folder(disk, path);
		if (i == 0 || r == 0)
			r = publish(disk, temporary, path, frame);
	}
	return r;
}

static int store(struct disk_cache *disk, const struct frame *frame,
		 struct digest key)
{
	uint64_t size = sizeof(frame->header) + frame->header.stored;
	uint64_t space = round_up(size, 4096);

	if (!room_make(disk->room, space)) {
		atomic_fetch_add(&disk->refused, 1);
		return -ENOSPC;
	}
	if (store_frame(disk, key, frame) < 0) {
		atomic_fetch_add(&disk->failed, 1);
		atomic_store(&disk->paused_until, now(CLOCK_MONOTONIC) + PAUSE);
		return -EAGAIN;
	}
	room_took(disk->room, space);
	atomic_fetch_add(&disk->stored, 1);
	atomic_fetch_add(&disk->bytes_stored, frame->header.size);
	atomic_fetch_add(&disk->bytes_stored_disk, size);
	return 0;
}

int disk_cache_store(struct disk_cache *disk, struct digest key,
		     const void *data, size_t size, unsigned width)
{
	bool paused = now(CLOCK_MONOTONIC) < atomic_load(&disk->paused_until);
	struct desk *desk = paused ? NULL : desk_get(disk);
	struct frame frame;

	if (!desk) {
		atomic_fetch_add(&disk->refused, 1);
		return -EAGAIN;
	}
	frame_seal(desk->codec, key, data, size, width, &frame);
	int r = store(disk, &frame, key);
	desk_put(disk, desk);
	return r;
}

void disk_cache_tidy(struct disk_cache *disk)
{
	room_tidy(disk->room);
}

void disk_cache_counters(struct disk_cache *disk, struct cache_counters *ret)
{
	int64_t pause = atomic_load(&disk->paused_until) - now(CLOCK_MONOTONIC);

	ret->loaded = ret->verified = atomic_load(&disk->loaded);
	ret->dropped = atomic_load(&disk->bad);
	ret->absent = atomic_load(&disk->absent);
	ret->bytes_loaded = atomic_load(&disk->bytes_loaded);
	ret->bytes_loaded_disk = atomic_load(&disk->bytes_loaded_disk);
	ret->stored = atomic_load(&disk->stored);
	ret->refused = atomic_load(&disk->refused);
	ret->store_failed = atomic_load(&disk->failed);
	ret->bytes_stored = atomic_load(&disk->bytes_stored);
	ret->bytes_stored_disk = atomic_load(&disk->bytes_stored_disk);
	ret->paused = pause > 0 ? (uint64_t)pause : 0;
	room_counters(disk->room, ret);
}
