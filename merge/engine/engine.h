/*
 * The engine: bytes of output tensors, computed on demand.
 *
 * Tensors are served in blocks of BLOCK_SIZE bytes through a block cache (the
 * last block of a tensor may be shorter). Before the first block of a tensor
 * the facts of its nodes are gathered, by every thread that needs them
 * together. All work is done on the pool.
 *
 * Every function may be called from any thread unless it says otherwise.
 */
#ifndef MERGE_ENGINE_ENGINE_H
#define MERGE_ENGINE_ENGINE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "cache/block.h"
#include "util/macros.h"

struct engine;
struct isa;
struct output_tensor;
struct plan;
struct pool;
struct shelf;

struct engine_options {
	const struct shelf *shelf;	 /* borrowed, as all here */
	const struct plan *const *plans; /* (n_plans,) all of the shelf */
	size_t n_plans;
	struct pool *pool;
	struct block_cache *cache;
	const struct isa *isa; /* NULL: the best */
	size_t most_looks;     /* see engine_thread_size() */
};

/*
 * Bytes that every thread of the pool needs beside the blocks. Inputs are
 * looked at in the page cache if all of one thread's windows on them can take
 * most_looks bytes or less; else they are read.
 */
size_t engine_thread_size(const struct shelf *shelf, size_t most_looks);

int engine_new(const struct engine_options *options, struct engine **ret);
void engine_free(struct engine *engine);
DEFINE_AUTO(engine, engine_free);

/* What the engine was made with. */
struct pool *engine_pool(const struct engine *engine);
struct block_cache *engine_cache(const struct engine *engine);

/* Blocks of a tensor that is not a copy. */
uint64_t engine_blocks(const struct output_tensor *tensor);

/* Describes block `number` of a tensor that is not a copy. */
void engine_request(struct engine *engine, const struct output_tensor *tensor,
		    uint64_t number, struct block_request *ret);

/* Makes the facts of a tensor known where they are kept already, or, by
 * gather, in any case. Not from a pool worker. */
void engine_recall(struct engine *engine, const struct output_tensor *tensor);
int engine_gather(struct engine *engine, const struct output_tensor *tensor);

/* What was computed in one way, which a plan's tensors name; read with
 * atomic_load(). */
struct engine_tally {
	const char *how;		  /* output_tensor.how */
	atomic_uint_fast64_t bytes;	  /* of output */
	atomic_uint_fast64_t nanoseconds; /* of CPU, scans included */
};

/* (*ret_n,) one for each way there is in the plan; the engine's. */
const struct engine_tally *engine_tallies(const struct engine *engine,
					  size_t *ret_n);

/* Whole-tensor scans made since the start (facts found on disk count none). */
uint64_t engine_scans(const struct engine *engine);

/* Bytes of stored tensors that were read or looked at, repeats included. */
uint64_t engine_bytes_read(const struct engine *engine);

#endif
