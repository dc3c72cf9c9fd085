#include "merge/engine/facts.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cache/block.h"
#include "merge/engine/marks.h"
#include "merge/engine/node.h"
#include "util/pool.h"
#include "util/range.h"

/* Parts held at once; a longer scan folds them in waves of this many bytes. */
#define WAVE_SIZE ((size_t)4 << 20)

struct facts {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	atomic_bool known;
	bool running; /* somebody leads a scan */
	int failed;   /* errno of the last scan, for those who waited for it */
	uint64_t n_scans;	/* scans ended so far, good or bad */
	struct pool_loop *loop; /* the wave that may be joined now */
	size_t size;
	void *data; /* (size,) owned */
};

int facts_new(size_t size, struct facts **ret)
{
	struct facts *facts = calloc(1, sizeof(*facts));
	if (!facts)
		return -ENOMEM;
	facts->data = calloc(1, size);
	if (!facts->data) {
		free(facts);
		return -ENOMEM;
	}
	facts->size = size;
	pthread_mutex_init(&facts->lock, NULL);
	pthread_cond_init(&facts->changed, NULL);
	*ret = facts;
	return 0;
}

void facts_free(struct facts *facts)
{
	if (!facts)
		return;
	pthread_mutex_destroy(&facts->lock);
	pthread_cond_destroy(&facts->changed);
	free(facts->data);
	free(facts);
}

const void *facts_data(const struct facts *facts)
{
	return facts->data;
}

const void *facts_known(const struct facts *facts)
{
	return atomic_load_explicit(&facts->known, memory_order_acquire)
		       ? facts->data
		       : NULL;
}

/* One wave of one pass, shared by the threads that scan. */
struct wave {
	const struct facts_scanner *scanner;
	const struct node *node;
	unsigned pass;
	uint64_t size;	/* elements of a piece */
	uint64_t first; /* piece */
	size_t part_size;
	struct method_sizes sizes;
	unsigned char *parts; /* (pieces of the wave, part_size) */
	void *sum;
	atomic_int failed;
};

/* Is the unit behind these n elements needed, too? */
static bool goes_on(const struct node *node, const struct method_scan *scan,
		    size_t n, uint64_t end)
{
	struct method_scan next = *scan;

	next.first += n;
	next.n = min_u64(node->unit, end - next.first);
	return next.n > 0 && node->type->reach(node, &next) > 0;
}

static int scan_unit(const struct node *node, const struct eval *fresh,
		     struct method_scan *scan, uint64_t end)
{
	struct eval eval = *fresh;
	size_t n = min_u64(node->unit, end - scan->first);

	eval.wanted = end - scan->first;
	scan->n = n;
	if (node->type->reach)
		scan->n = node->type->reach(node, scan);
	if (scan->n == 0)
		return 0;
	if (scan->n < n || (node->type->reach && !goes_on(node, scan, n, end)))
		eval.wanted = scan->n;
	if (scan->n < n)
		eval.look_size = 0; /* a few are sooner read */
	return node->type->scan(node, &eval, scan);
}

static int scan_units(const struct node *node, const struct eval *fresh,
		      struct method_scan *scan, uint64_t end)
{
	for (uint64_t at = scan->piece; at < end; at += node->unit) {
		scan->first = at;
		int r = scan_unit(node, fresh, scan, end);
		if (r < 0)
			return r;
	}
	return 0;
}

static void begin_part(const struct wave *wave, void *part)
{
	const struct node *node = wave->node;

	if (node->type->begin)
		node->type->begin(node, part, wave->part_size, wave->pass);
	else
		memset(part, 0, wave->part_size);
}

