#include "fs/pipeline.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "merge/output/image.h"
#include "merge/output/merge.h"
#include "util/range.h"

struct slot {
	struct image_read read;
	struct pipeline *pipeline;
	bool used;
	atomic_bool done;
	int r;
};

struct pipeline {
	const struct merge *merge;
	int signals; /* borrowed */
	int news;    /* eventfd: a read is done */
	/* Held by who says so: then it is not closed meanwhile. */
	pthread_mutex_t telling;
	unsigned n_slots;
	struct slot slots[]; /* (n_slots,) a ring, in the order of the file */
};

/* Two reads for each thread; what is in flight counts as the program's memory,
 * of which a quarter may be used so. */
static unsigned choose_slots(const struct merge_options *options)
{
	uint64_t n = 2 * (uint64_t)options->threads;

	if (n < 8)
		n = 8;
	return (unsigned)min_u64(n, options->memory / 4 / BLOCK_SIZE);
}

int pipeline_new(const struct merge *merge, int signals, struct pipeline **ret)
{
	unsigned n = choose_slots(&merge->options);
	AUTO(pipeline)
	pipeline = calloc(1, sizeof(*pipeline) + n * sizeof(struct slot));

	if (!pipeline)
		return -ENOMEM;
	pipeline->merge = merge;
	pipeline->signals = signals;
	pipeline->n_slots = n;
	for (unsigned i = 0; i < n; i++)
		pipeline->slots[i].pipeline = pipeline;
	pthread_mutex_init(&pipeline->telling, NULL);
	pipeline->news = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (pipeline->news < 0)
		return -errno;
	*ret = TAKE(pipeline);
	return 0;
}

/* -EINTR when a signal came, which stays pending. */
static int wait_done(struct slot *slot, int signals)
{
	struct pollfd fds[] = {
		{.fd = slot->pipeline->news, .events = POLLIN},
		{.fd = signals, .events = POLLIN},
	};
	eventfd_t count;

	while (!atomic_load(&slot->done)) {
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			return -errno;
		if (fds[1].revents)
			return -EINTR;
		eventfd_read(slot->pipeline->news, &count);
	}
	return 0;
}

static void let_go(struct slot *slot)
{
	image_read_done(&slot->read);
	slot->used = false;
}

static void drain(struct pipeline *pipeline)
{
	for (unsigned i = 0; i < pipeline->n_slots; i++) {
		struct slot *slot = &pipeline->slots[i];
		if (!slot->used)
			continue;
		wait_done(slot, -1);
		let_go(slot);
	}
}

void pipeline_free(struct pipeline *pipeline)
{
	if (!pipeline)
		return;
	drain(pipeline);
	pthread_mutex_lock(&pipeline->telling);
	close(pipeline->news);
	pthread_mutex_unlock(&pipeline->telling);
	pthread_mutex_destroy(&pipeline->telling);
	free(pipeline);
}

static void read_done(struct image_read *read, int r)
{
	struct slot *slot = CONTAINER_OF(read, struct slot, read);
	struct pipeline *pipeline = slot->pipeline;

	pthread_mutex_lock(&pipeline->telling);
	slot->r = r;
	atomic_store(&slot->done, true);
	eventfd_write(pipeline->news, 1);
	pthread_mutex_unlock(&pipeline->telling);
}

static void start(struct slot *slot, uint32_t entry, uint64_t offset,
		  uint64_t size)
{
	const struct merge *merge = slot->pipeline->merge;

	atomic_store(&slot->done, false);
	slot->used = true;
	slot->read = (struct image_read){
		.engine = merge->engine,
		.entry = entry,
		.offset = offset,
		.size = size,
		.done = read_done,
	};
	image_read(merge->image, &slot->read);
}

/* The bytes of the oldest read go to the sink. */
static int finish(struct slot *slot, pipeline_sink *sink, void *arg,
		  uint64_t *ret_offset)
{
	const struct image_read *read = &slot->read;

	int r = wait_done(slot, slot->pipeline->signals);
	if (r < 0)
		return r;
	if (slot->r < 0)
		*ret_offset = read->offset;
	r = slot->r < 0 ? slot->r
			: sink(arg, read->iov, read->n_iov, read->offset,
			       read->size);
	let_go(slot);
	return r;
}

int pipeline_file(struct pipeline *pipeline, uint32_t entry,
		  pipeline_sink *sink, void *arg, uint64_t *ret_offset)
{
	uint32_t n_entries;
	const struct image_entry *entries =
		image_entries(pipeline->merge->image, &n_entries);
	uint64_t size = entries[entry].size, asked = 0, taken = 0;
	int r = 0;

	while (r == 0 && taken < size) {
		uint64_t in_flight = (asked + BLOCK_SIZE - 1) / BLOCK_SIZE -
				     taken / BLOCK_SIZE;
		if (asked < size && in_flight < pipeline->n_slots) {
			uint64_t n = min_u64(BLOCK_SIZE, size - asked);
			start(&pipeline->slots[asked / BLOCK_SIZE %
					       pipeline->n_slots],
			      entry, asked, n);
			asked += n;
			continue;
		}
		r = finish(&pipeline->slots[taken / BLOCK_SIZE %
					    pipeline->n_slots],
			   sink, arg, ret_offset);
		taken += min_u64(BLOCK_SIZE, size - taken);
	}
	if (r < 0 && r != -EINTR)
		drain(pipeline);
	return r;
}
