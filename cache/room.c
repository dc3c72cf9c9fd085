#include "cache/room.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "cache/counters.h"
#include "cache/walk.h"
#include "util/range.h"

#define LOCK_NAME "lock"
#define LEAST_INODES 20 /* a 20th of them stays free */
#define LEAST_FREE 20	/* and of the bytes, but no more than: */
#define MOST_FREE ((uint64_t)20 * 1000 * 1000 * 1000)

/* A look that did not help is not tried again for this many times as long as
 * it took, nor within a second. */
#define LOOK_SHARE 20

/*
 * Blocks by age, so that the oldest can be found without a list of all: an
 * octave of milliseconds is cut into STEPS classes.
 */
#define STEPS 16
#define N_AGES (64 * STEPS)

struct census {
	int64_t now; /* milliseconds, wall clock */
	uint64_t size, n_files;
	uint64_t sizes[N_AGES], counts[N_AGES];
};

struct need {
	uint64_t size, n_files; /* that have to go */
};

struct room {
	struct room_options options;
	pthread_mutex_t lock;
	bool looking;	    /* some thread looks through the directory */
	bool known;	    /* it has been looked through */
	uint64_t size;	    /* then, and what we stored since */
	uint64_t since;	    /* bytes stored since; during a look: since that
				    began, which may have missed them */
	int64_t not_before; /* monotonic milliseconds of the next look */
	uint64_t evicted, bytes_evicted;
};

static int64_t milliseconds(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

int room_new(const struct room_options *options, struct room **ret)
{
	struct room *room = calloc(1, sizeof(*room));

	if (!room)
		return -ENOMEM;
	room->options = *options;
	pthread_mutex_init(&room->lock, NULL);
	*ret = room;
	return 0;
}

void room_free(struct room *room)
{
	if (!room)
		return;
	pthread_mutex_destroy(&room->lock);
	free(room);
}

static unsigned age_class(const struct census *census,
			  const struct walk_file *file)
{
	int64_t used = (int64_t)file->used.tv_sec * 1000 +
		       file->used.tv_nsec / 1000000;
	/* What the clock puts into the future is as new as can be. */
	uint64_t age = census->now > used ? (uint64_t)(census->now - used) : 0;
	if (age < STEPS)
		return (unsigned)age;

	unsigned octave = 63 - (unsigned)__builtin_clzll(age);
	unsigned step = (unsigned)(age >> (octave - 4)) % STEPS;
	return octave * STEPS + step;
}

static bool is_removable(const struct walk_file *file)
{
	return file->kind == WALK_BLOCK || file->kind == WALK_WHOLE;
}

static int count_file(void *arg, const struct walk_file *file)
{
	struct census *census = arg;
	unsigned age = age_class(census, file);

	if (walk_abandoned(file)) {
		unlinkat(file->folder, file->name, 0);
		return 0;
	}
	census->size += walk_space(file);
	census->n_files++;
	if (is_removable(file)) {
		census->sizes[age] += walk_space(file);
		census->counts[age]++;
	}
	return 0;
}

/* The bounds, on this file system, for a cache that takes `size` now. */
struct bounds {
	uint64_t budget;
	uint64_t free, least_free; /* bytes */
	uint64_t n_free, least_n_free;
};

static int find_bounds(const struct room *room, uint64_t size,
		       struct bounds *ret)
{
	struct statvfs fs;
	if (fstatvfs(room->options.dir, &fs) < 0)
		return -errno;

	uint64_t total = (uint64_t)fs.f_blocks * fs.f_frsize;
	ret->free = (uint64_t)fs.f_bavail * fs.f_frsize;
	ret->least_free = room->options.free
				  ? room->options.free
				  : min_u64(total / LEAST_FREE, MOST_FREE);
	ret->n_free = fs.f_favail;
	ret->least_n_free = fs.f_files / LEAST_INODES;
	ret->budget = room->options.size ? room->options.size
					 : (size + ret->free) / 2;
	return 0;
}

/* What has to go so that `more` bytes fit and the next ones do, too. */
static struct need find_need(const struct bounds *bounds, uint64_t size,
			     uint64_t more)
{
	struct need need = {0};
	uint64_t tenth = bounds->budget / 10;

	if (size + more > bounds->budget - tenth / 2)
		need.size = size + more - (bounds->budget - tenth);
	if (bounds->free < bounds->least_free + more) {
		uint64_t lacking = bounds->least_free + more - bounds->free +
				   bounds->least_free / 10;
		if (lacking > need.size)
			need.size = lacking;
	}
	/* Some file systems do not count inodes. */
	if (bounds->least_n_free > 0 && bounds->n_free <= bounds->least_n_free)
		need.n_files = bounds->least_n_free +
			       bounds->least_n_free / 10 - bounds->n_free + 1;
	return need;
}

struct eviction {
	struct census *census;
	struct need left;
	unsigned youngest; /* class that goes in part; all older ones go */
	uint64_t n, size;
};

static int evict_file(void *arg, const struct walk_file *file)
{
	struct eviction *eviction = arg;
	struct need *left = &eviction->left;

	if (left->size == 0 && left->n_files == 0)
		return 1;
	if (!is_removable(file) ||
	    age_class(eviction->census, file) < eviction->youngest ||
	    walk_remove(file) < 0)
		return 0;
	uint64_t size = walk_space(file);
	left->size -= min_u64(left->size, size);
	left->n_files -= left->n_files > 0;
	eviction->n++;
	eviction->size += size;
	return 0;
}

/* The class whose blocks, with all older ones, are enough. */
static unsigned find_youngest(const struct census *census, struct need need)
{
	uint64_t size = 0, n_files = 0;
	unsigned age = N_AGES;

	while (age > 0 && (size < need.size || n_files < need.n_files)) {
		age--;
		size += census->sizes[age];
		n_files += census->counts[age];
	}
	return age;
}

/* Unless another process is at it. */
static void evict(const struct room *room, struct eviction *eviction)
{
	AUTO_CLOSE int lock =
		openat(room->options.dir, LOCK_NAME,
		       O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) < 0)
		return;
	eviction->youngest = find_youngest(eviction->census, eviction->left);
	/* In two goes: the youngest class only as far as it must. */
	eviction->youngest++;
	walk_files(room->options.dir, evict_file, eviction);
	eviction->youngest--;
	walk_files(room->options.dir, evict_file, eviction);
}