static int scan_piece(struct wave *wave, uint64_t piece, void *part)
{
	const struct node *node = wave->node;
	struct eval fresh;
	int r = wave->scanner->eval(wave->scanner->arg, &fresh);
	if (r < 0)
		return r;

	struct method_scan scan = {
		.pass = wave->pass,
		.facts = node->facts->data,
		.piece = piece * wave->size,
		.part = part,
		.sum = wave->sum,
	};
	uint64_t end = min_u64(scan.piece + wave->size, node->count);
	do {
		begin_part(wave, part);
		r = scan_units(node, &fresh, &scan, end);
	} while (r == 0 && eval_torn(&fresh));
	if (r == 0 && wave->sizes.marks > 0)
		marks_keep(wave->scanner->cache, node, scan.piece,
			   (char *)part + wave->sizes.part - wave->sizes.marks,
			   wave->sizes.marks);
	return r;
}

static void wave_body(void *arg, size_t i)
{
	struct wave *wave = arg;
	if (atomic_load_explicit(&wave->failed, memory_order_relaxed))
		return;

	int r = scan_piece(wave, wave->first + i,
			   wave->parts + i * wave->part_size);
	if (r < 0)
		atomic_store(&wave->failed, r);
}

/* Lets the threads that wait for these facts join the wave. */
static void publish(struct facts *facts, struct pool_loop *loop)
{
	pthread_mutex_lock(&facts->lock);
	facts->loop = loop;
	pthread_cond_broadcast(&facts->changed);
	pthread_mutex_unlock(&facts->lock);
}

static int run_wave(struct wave *wave, size_t n_pieces)
{
	struct facts *facts = wave->node->facts;
	struct pool_loop *loop = NULL;

	int r = pool_loop_new(wave->scanner->pool, n_pieces, wave_body, wave,
			      &loop);
	if (r < 0)
		return r;
	publish(facts, loop);
	pool_loop_join(loop);
	publish(facts, NULL);
	pool_loop_unref(loop);

	r = atomic_load(&wave->failed);
	for (size_t i = 0; r == 0 && i < n_pieces; i++)
		wave->node->type->fold(wave->node, wave->sum,
				       wave->parts + i * wave->part_size,
				       wave->pass, facts->data);
	return r;
}

/* Whole units, about PIECE. */
uint64_t facts_piece(const struct node *node)
{
	return node->unit < PIECE ? PIECE / node->unit * node->unit
				  : node->unit;
}

static int run_waves(struct wave *wave, uint64_t n_pieces, uint64_t n_wave)
{
	for (; wave->first < n_pieces; wave->first += n_wave) {
		int r = run_wave(wave, min_u64(n_wave, n_pieces - wave->first));
		if (r < 0)
			return r;
	}
	return 0;
}

/* Sums have much room that is mostly not used: of fresh pages, which are zero
 * before they are touched. */
static int run_waves_to_sum(struct wave *wave, uint64_t n_pieces,
			    uint64_t n_wave, unsigned *ret_next)
{
	const struct node *node = wave->node;
	size_t size = wave->sizes.sum + 1;

	wave->sum = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (wave->sum == MAP_FAILED)
		return -ENOMEM;
	int r = run_waves(wave, n_pieces, n_wave);
	if (r == 0)
		*ret_next = node->type->settle(node, wave->pass,
					       node->facts->data, wave->sum);
	munmap(wave->sum, size);
	return r;
}

/* *ret_next: the pass that must follow, 0 if none. */
static int run_pass(const struct facts_scanner *scanner,
		    const struct node *node, unsigned pass, unsigned *ret_next)
{
	struct method_sizes sizes = node->type->sizes(node, pass);
	struct wave wave = {
		.scanner = scanner,
		.node = node,
		.pass = pass,
		.size = facts_piece(node),
		.part_size = round_up(sizes.part + 1, 64),
		.sizes = sizes,
	};
	uint64_t n_pieces = (node->count + wave.size - 1) / wave.size;
	uint64_t n_wave = WAVE_SIZE / wave.part_size;
	if (n_wave < 2 * pool_threads(scanner->pool))
		n_wave = 2 * pool_threads(scanner->pool);
	if (n_wave > n_pieces)
		n_wave = n_pieces;

	AUTO_FREE unsigned char *parts =
		aligned_alloc(64, (n_wave + 1) * wave.part_size);
	if (!parts)
		return -ENOMEM;
	wave.parts = parts;
	return run_waves_to_sum(&wave, n_pieces, n_wave, ret_next);
}

