#include "fs/assembler.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "cache/block.h"
#include "cache/counters.h"
#include "cache/disk.h"
#include "cache/whole.h"
#include "fs/backing.h"
#include "fs/log.h"
#include "fs/reads.h"
#include "merge/output/image.h"
#include "merge/output/merge.h"
#include "merge/source/file.h"
#include "util/range.h"

#define INTERVAL 500 /* milliseconds between looks */
#define RETRY 120    /* looks after which a failure is tried again, */
#define SOON 4	     /* and after which another process may be ready */
#define NICE 19	     /* the lowest priority */
#define LOOK_SIZE (16 * BLOCK_SIZE) /* between two looks for readers */
#define IO_PRIORITY_IDLE (3 << 13)

struct candidate {
	uint32_t entry;
	struct digest key;
	struct digest
		missing;    /* the block that was not there at the last look */
	uint64_t at;	    /* behind that one; 0: it has not been looked */
	unsigned wait;	    /* looks to be left out */
	bool computed;	    /* in part, so that there are blocks to wait for */
	atomic_bool wanted; /* has been opened */
	atomic_bool whole;  /* as far as is known */
	atomic_bool used;   /* since that was noted */
};

struct assembler {
	const struct merge *merge;
	struct reads *reads;
	struct backings *backings;
	struct log *log;
	pthread_t thread;
	bool running;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	atomic_bool ending;
	uint64_t n_reads; /* at the last look */
	uint32_t n;
	struct candidate candidates[]; /* (n,) by entry */
};

/* Sleeps; true when it is time to end. */
static bool wait_for_end(struct assembler *assembler, unsigned milliseconds)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (long)milliseconds * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&assembler->lock);
	int r = 0;
	while (!atomic_load(&assembler->ending) && r == 0)
		r = pthread_cond_timedwait(&assembler->changed,
					   &assembler->lock, &until);
	pthread_mutex_unlock(&assembler->lock);
	return atomic_load(&assembler->ending);
}

/* Will the kernel read whole files? */
static bool is_of_use(const struct assembler *assembler)
{
	struct backing_counters backings;

	backings_counters(assembler->backings, &backings);
	return backings.allowed;
}

/* Has nobody read since the last look, and is everything stored? */
static bool is_idle(struct assembler *assembler)
{
	struct cache_counters cache;
	struct read_counters reads;

	reads_counters(assembler->reads, &reads);
	block_cache_counters(assembler->merge->cache, &cache);
	bool idle = reads.n == assembler->n_reads && reads.n_flying == 0 &&
		    cache.waiting == 0;
	assembler->n_reads = reads.n;
	return idle;
}

static bool all_stored(const struct assembler *assembler,
		       struct candidate *candidate)
{
	const struct merge *merge = assembler->merge;

	if (candidate->at > 0 &&
	    !disk_cache_has(merge->disk, candidate->missing))
		return false;
	while (image_next_block(merge->image, merge->engine, candidate->entry,
				&candidate->at, &candidate->missing)) {
		if (!disk_cache_has(merge->disk, candidate->missing))
			return false;
	}
	candidate->at = 0;
	return true;
}

struct piece {
	struct image_read read;
	sem_t done;
	int r;
};

static void piece_done(struct image_read *read, int r)
{
	struct piece *piece = CONTAINER_OF(read, struct piece, read);

	piece->r = r;
	sem_post(&piece->done);
}

static int write_iov(struct whole *whole, const struct iovec *iov, size_t n)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = whole_write(whole, iov[i].iov_base, iov[i].iov_len);
	return r;
}

static int write_read(const struct assembler *assembler, uint32_t entry,
		      uint64_t offset, size_t size, struct whole *whole)
{
	struct piece piece = {
		.read =
			{
				.engine = assembler->merge->engine,
				.entry = entry,
				.offset = offset,
				.size = size,
				.priority = POOL_BACKGROUND,
				.done = piece_done,
			},
	};

	sem_init(&piece.done, 0, 0);
	image_read(assembler->merge->image, &piece.read);
	while (sem_wait(&piece.done) < 0)
		;
	int r = piece.r;
	if (r == 0)
		r = write_iov(whole, piece.read.iov, piece.read.n_iov);
	image_read_done(&piece.read);
	sem_destroy(&piece.done);
	return r;
}

/* Sets *ret_size to how much it was. */
static int write_piece(const struct assembler *assembler, uint32_t entry,
		       uint64_t offset, struct whole *whole, uint64_t *ret_size)
{
	const struct image *image = assembler->merge->image;
	uint64_t left =
		image_entries(image, &(uint32_t){0})[entry].size - offset;
	uint64_t from;
	const struct file *source =
		image_copied(image, entry, offset, &from, ret_size);

	*ret_size = min_u64(source ? *ret_size : left, BLOCK_SIZE);
	if (!source)
		return write_read(assembler, entry, offset, *ret_size, whole);
	int r = whole_copy(whole, source->fd, from, *ret_size);
	return r < 0 ? r : file_check(source);
}

/* For as long as they read. */
static void let_readers_go_first(struct assembler *assembler)
{
	while (!is_idle(assembler) && !wait_for_end(assembler, 20))
		;
}