struct look {
	uint64_t more; /* bytes to be stored next */
	bool removing; /* what is too much */
};

/* Without the lock held, by one thread at a time. */
static void look(struct room *room, const struct look *what)
{
	int64_t begin = milliseconds(CLOCK_MONOTONIC);
	struct eviction eviction = {
		.census = calloc(1, sizeof(struct census)),
	};
	struct census *census = eviction.census;
	struct bounds bounds = {0};
	if (!census)
		return;

	census->now = milliseconds(CLOCK_REALTIME);
	walk_files(room->options.dir, count_file, census);
	if (what->removing && find_bounds(room, census->size, &bounds) == 0) {
		eviction.left = find_need(&bounds, census->size, what->more);
		if (eviction.left.size || eviction.left.n_files)
			evict(room, &eviction);
	}
	int64_t end = milliseconds(CLOCK_MONOTONIC);

	pthread_mutex_lock(&room->lock);
	room->size = census->size - min_u64(census->size, eviction.size) +
		     room->since;
	room->known = true;
	room->evicted += eviction.n;
	room->bytes_evicted += eviction.size;
	/* After one that made room the next may come at once. */
	room->not_before = end + (eviction.left.size || eviction.left.n_files
					  ? 1000 + (end - begin) * LOOK_SHARE
					  : 0);
	pthread_mutex_unlock(&room->lock);
	free(census);
}

/* With the lock held. Others may have stored as much as we have. */
static bool is_due(const struct room *room, const struct bounds *bounds,
		   uint64_t more)
{
	struct need need = find_need(bounds, room->size, more);
	uint64_t left = bounds->budget - min_u64(bounds->budget, room->size);

	if (room->looking || milliseconds(CLOCK_MONOTONIC) < room->not_before)
		return false;
	return !room->known || need.size > 0 || need.n_files > 0 ||
	       room->since > left / 2 + bounds->budget / 64;
}

static void look_alone(struct room *room, const struct look *what)
{
	room->looking = true;
	room->since = 0;
	pthread_mutex_unlock(&room->lock);
	look(room, what);
	pthread_mutex_lock(&room->lock);
	room->looking = false;
}

/* With the lock held. */
static bool is_within(const struct room *room, uint64_t size)
{
	struct bounds bounds = {0};

	return find_bounds(room, room->size, &bounds) == 0 &&
	       room->size + size <= bounds.budget &&
	       bounds.free >= bounds.least_free + size &&
	       (bounds.least_n_free == 0 ||
		bounds.n_free > bounds.least_n_free);
}

bool room_make(struct room *room, uint64_t size)
{
	struct bounds bounds = {0};

	pthread_mutex_lock(&room->lock);
	if (find_bounds(room, room->size, &bounds) == 0 &&
	    is_due(room, &bounds, size))
		look_alone(room,
			   &(struct look){.more = size, .removing = true});
	bool fits = is_within(room, size);
	pthread_mutex_unlock(&room->lock);
	return fits;
}

bool room_fits(struct room *room, uint64_t size)
{
	pthread_mutex_lock(&room->lock);
	if (!room->known && !room->looking)
		look_alone(room, &(struct look){.removing = false});
	bool fits = room->known && is_within(room, size);
	pthread_mutex_unlock(&room->lock);
	return fits;
}

void room_took(struct room *room, uint64_t size)
{
	pthread_mutex_lock(&room->lock);
	room->size += size;
	room->since += size;
	pthread_mutex_unlock(&room->lock);
}

void room_tidy(struct room *room)
{
	pthread_mutex_lock(&room->lock);
	if (!room->looking)
		look_alone(room, &(struct look){.removing = true});
	pthread_mutex_unlock(&room->lock);
}

void room_forget(struct room *room)
{
	pthread_mutex_lock(&room->lock);
	room->size = room->since = 0;
	room->known = false;
	room->not_before = 0;
	pthread_mutex_unlock(&room->lock);
}

void room_counters(struct room *room, struct cache_counters *ret)
{
	struct bounds bounds = {0};

	pthread_mutex_lock(&room->lock);
	ret->evicted = room->evicted;
	ret->bytes_evicted = room->bytes_evicted;
	ret->used = room->size;
	ret->budget = find_bounds(room, room->size, &bounds) == 0
			      ? bounds.budget
			      : room->options.size;
	pthread_mutex_unlock(&room->lock);
}