static int run_passes(const struct facts_scanner *scanner,
		      const struct node *node)
{
	unsigned pass = 0;

	memset(node->facts->data, 0, node->facts->size);
	do {
		int r = run_pass(scanner, node, pass, &pass);
		if (r < 0)
			return r;
	} while (pass > 0);
	return node_check(node);
}

static struct digest facts_key(const struct node *node)
{
	struct digest key = node->digest;

	return digest_of(&key, sizeof(key), PIECE);
}

static int find_on_disk(const struct facts_scanner *scanner,
			const struct node *node)
{
	struct facts *facts = node->facts;

	return block_load(scanner->cache, facts_key(node), facts->data,
			  facts->size);
}

/* Led by one thread at a time. */
static int find_or_scan(const struct facts_scanner *scanner,
			const struct node *node)
{
	struct facts *facts = node->facts;

	if (find_on_disk(scanner, node) == 0)
		return 0;
	int r = run_passes(scanner, node);
	if (r < 0)
		return r;
	scanner->scanned(scanner->arg);
	block_keep(scanner->cache, facts_key(node), facts->data, facts->size);
	return 0;
}

/* Helps the scan that another thread leads, until it has ended. */
static int help(struct facts *facts)
{
	uint64_t scan = facts->n_scans;

	while (facts->n_scans == scan) {
		if (!facts->loop) {
			pthread_cond_wait(&facts->changed, &facts->lock);
			continue;
		}
		struct pool_loop *loop = pool_loop_ref(facts->loop);
		pthread_mutex_unlock(&facts->lock);
		pool_loop_join(loop);
		pthread_mutex_lock(&facts->lock);
		/* The leader takes the ended loop away. */
		while (facts->loop == loop)
			pthread_cond_wait(&facts->changed, &facts->lock);
		pool_loop_unref(loop);
	}
	return facts->failed;
}

static int gather_own(const struct facts_scanner *scanner,
		      const struct node *node)
{
	struct facts *facts = node->facts;
	if (atomic_load_explicit(&facts->known, memory_order_acquire))
		return 0;

	pthread_mutex_lock(&facts->lock);
	int r = 0;
	if (facts->running) {
		r = help(facts);
		pthread_mutex_unlock(&facts->lock);
		return r;
	}
	if (!atomic_load(&facts->known)) {
		facts->running = true;
		pthread_mutex_unlock(&facts->lock);
		r = find_or_scan(scanner, node);
		pthread_mutex_lock(&facts->lock);
		facts->running = false;
		facts->failed = r;
		facts->n_scans++;
		if (r == 0)
			atomic_store_explicit(&facts->known, true,
					      memory_order_release);
		pthread_cond_broadcast(&facts->changed);
	}
	pthread_mutex_unlock(&facts->lock);
	return r;
}

void facts_recall(const struct facts_scanner *scanner, const struct node *node)
{
	struct facts *facts = node->facts;

	for (unsigned i = 0; i < node->n_inputs; i++)
		facts_recall(scanner, node->inputs[i]);
	if (!facts)
		return;
	pthread_mutex_lock(&facts->lock);
	if (!facts->running && !atomic_load(&facts->known) &&
	    find_on_disk(scanner, node) == 0)
		atomic_store_explicit(&facts->known, true,
				      memory_order_release);
	pthread_mutex_unlock(&facts->lock);
}

int facts_gather(const struct facts_scanner *scanner, const struct node *node)
{
	for (unsigned i = 0; i < node->n_inputs; i++) {
		int r = facts_gather(scanner, node->inputs[i]);
		if (r < 0)
			return r;
	}
	return node->facts ? gather_own(scanner, node) : 0;
}