static int write_whole(struct assembler *assembler,
		       const struct candidate *candidate,
		       const struct image_entry *entry)
{
	AUTO(whole) whole = NULL;

	int r = whole_begin(assembler->merge->disk, candidate->key, entry->size,
			    &whole);
	uint64_t size, looked = 0;
	for (uint64_t at = 0; r == 0 && at < entry->size; at += size) {
		if (at - looked >= LOOK_SIZE) {
			looked = at;
			let_readers_go_first(assembler);
		}
		if (atomic_load(&assembler->ending))
			return -ECANCELED;
		r = write_piece(assembler, candidate->entry, at, whole, &size);
	}
	return r < 0 ? r : whole_publish(whole);
}

static const struct image_entry *entry_of(const struct assembler *assembler,
					  const struct candidate *candidate)
{
	return &image_entries(assembler->merge->image,
			      &(uint32_t){0})[candidate->entry];
}

static int open_whole(const struct assembler *assembler,
		      const struct candidate *candidate)
{
	return whole_open(assembler->merge->disk, candidate->key,
			  entry_of(assembler, candidate)->size);
}

static bool find_whole(const struct assembler *assembler,
		       struct candidate *candidate)
{
	AUTO_CLOSE int fd = open_whole(assembler, candidate);

	atomic_store(&candidate->whole, fd >= 0);
	return fd >= 0;
}

static void look_at(struct assembler *assembler, struct candidate *candidate)
{
	const struct image_entry *entry = entry_of(assembler, candidate);

	if (atomic_load(&candidate->whole))
		return;
	if (candidate->wait > 0) {
		candidate->wait--;
		return;
	}
	if (!candidate->computed && !atomic_load(&candidate->wanted))
		return;
	if (!all_stored(assembler, candidate))
		return;
	/* Another process may have been faster. */
	if (find_whole(assembler, candidate))
		return;
	int r = write_whole(assembler, candidate, entry);
	if (r == 0 && find_whole(assembler, candidate))
		log_line(assembler->log, LOG_INFO,
			 "%s is whole in the cache: from now on it is opened "
			 "there",
			 entry->path);
	else
		candidate->wait = r == -EBUSY ? SOON : RETRY;
}

static void note_uses(struct assembler *assembler)
{
	for (uint32_t i = 0; i < assembler->n; i++) {
		struct candidate *candidate = &assembler->candidates[i];
		bool passed =
			backings_passed(assembler->backings, candidate->entry);
		if (atomic_exchange(&candidate->used, false) || passed)
			whole_note_use(assembler->merge->disk, candidate->key);
	}
}

static void *run(void *arg)
{
	struct assembler *assembler = arg;

	setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE);
	syscall(SYS_ioprio_set, 1, 0, IO_PRIORITY_IDLE);
	for (uint32_t i = 0; i < assembler->n; i++)
		find_whole(assembler, &assembler->candidates[i]);
	while (!wait_for_end(assembler, INTERVAL)) {
		note_uses(assembler);
		if (!is_of_use(assembler) || !is_idle(assembler))
			continue;
		for (uint32_t i = 0; i < assembler->n; i++)
			look_at(assembler, &assembler->candidates[i]);
	}
	return NULL;
}

int assembler_new(const struct assembler_options *options,
		  struct assembler **ret)
{
	const struct merge *merge = options->merge;
	uint32_t n;
	const struct image_entry *entries = image_entries(merge->image, &n);
	AUTO(assembler)
	assembler =
		calloc(1, sizeof(*assembler) + n * sizeof(struct candidate));
	pthread_condattr_t attr;

	if (!assembler)
		return -ENOMEM;
	assembler->merge = merge;
	assembler->reads = options->reads;
	assembler->backings = options->backings;
	assembler->log = options->log;
	pthread_mutex_init(&assembler->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&assembler->changed, &attr);
	pthread_condattr_destroy(&attr);
	for (uint32_t i = 0; i < n; i++) {
		struct candidate *candidate =
			&assembler->candidates[assembler->n];
		if (entries[i].directory ||
		    !image_file_key(merge->image, i, &candidate->key))
			continue;
		candidate->entry = i;
		candidate->computed =
			image_next_block(merge->image, merge->engine, i,
					 &(uint64_t){0}, &candidate->missing);
		assembler->n++;
	}
	int r = pthread_create(&assembler->thread, NULL, run, assembler);
	if (r != 0)
		return -r;
	assembler->running = true;
	*ret = TAKE(assembler);
	return 0;
}

void assembler_free(struct assembler *assembler)
{
	if (!assembler)
		return;
	if (assembler->running) {
		pthread_mutex_lock(&assembler->lock);
		atomic_store(&assembler->ending, true);
		pthread_cond_broadcast(&assembler->changed);
		pthread_mutex_unlock(&assembler->lock);
		pthread_join(assembler->thread, NULL);
	}
	pthread_cond_destroy(&assembler->changed);
	pthread_mutex_destroy(&assembler->lock);
	free(assembler);
}

int assembler_find(struct assembler *assembler, uint32_t entry)
{
	struct candidate *candidate = NULL;

	for (uint32_t i = 0; i < assembler->n && !candidate; i++) {
		if (assembler->candidates[i].entry == entry)
			candidate = &assembler->candidates[i];
	}
	if (!candidate)
		return -ENOENT;
	atomic_store(&candidate->wanted, true);
	if (!atomic_load(&candidate->whole))
		return -ENOENT;
	int fd = open_whole(assembler, candidate);
	if (fd < 0) /* to be made again */
		atomic_store(&candidate->whole, false);
	else
		atomic_store(&candidate->used, true);
	return fd;
}
