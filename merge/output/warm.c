#include "merge/output/warm.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "cache/block.h"
#include "merge/engine/engine.h"
#include "merge/engine/plan.h"
#include "merge/output/image.h"
#include "merge/output/image_private.h"
#include "util/range.h"

struct wanted {
	struct block_waiter waiter;
	struct block_request request;
	struct warm_state *state;
};

struct warm_state {
	struct warm_step *step;
	atomic_uint n_pending; /* blocks outstanding, and the caller itself */
	atomic_int failed;
	struct wanted blocks[WARM_BLOCKS];
};

typedef bool see_fn(void *arg, const struct output_tensor *tensor);

/* Calls see() for the computed tensors that match, until it returns false. */
static void walk(const struct image *image, const char *pattern, see_fn *see,
		 void *arg)
{
	uint32_t n;
	const struct image_entry *entries = image_entries(image, &n);

	for (uint32_t i = 0; i < n; i++) {
		if (entries[i].directory)
			continue;
		const struct extents *extents = image_extents(image, i);
		for (size_t k = 0; k < extents->n; k++) {
			const struct extent *extent = &extents->items[k];
			if (extent->kind != EXTENT_TENSOR ||
			    (pattern &&
			     fnmatch(pattern, extent->tensor->name, 0) != 0))
				continue;
			if (!see(arg, extent->tensor))
				return;
		}
	}
}

struct pass {
	struct warm_step *step;
	uint64_t all; /* bytes of all parts */
	uint64_t at;  /* before the tensor that is seen, of all parts */
	uint64_t own; /* likewise, of the step's part */
	unsigned n_wanted, most; /* blocks */
};

static bool measure(void *arg, const struct output_tensor *tensor)
{
	struct pass *pass = arg;

	pass->all += tensor->size;
	return true;
}

/* A tensor is of the part that its middle lies in. */
static bool is_own(struct pass *pass, const struct output_tensor *tensor)
{
	const struct warm_choice *choice = &pass->step->choice;
	uint64_t middle = pass->at + tensor->size / 2;

	pass->at += tensor->size;
	return (uint64_t)((__uint128_t)middle * choice->n_parts / pass->all) ==
	       choice->part - 1;
}

static void finish(struct warm_state *state, int r)
{
	struct warm_step *step = state->step;

	if (r < 0)
		atomic_store(&state->failed, r);
	if (atomic_fetch_sub(&state->n_pending, 1) > 1)
		return;
	r = atomic_load(&state->failed);
	free(state);
	step->state = NULL;
	step->done(step, r);
}

static void block_done(struct block_waiter *waiter, int r,
		       const struct block *block)
{
	struct wanted *wanted = CONTAINER_OF(waiter, struct wanted, waiter);
	struct warm_state *state = wanted->state;

	struct block_cache *cache = engine_cache(state->step->engine);

	if (r == 0) {
		/* It may have been in memory, and nowhere else. */
		block_store(cache, &wanted->request, block);
		block_put(cache, block);
	}
	finish(state, r);
}

static void want(struct warm_step *step, const struct output_tensor *tensor,
		 uint64_t number, struct wanted *wanted)
{
	engine_request(step->engine, tensor, number, &wanted->request);
	wanted->request.priority = POOL_BACKGROUND;
	wanted->waiter.done = block_done;
	wanted->state = step->state;
	atomic_fetch_add(&step->state->n_pending, 1);
	block_want(engine_cache(step->engine), &wanted->request,
		   &wanted->waiter);
}

static bool take(void *arg, const struct output_tensor *tensor)
{
	struct pass *pass = arg;
	struct warm_step *step = pass->step;

	if (!is_own(pass, tensor))
		return true;
	uint64_t begin = pass->own;
	pass->own += tensor->size;
	step->total = pass->own;
	while (step->next < pass->own && pass->n_wanted < pass->most) {
		uint64_t number = (step->next - begin) / BLOCK_SIZE;
		want(step, tensor, number,
		     &step->state->blocks[pass->n_wanted++]);
		step->next = begin +
			     min_u64((number + 1) * BLOCK_SIZE, tensor->size);
	}
	return true;
}

/* More would be skipped by those that store, and be there no more when the
 * walk ends. */
static unsigned most_blocks(const struct warm_step *step)
{
	size_t place = block_cache_place(engine_cache(step->engine));
	uint64_t most = min_u64(place / BLOCK_SIZE, WARM_BLOCKS);

	return most > 0 ? (unsigned)most : 1;
}

void warm_step(struct warm_step *step)
{
	struct pass pass = {.step = step, .most = most_blocks(step)};
	struct warm_state *state = calloc(1, sizeof(*state));

	step->next = step->position;
	step->total = 0;
	step->state = state;
	if (!state) {
		step->done(step, -ENOMEM);
		return;
	}
	state->step = step;
	/* The caller counts as pending, so done() comes after the last start.
	 */
	atomic_store(&state->n_pending, 1);
	walk(step->image, step->choice.pattern, measure, &pass);
	if (pass.all > 0)
		walk(step->image, step->choice.pattern, take, &pass);
	finish(state, 0);
}
