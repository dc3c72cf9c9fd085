#include "merge/engine/engine.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "merge/engine/facts.h"
#include "merge/engine/marks.h"
#include "merge/engine/node.h"
#include "merge/engine/plan.h"
#include "merge/engine/shelf.h"
#include "merge/kernels/isa.h"
#include "util/range.h"

/* A smaller block is computed again sooner than it is found on disk. */
#define KEEP_SIZE ((size_t)64 << 10)

/*
 * Stages are computed in blocks of this many elements, as they are scanned, so
 * that threads which scan neighbouring pieces do not want the same block. Where
 * stages stand on each other in more than so many levels, a thread may hold a
 * block of each, and they are made smaller.
 */
#define STAGE_MOST PIECE
#define STAGE_LEAST ((uint64_t)4 * TILE)
#define STAGE_LEVELS 8

/* What the fill of a block needs to know of its tensor. */
struct filler {
	struct engine *engine;
	const struct output_tensor *tensor;
	struct engine_tally *tally;
};

/*
 * What a thread looks at in a file at once, as letting go of it has its price,
 * and what of the file may be mapped for that.
 */
#define LOOK_SIZE ((size_t)1 << 20)
#define LOOK_COST ((size_t)4 << 20)

/*
 * What a thread reads at once of a file, or takes of a stage: rooms take
 * ROOMS_SIZE in all where that leaves each at least a tile of the widest dtype;
 * so they stay in a core's own cache.
 */
#define ROOMS_SIZE ((size_t)1 << 20)
#define ROOM_MOST ((size_t)128 << 10)
#define ROOM_LEAST ((size_t)TILE * 8)

struct engine {
	struct engine_options options;
	struct facts_scanner scanner;
	struct filler *fillers;	      /* (n_tensors,) as in the plan; owned */
	struct engine_tally *tallies; /* (n_tallies,) owned */
	size_t n_tallies;
	size_t room; /* floats per thread: a tile for results, and scratch */
	unsigned n_windows; /* per thread */
	size_t room_size;
	bool looks;	      /* at its inputs, rather than read them */
	unsigned n_rows;      /* row windows per thread */
	size_t row_room;      /* floats of each */
	unsigned n_levels;    /* desks that one thread may need at once */
	uint64_t stage_block; /* elements, at most */
	pthread_key_t desks;  /* struct desks of each thread */
	atomic_uint_fast64_t n_scans;
	atomic_uint_fast64_t n_read; /* bytes of inputs */
};

/*
 * The desks of one thread: one for what it was asked for, one for a stage's
 * block that this stands on, and so on; made when they are first needed.
 */
struct desks {
	unsigned level; /* in use: the number of stages on the way */
	struct desk *items[];
};

/* What a thread keeps between blocks; everything in one allocation. */
struct desk {
	float *tile;		 /* for results; scratch follows */
	struct row_window *rows; /* (n_rows,) */
	struct window windows[]; /* (n_windows,) */
};

/* Bytes of the desk's own head, before all that floats lie in. */
static size_t desk_head(const struct engine *engine)
{
	return round_up(sizeof(struct desk) +
				engine->n_windows * sizeof(struct window) +
				engine->n_rows * sizeof(struct row_window),
			64);
}

static size_t float_room(size_t n)
{
	return round_up(n * sizeof(float), 64);
}

static size_t desk_size(const struct engine *engine)
{
	return desk_head(engine) + float_room(engine->room) +
	       engine->n_rows * float_room(engine->row_room) +
	       engine->n_windows * engine->room_size;
}

static size_t room_size(unsigned n_windows)
{
	size_t size = ROOM_MOST;

	while (size > ROOM_LEAST && size * n_windows > ROOMS_SIZE)
		size /= 2;
	return size;
}

static struct desk *desk_new(const struct engine *engine)
{
	unsigned char *room = aligned_alloc(64, desk_size(engine));
	struct desk *desk = (struct desk *)(void *)room;
	if (!desk)
		return NULL;

