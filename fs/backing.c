#include "fs/backing.h"

#include <errno.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fs/server.h"

/* Of Linux 6.9; the system's headers may be older. */
#define INIT2_PASSTHROUGH (1u << 5) /* FUSE_PASSTHROUGH, in flags2 */
#define OPEN_PASSTHROUGH (1u << 7)
#define OPEN_NOFLUSH (1u << 5)

struct backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};
#define IOC_BACKING_OPEN _IOW(229, 1, struct backing_map)
#define IOC_BACKING_CLOSE _IOW(229, 2, uint32_t)

struct open_reply { /* struct fuse_open_out of 6.9 */
	uint64_t fh;
	uint32_t flags;
	int32_t backing_id;
};

/*
 * Backing files may lie on plain file systems only; so deep may others be
 * stacked on us (an overlay, to have a mount that can be written to).
 */
#define STACK_DEPTH 1

struct backing {
	uint32_t n_opens;
	int32_t id; /* 0: the usual road */
};

struct backings {
	pthread_mutex_t lock;
	int fd;		     /* of the session; borrowed */
	atomic_bool greeted; /* INIT has been answered */
	uint64_t greeting;   /* the INIT request's number, 0 before it */
	atomic_bool allowed; /* the kernel offers passthrough */
	struct backing_counters counters;
	struct backing files[]; /* (n_files,) */
};

int backings_new(uint32_t n_files, struct backings **ret)
{
	struct backings *backings =
		calloc(1, sizeof(*backings) + n_files * sizeof(struct backing));
	if (!backings)
		return -ENOMEM;
	pthread_mutex_init(&backings->lock, NULL);
	backings->fd = -1;
	*ret = backings;
	return 0;
}

void backings_free(struct backings *backings)
{
	if (!backings)
		return;
	pthread_mutex_destroy(&backings->lock);
	free(backings);
}

/* Does the kernel offer it? */
static void see_greeting(struct backings *backings, const void *data,
			 size_t size)
{
	const struct fuse_in_header *header = data;
	const struct fuse_init_in *in = (const void *)(header + 1);

	if (size < sizeof(*header) || header->opcode != FUSE_INIT)
		return;
	if (size >= sizeof(*header) + offsetof(struct fuse_init_in, flags2) +
			    sizeof(in->flags2) &&
	    in->flags & FUSE_INIT_EXT && in->flags2 & INIT2_PASSTHROUGH)
		backings->greeting = header->unique;
	else
		atomic_store(&backings->greeted, true);
}

static void amend_greeting(struct backings *backings, const struct iovec *iov,
			   int count)
{
	const uint32_t depth = STACK_DEPTH;

	if (count != 2 || iov[1].iov_len < sizeof(struct fuse_init_out))
		return;
	const struct fuse_out_header *header = iov[0].iov_base;
	struct fuse_init_out *out = iov[1].iov_base;
	if (header->unique != backings->greeting || header->error != 0)
		return;
	out->flags |= FUSE_INIT_EXT;
	out->flags2 |= INIT2_PASSTHROUGH;
	/* max_stack_depth, which older headers have no name for */
	memcpy((char *)out + offsetof(struct fuse_init_out, flags2) +
		       sizeof(out->flags2),
	       &depth, sizeof(depth));
	atomic_store(&backings->allowed, true);
	atomic_store(&backings->greeted, true);
}

static ssize_t read_request(int fd, void *data, size_t size, void *userdata)
{
	struct backings *backings = ((struct server *)userdata)->backings;
	ssize_t n = read(fd, data, size);

	if (n > 0 &&
	    !atomic_load_explicit(&backings->greeted, memory_order_relaxed))
		see_greeting(backings, data, (size_t)n);
	return n;
}

static ssize_t write_reply(int fd, struct iovec *iov, int count, void *userdata)
{
	struct backings *backings = ((struct server *)userdata)->backings;

	if (!atomic_load_explicit(&backings->greeted, memory_order_relaxed))
		amend_greeting(backings, iov, count);
	return writev(fd, iov, count);
}

int backings_attach(struct backings *backings, struct fuse_session *fuse)
{
	static const struct fuse_custom_io io = {
		.writev = write_reply,
		.read = read_request,
	};

	backings->fd = fuse_session_fd(fuse);
	return fuse_session_custom_io(fuse, &io, backings->fd);
}

/* With the lock held: the road for all opens until the last release. */
static int32_t choose(struct backings *backings, uint32_t file,
		      backing_find_fn *find, void *arg)
{
	bool own = false;

	if (!atomic_load(&backings->allowed))
		return 0;
	int fd = find(arg, file, &own);
	if (fd < 0)
		return 0;
	struct backing_map map = {.fd = fd};
	int id = ioctl(backings->fd, IOC_BACKING_OPEN, &map);
	if (id < 0 && errno == EPERM)
		atomic_store(&backings->allowed, false);
	struct stat st;
	if (id > 0 && fstat(fd, &st) == 0)
		backings->counters.bytes += (uint64_t)st.st_size;
	if (own)
		close(fd);
	if (id <= 0)
		return 0;
	backings->counters.n_open++;
	return id;
}

void backings_open(struct backings *backings, fuse_req_t req, uint32_t file,
		   struct fuse_file_info *fi, backing_find_fn *find,
		   backing_usual_fn *usual, void *arg)
{
	struct backing *backing = &backings->files[file];
	int r;

	pthread_mutex_lock(&backings->lock);
	if (backing->n_opens++ == 0) {
		backing->id = choose(backings, file, find, arg);
		if (backing->id == 0)
			usual(arg, file);
	}
	backings->counters.opens += backing->id > 0;
	struct open_reply reply = {
		.flags = OPEN_PASSTHROUGH | OPEN_NOFLUSH,
		.backing_id = backing->id,
	};
	pthread_mutex_unlock(&backings->lock);

	if (reply.backing_id > 0)
		r = fuse_reply_buf(req, (const char *)&reply, sizeof(reply));
	else
		r = fuse_reply_open(req, fi);
	/* Interrupted: there will be no release. */
	if (r == -ENOENT)
		backings_release(backings, file);
}

void backings_release(struct backings *backings, uint32_t file)
{
	struct backing *backing = &backings->files[file];

	pthread_mutex_lock(&backings->lock);
	if (--backing->n_opens == 0 && backing->id > 0) {
		uint32_t id = (uint32_t)backing->id;
		ioctl(backings->fd, IOC_BACKING_CLOSE, &id);
		backing->id = 0;
		backings->counters.n_open--;
	}
	pthread_mutex_unlock(&backings->lock);
}

bool backings_passed(struct backings *backings, uint32_t file)
{
	pthread_mutex_lock(&backings->lock);
	bool passed = backings->files[file].id > 0;
	pthread_mutex_unlock(&backings->lock);
	return passed;
}

void backings_counters(struct backings *backings, struct backing_counters *ret)
{
	pthread_mutex_lock(&backings->lock);
	*ret = backings->counters;
	ret->allowed = atomic_load(&backings->allowed);
	pthread_mutex_unlock(&backings->lock);
}
