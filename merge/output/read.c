/*
 * Reads of image files: a range becomes pieces, one per literal run, copied run
 * or block. Pieces that are at hand are pointed at; copies are made by a pool
 * task; blocks that are missing are asked for and come by callback. Whoever
 * brings the last piece calls done().
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "cache/block.h"
#include "merge/engine/engine.h"
#include "merge/engine/node.h"
#include "merge/engine/plan.h"
#include "merge/output/image.h"
#include "merge/output/image_private.h"
#include "merge/source/file.h"
#include "util/pool.h"
#include "util/range.h"

struct piece {
	struct image_read_state *state;
	struct iovec *iov;
	/* of a block */
	struct block_waiter waiter;
	const struct block *block; /* pinned */
	size_t skip;		   /* bytes of the block before the piece */
	/* of a copy */
	const struct file *file;
	uint64_t offset;
};

struct image_read_state {
	struct image_read *read;
	atomic_uint n_pending; /* pieces outstanding, and the caller itself */
	atomic_int failed;
	struct pool_task task; /* makes the copies */
	size_t n_copied;       /* bytes */
	unsigned char
		*copies; /* (n_copied,) owned; NULL before they are made */
	size_t n_pieces;
	struct piece pieces[]; /* followed by as many struct iovec */
};

/* One step through a range: the extent, and how much of it one piece takes. */
struct step {
	const struct extent *extent;
	uint64_t within; /* bytes of the extent before the piece */
	size_t size;
};

static struct step step_at(const struct extents *extents, uint64_t offset,
			   size_t size)
{
	const struct extent *extent = extents_find(extents, offset);
	uint64_t within = offset - extent->offset;
	uint64_t left = extent->size - within;

	if (extent->kind == EXTENT_TENSOR)
		left = min_u64(left, BLOCK_SIZE - within % BLOCK_SIZE);
	return (struct step){extent, within, min_u64(left, size)};
}

static void finish_piece(struct image_read_state *state, int r)
{
	if (r < 0)
		atomic_store(&state->failed, r);
	if (atomic_fetch_sub(&state->n_pending, 1) == 1) {
		struct image_read *read = state->read;
		read->done(read, atomic_load(&state->failed));
	}
}

static void take_block(struct piece *piece, const struct block *block)
{
	piece->block = block;
	piece->iov->iov_base = (char *)block->data + piece->skip;
}

static void block_done(struct block_waiter *waiter, int r,
		       const struct block *block)
{
	struct piece *piece = CONTAINER_OF(waiter, struct piece, waiter);

	if (r == 0)
		take_block(piece, block);
	finish_piece(piece->state, r);
}

static void want_block(struct piece *piece, const struct step *step)
{
	struct engine *engine = piece->state->read->engine;
	struct block_cache *cache = engine_cache(engine);
	struct block_request request;

	engine_request(engine, step->extent->tensor, step->within / BLOCK_SIZE,
		       &request);
	request.priority = piece->state->read->priority;
	piece->skip = step->within % BLOCK_SIZE;
	struct image_roads *roads = &piece->state->read->roads;
	const struct block *block = block_peek(cache, request.key);
	if (block) {
		roads->memory += step->size;
		take_block(piece, block);
		return;
	}
	roads->waited += step->size;
	piece->waiter.done = block_done;
	atomic_fetch_add(&piece->state->n_pending, 1);
	block_want(cache, &request, &piece->waiter);
}

/* Room for them is made here, so that reads that wait for their turn, of which
 * there may be many, take none. */
static void make_copies(struct pool_task *task)
{
	struct image_read_state *state =
		CONTAINER_OF(task, struct image_read_state, task);
	unsigned char *to = state->copies = malloc(state->n_copied);
	int r = to ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < state->n_pieces; i++) {
		struct piece *piece = &state->pieces[i];
		if (!piece->file)
			continue;
		r = file_read(piece->file, piece->offset, piece->iov->iov_len,
			      to);
		piece->iov->iov_base = to;
		to += piece->iov->iov_len;
	}
	finish_piece(state, r);
}

/* Makes room for the pieces of a read. */
static int state_new(const struct extents *extents, struct image_read *read)
{
	size_t n = 0, n_copied = 0;
	for (size_t at = 0; at < read->size; n++) {
		struct step step =
			step_at(extents, read->offset + at, read->size - at);
		if (step.extent->kind == EXTENT_COPY)
			n_copied += step.size;
		at += step.size;
	}

	struct image_read_state *state =
		calloc(1, sizeof(*state) + n * sizeof(struct piece) +
				  n * sizeof(struct iovec));
	if (!state)
		return -ENOMEM;
	state->read = read;
	state->n_copied = n_copied;
	state->n_pieces = n;
	read->state = state;
	read->iov = (struct iovec *)(void *)&state->pieces[n];
	read->n_iov = n;
	return 0;
}