	desk->rows = (struct row_window *)(void *)(desk->windows +
						   engine->n_windows);
	room += desk_head(engine);
	desk->tile = (float *)(void *)room;
	room += float_room(engine->room);
	for (unsigned i = 0; i < engine->n_rows; i++) {
		desk->rows[i] = (struct row_window){
			.data = (float *)(void *)room,
		};
		room += float_room(engine->row_room);
	}
	for (unsigned i = 0; i < engine->n_windows; i++) {
		desk->windows[i] = (struct window){.room = room};
		room += engine->room_size;
	}
	return desk;
}

/* Of NULL-ended items. */
static void desks_free(void *arg)
{
	struct desks *desks = arg;

	for (unsigned i = 0; desks && desks->items[i]; i++)
		free(desks->items[i]);
	free(desks);
}

static struct desks *thread_desks(struct engine *engine)
{
	struct desks *desks = pthread_getspecific(engine->desks);
	if (desks)
		return desks;

	desks = calloc(1, sizeof(*desks) + (engine->n_levels + 1) *
						   sizeof(struct desk *));
	if (desks && pthread_setspecific(engine->desks, desks) != 0) {
		free(desks);
		return NULL;
	}
	return desks;
}

static struct desk *thread_desk(struct engine *engine)
{
	struct desks *desks = thread_desks(engine);
	if (!desks)
		return NULL;

	struct desk **desk = &desks->items[desks->level];
	if (!*desk)
		*desk = desk_new(engine);
	return *desk;
}

static int fetch_staged(void *arg, const struct node *staged, uint64_t first,
			uint64_t n, void *data);

static int thread_eval(void *arg, struct eval *ret)
{
	struct engine *engine = arg;
	struct desk *desk = thread_desk(engine);
	if (!desk)
		return -ENOMEM;

	*ret = (struct eval){
		.isa = engine->options.isa,
		.scratch = desk->tile + TILE,
		.windows = desk->windows,
		.rows = desk->rows,
		.n_windows = engine->n_windows,
		.n_rows = engine->n_rows,
		.look_size = engine->looks ? LOOK_SIZE : 0,
		.room_size = engine->room_size,
		.n_read = &engine->n_read,
		.fetch = fetch_staged,
		.arg = engine,
	};
	return 0;
}

static void count_scan(void *arg)
{
	struct engine *engine = arg;

	atomic_fetch_add(&engine->n_scans, 1);
}

/* Elements of a node as dtype, tile by tile. */
static int fill_tiles(const struct eval *fresh, const struct node *node,
		      const struct dtype *dtype, uint64_t first, uint64_t n,
		      unsigned char *data)
{
	float *tile = fresh->scratch - TILE;
	size_t width = dtype->bits / 8;

	for (uint64_t done = 0; done < n; done += TILE) {
		struct eval eval = *fresh;
		size_t now = min_u64(TILE, n - done);
		eval.wanted = n - done;
		int r = node->type->eval(node, &eval, first + done, now, tile);
		if (r < 0)
			return r;
		eval.isa->store[dtype->code](data + done * width, tile, now);
	}
	return 0;
}

static int fill_elements(struct engine *engine, const struct node *node,
			 const struct dtype *dtype, uint64_t first, uint64_t n,
			 unsigned char *data)
{
	struct marks marks = {.cache = engine->options.cache};
	struct eval fresh;

	int r = thread_eval(engine, &fresh);
	if (r < 0)
		return r;
	fresh.marks = &marks;
	do {
		r = fill_tiles(&fresh, node, dtype, first, n, data);
	} while (r == 0 && eval_torn(&fresh));
	marks_done(&marks);
	return r;
}

/* The same, with all that comes before and after. */
static int compute(struct engine *engine, const struct node *node,
		   const struct dtype *dtype, uint64_t first, uint64_t n,
		   void *data)
{
	int r = facts_gather(&engine->scanner, node);
	if (r == 0)
		r = fill_elements(engine, node, dtype, first, n, data);
	return r < 0 ? r : node_check(node);
}

static int compute_block(const struct filler *filler, uint64_t number,
			 void *data, size_t size)
{
	const struct output_tensor *tensor = filler->tensor;
	size_t width = tensor->dtype->bits / 8;

	return compute(filler->engine, tensor->node, tensor->dtype,
		       number * (BLOCK_SIZE / width), size / width, data);
}