static void start_pieces(const struct extents *extents, struct image_read *read)
{
	struct image_read_state *state = read->state;
	size_t at = 0;

	for (size_t i = 0; i < state->n_pieces; i++) {
		struct piece *piece = &state->pieces[i];
		struct step step =
			step_at(extents, read->offset + at, read->size - at);
		piece->state = state;
		piece->iov = &read->iov[i];
		piece->iov->iov_len = step.size;
		at += step.size;
		switch (step.extent->kind) {
		case EXTENT_LITERAL:
			piece->iov->iov_base =
				(char *)step.extent->literal + step.within;
			read->roads.literal += step.size;
			break;
		case EXTENT_COPY:
			piece->file = step.extent->copy.file;
			piece->offset = step.extent->copy.offset + step.within;
			read->roads.copied += step.size;
			break;
		case EXTENT_TENSOR:
			want_block(piece, &step);
			break;
		}
	}
}

void image_read(const struct image *image, struct image_read *read)
{
	const struct extents *extents = image_extents(image, read->entry);

	read->state = NULL;
	read->roads = (struct image_roads){0};
	int r = state_new(extents, read);
	if (r < 0) {
		read->done(read, r);
		return;
	}

	/* The caller counts as pending, so done() comes after the last start.
	 */
	struct image_read_state *state = read->state;
	bool copies = state->n_copied > 0;
	atomic_store(&state->n_pending, copies ? 2 : 1);
	start_pieces(extents, read);
	if (copies) {
		state->task.run = make_copies;
		if (read->engine)
			pool_submit(engine_pool(read->engine), &state->task,
				    read->priority);
		else
			make_copies(&state->task);
	}
	finish_piece(state, 0);
}

void image_read_done(struct image_read *read)
{
	struct image_read_state *state = read->state;
	if (!state)
		return;

	for (size_t i = 0; i < state->n_pieces; i++) {
		const struct piece *piece = &state->pieces[i];
		if (piece->block)
			block_had(engine_cache(read->engine), piece->block,
				  piece->iov->iov_len);
	}
	free(state->copies);
	free(state);
	read->state = NULL;
}

struct sync_read {
	struct image_read read;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool ended;
	int r;
};

static void sync_done(struct image_read *read, int r)
{
	struct sync_read *sync = CONTAINER_OF(read, struct sync_read, read);

	pthread_mutex_lock(&sync->lock);
	sync->ended = true;
	sync->r = r;
	pthread_cond_signal(&sync->changed);
	pthread_mutex_unlock(&sync->lock);
}

int image_read_sync(const struct image *image, struct engine *engine,
		    uint32_t entry, uint64_t offset, size_t size, void *data)
{
	struct sync_read sync = {
		.read =
			{
				.engine = engine,
				.entry = entry,
				.offset = offset,
				.size = size,
				.done = sync_done,
			},
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.changed = PTHREAD_COND_INITIALIZER,
	};

	image_read(image, &sync.read);
	pthread_mutex_lock(&sync.lock);
	while (!sync.ended)
		pthread_cond_wait(&sync.changed, &sync.lock);
	pthread_mutex_unlock(&sync.lock);

	unsigned char *out = data;
	for (size_t i = 0; sync.r == 0 && i < sync.read.n_iov; i++) {
		memcpy(out, sync.read.iov[i].iov_base,
		       sync.read.iov[i].iov_len);
		out += sync.read.iov[i].iov_len;
	}
	image_read_done(&sync.read);
	return sync.r;
}

static void fetch_ahead(struct engine *engine, const struct step *step)
{
	struct block_request request;

	if (step->extent->kind != EXTENT_TENSOR)
		return;
	engine_request(engine, step->extent->tensor, step->within / BLOCK_SIZE,
		       &request);
	request.priority = POOL_BACKGROUND;
	block_want(engine_cache(engine), &request, NULL);
}

void image_prefetch(const struct image *image, struct engine *engine,
		    uint32_t entry, uint64_t offset, uint64_t size)
{
	const struct extents *extents = image_extents(image, entry);
	struct step step = {0};
	if (offset >= extents->size)
		return;

	uint64_t end = offset + min_u64(size, extents->size - offset);
	for (; offset < end; offset += step.size) {
		step = step_at(extents, offset,
			       min_u64(end - offset, BLOCK_SIZE));
		fetch_ahead(engine, &step);
	}

	/* A tensor that must be scanned first is begun while the one before it
	 * is read. */
	const struct extent *next = step.extent + 1;
	if (step.extent && next < extents->items + extents->n &&
	    next->kind == EXTENT_TENSOR && next->tensor->node->facts) {
		step = (struct step){.extent = next};
		fetch_ahead(engine, &step);
	}
}

bool image_next_block(const struct image *image, struct engine *engine,
		      uint32_t entry, uint64_t *at, struct digest *ret)
{
	const struct extents *extents = image_extents(image, entry);

	while (*at < extents->size) {
		struct step step = step_at(extents, *at, SIZE_MAX);
		struct block_request request = {0};
		if (step.extent->kind == EXTENT_TENSOR)
			engine_request(engine, step.extent->tensor,
				       step.within / BLOCK_SIZE, &request);
		*at += step.size;
		if (request.keep) {
			*ret = request.key;
			return true;
		}
	}
	return false;
}