/* The values of a stage's tensor, in blocks. */
struct stage_filler {
	struct engine *engine;
	struct node *values;
	const struct dtype *kept;
	uint64_t n_block; /* elements of a block */
};

static int fill_stage(void *arg, uint64_t number, void *data, size_t size)
{
	const struct stage_filler *filler = arg;

	return compute(filler->engine, filler->values, filler->kept,
		       number * filler->n_block,
		       size / (filler->kept->bits / 8), data);
}

/* Part of one block, as much as lies in it of [first, first + n). */
static int fetch_part(struct stage_filler *filler, const struct node *staged,
		      uint64_t first, uint64_t n, void *data)
{
	size_t width = filler->kept->bits / 8;
	uint64_t number = first / filler->n_block;
	uint64_t begin = number * filler->n_block;
	struct digest key = digest_of(&staged->digest, sizeof(staged->digest),
				      filler->n_block);
	struct block_request request = {
		.key = digest_of(&key, sizeof(key), number),
		.size = min_u64(filler->n_block, staged->count - begin) * width,
		.fill = fill_stage,
		.arg = filler,
		.number = number,
	};
	const struct block *block = NULL;

	int r = block_try(filler->engine->options.cache, &request, &block);
	if (r == -EBUSY)
		return compute(filler->engine, filler->values, filler->kept,
			       first, n, data);
	if (r < 0)
		return r;
	memcpy(data, (const char *)block->data + (first - begin) * width,
	       n * width);
	block_put(filler->engine->options.cache, block);
	return 0;
}

static int fetch_parts(struct stage_filler *filler, const struct node *staged,
		       uint64_t first, uint64_t n, unsigned char *data)
{
	while (n > 0) {
		uint64_t now =
			min_u64(n, filler->n_block - first % filler->n_block);
		int r = fetch_part(filler, staged, first, now, data);
		if (r < 0)
			return r;
		data += now * (filler->kept->bits / 8);
		first += now;
		n -= now;
	}
	return 0;
}

/* The thread's desk is in use; what this stands on has the next. */
static int fetch_staged(void *arg, const struct node *staged, uint64_t first,
			uint64_t n, void *data)
{
	struct engine *engine = arg;
	struct desks *desks = pthread_getspecific(engine->desks);
	struct stage_filler filler = {.engine = engine};
	filler.values = node_staged_values(staged, &filler.kept);
	filler.n_block = min_u64(engine->stage_block,
				 BLOCK_SIZE / (filler.kept->bits / 8));

	desks->level++;
	int r = fetch_parts(&filler, staged, first, n, data);
	desks->level--;
	return r;
}

static uint64_t thread_time(void)
{
	struct timespec time;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static int fill_block(void *arg, uint64_t number, void *data, size_t size)
{
	const struct filler *filler = arg;
	struct engine_tally *tally = filler->tally;
	uint64_t began = thread_time();

	int r = compute_block(filler, number, data, size);
	atomic_fetch_add(&tally->nanoseconds, thread_time() - began);
	if (r == 0)
		atomic_fetch_add(&tally->bytes, size);
	return r;
}

struct pool *engine_pool(const struct engine *engine)
{
	return engine->options.pool;
}

struct block_cache *engine_cache(const struct engine *engine)
{
	return engine->options.cache;
}

uint64_t engine_blocks(const struct output_tensor *tensor)
{
	return (tensor->size + BLOCK_SIZE - 1) / BLOCK_SIZE;
}

void engine_request(struct engine *engine, const struct output_tensor *tensor,
		    uint64_t number, struct block_request *ret)
{
	uint64_t left = tensor->size - number * BLOCK_SIZE;
	size_t size = min_u64(BLOCK_SIZE, left);

	*ret = (struct block_request){
		.key = digest_of(&tensor->digest, sizeof(tensor->digest),
				 number),
		.size = size,
		.fill = fill_block,
		.arg = &engine->fillers[tensor->place],
		.number = number,
		.width = tensor->dtype->bits / 8,
		.keep = size >= KEEP_SIZE,
		.priority = POOL_FOREGROUND,
	};
}

void engine_recall(struct engine *engine, const struct output_tensor *tensor)
{
	facts_recall(&engine->scanner, tensor->node);
}

int engine_gather(struct engine *engine, const struct output_tensor *tensor)
{
	return facts_gather(&engine->scanner, tensor->node);
}

uint64_t engine_scans(const struct engine *engine)
{
	return atomic_load(&engine->n_scans);
}

uint64_t engine_bytes_read(const struct engine *engine)
{
	return atomic_load(&engine->n_read);
}

const struct engine_tally *engine_tallies(const struct engine *engine,
					  size_t *ret_n)
{
	*ret_n = engine->n_tallies;
	return engine->tallies;
}

static struct engine_tally *find_tally(struct engine *engine, const char *how)
{
	for (size_t i = 0; i < engine->n_tallies; i++) {
		if (strcmp(engine->tallies[i].how, how) == 0)
			return &engine->tallies[i];
	}
	struct engine_tally *tally = &engine->tallies[engine->n_tallies++];
	tally->how = how;
	return tally;
}

static uint64_t stage_block(unsigned depth)
{
	uint64_t n = STAGE_MOST;

	for (unsigned d = STAGE_LEVELS; d < depth && n > STAGE_LEAST; d *= 2)
		n /= 2;
	return n;
}

/* Of all windows of a thread. */
static size_t looks_size(const struct engine *engine)
{
	return (size_t)engine->n_levels * engine->n_windows * LOOK_COST;
}

static void lay_out_desk(struct engine *engine, const struct shelf *shelf)
{
	const struct node_room *room = &shelf->room;

	engine->room = TILE + room->scratch;
	engine->n_windows = room->n_leaves;
	engine->n_levels = 1 + shelf->depth;
	engine->room_size = room_size(room->n_leaves * engine->n_levels);
	engine->looks = looks_size(engine) <= engine->options.most_looks;
	engine->n_rows = room->n_rows;
	engine->row_room = room->row_room;
	engine->stage_block = stage_block(shelf->depth);
}

size_t engine_thread_size(const struct shelf *shelf, size_t most_looks)
{
	struct engine engine = {.options.most_looks = most_looks};

	lay_out_desk(&engine, shelf);
	return engine.n_levels * desk_size(&engine) +
	       (engine.looks ? looks_size(&engine) : 0) +
	       shelf->depth *
		       min_u64(BLOCK_SIZE, engine.stage_block * sizeof(double));
}

static void add_plan(struct engine *engine, const struct plan *plan)
{
	for (size_t i = 0; i < plan->n_tensors; i++) {
		const struct output_tensor *tensor = &plan->tensors[i];
		engine->fillers[tensor->place] = (struct filler){
			.engine = engine,
			.tensor = tensor,
			.tally = find_tally(engine, tensor->how),
		};
	}
}

int engine_new(const struct engine_options *options, struct engine **ret)
{
	const struct shelf *shelf = options->shelf;
	struct engine *engine = calloc(1, sizeof(*engine));
	if (!engine)
		return -ENOMEM;
	if (pthread_key_create(&engine->desks, desks_free) != 0) {
		free(engine);
		return -ENOMEM;
	}

	engine->options = *options;
	if (!engine->options.isa)
		engine->options.isa = isa_best();
	lay_out_desk(engine, shelf);
	engine->scanner = (struct facts_scanner){
		.pool = options->pool,
		.cache = options->cache,
		.eval = thread_eval,
		.arg = engine,
		.scanned = count_scan,
	};
	engine->fillers = calloc(shelf->n_outputs + 1, sizeof(struct filler));
	engine->tallies =
		calloc(shelf->n_outputs + 1, sizeof(struct engine_tally));
	if (!engine->fillers || !engine->tallies) {
		engine_free(engine);
		return -ENOMEM;
	}
	for (size_t i = 0; i < options->n_plans; i++)
		add_plan(engine, options->plans[i]);
	*ret = engine;
	return 0;
}

void engine_free(struct engine *engine)
{
	if (!engine)
		return;
	desks_free(pthread_getspecific(engine->desks));
	pthread_key_delete(engine->desks);
	free(engine->tallies);
	free(engine->fillers);
	free(engine);
}
