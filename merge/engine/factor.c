#include "merge/engine/factor.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "merge/kernels/product.h"
#include "merge/source/file.h"
#include "merge/source/tensor.h"
#include "util/hash.h"
#include "util/range.h"

/* Elements that are converted at once, and those that a thread takes to load
 * before it looks for others. */
#define AT_ONCE ((size_t)1 << 12)
#define PART ((uint64_t)1 << 16)

enum factor_state { FACTOR_ABSENT, FACTOR_LOADING, FACTOR_THERE };

struct factor {
	struct factors *factors; /* borrowed */
	struct factor_view view;
	uint64_t steps[3]; /* floats, along the view's dimensions */
	uint64_t size;	   /* bytes in memory */

	/* Under the lock of factors. */
	enum factor_state state;
	unsigned n_users;
	uint64_t used; /* when it was put back last */
	float *data;   /* owned */
	/* While it is loaded. */
	uint64_t begun; /* elements that threads have taken */
	unsigned n_loaders;
	int error;
};

struct factors {
	pthread_mutex_t lock;
	pthread_cond_t loaded; /* or failed to */
	struct factor **items; /* (n,) owned */
	size_t n;
	uint64_t size, limit, held; /* bytes */
	uint64_t clock;
};

int factors_new(struct factors **ret)
{
	struct factors *factors = calloc(1, sizeof(*factors));
	if (!factors)
		return -ENOMEM;

	pthread_mutex_init(&factors->lock, NULL);
	pthread_cond_init(&factors->loaded, NULL);
	factors->limit = UINT64_MAX;
	*ret = factors;
	return 0;
}

void factors_free(struct factors *factors)
{
	if (!factors)
		return;
	for (size_t i = 0; i < factors->n; i++) {
		free(factors->items[i]->data);
		free(factors->items[i]);
	}
	free(factors->items);
	pthread_mutex_destroy(&factors->lock);
	pthread_cond_destroy(&factors->loaded);
	free(factors);
}

uint64_t factors_size(const struct factors *factors)
{
	return factors->size;
}

void factors_limit(struct factors *factors, uint64_t size)
{
	factors->limit = size;
}

uint64_t factor_size(const struct factor *factor, enum factor_axis axis)
{
	const struct factor_view *view = &factor->view;
	unsigned i = 0;

	while (view->axes[i] != axis)
		i++;
	return view->sizes[i];
}

uint64_t factor_step(const struct factor *factor)
{
	uint64_t columns = factor_size(factor, FACTOR_COLUMN);

	if (factor->view.panels)
		columns = round_up(columns, PANEL);
	return factor_size(factor, FACTOR_ROW) * columns;
}

/* A column of a factor in panels has no step; see place_of(). */
static int lay_out(struct factor *factor)
{
	const struct factor_view *view = &factor->view;
	bool panels = view->panels;
	uint64_t columns = factor_size(factor, FACTOR_COLUMN);
	uint64_t count;

	if (columns > UINT64_MAX - PANEL)
		return -EOVERFLOW;
	if (range_mul(factor_size(factor, FACTOR_ROW),
		      panels ? round_up(columns, PANEL) : columns,
		      &count) < 0 ||
	    range_mul(count, factor_size(factor, FACTOR_BATCH), &count) < 0 ||
	    range_mul(count, sizeof(float), &factor->size) < 0 ||
	    range_add(factor->size, 64, &count) < 0)
		return -EOVERFLOW;
	factor->size = round_up(factor->size, 64);
	for (unsigned i = 0; i < 3; i++) {
		if (view->axes[i] == FACTOR_BATCH)
			factor->steps[i] = factor_step(factor);
		else if (view->axes[i] == FACTOR_ROW)
			factor->steps[i] = panels ? PANEL : columns;
		else
			factor->steps[i] = 1;
	}
	return 0;
}

static bool same_view(const struct factor_view *a, const struct factor_view *b)
{
	return a->tensor == b->tensor && a->panels == b->panels &&
	       memcmp(a->sizes, b->sizes, sizeof(a->sizes)) == 0 &&
	       memcmp(a->axes, b->axes, sizeof(a->axes)) == 0;
}

int factors_add(struct factors *factors, const struct factor_view *view,
		struct factor **ret)
{
	/* Equal ones come one behind the other. */
	size_t from = factors->n > 4 ? factors->n - 4 : 0;
	for (size_t i = from; i < factors->n; i++) {
		if (same_view(&factors->items[i]->view, view)) {
			*ret = factors->items[i];
			return 0;
		}
	}

	struct factor **items = reallocarray(factors->items, factors->n + 1,
					     sizeof(struct factor *));
	if (!items)
		return -ENOMEM;
	factors->items = items;
	struct factor *factor = calloc(1, sizeof(*factor));
	if (!factor)
		return -ENOMEM;
	factor->factors = factors;
	factor->view = *view;
	int r = lay_out(factor);
	if (r < 0) {
		free(factor);
		return r;
	}
	factors->size += factor->size;
	items[factors->n++] = factor;
	*ret = factor;
	return 0;
}

void factor_hash(const struct factor *factor, struct hasher *hasher)
{
	const struct factor_view *view = &factor->view;

	hasher_u64(hasher, view->tensor != NULL);
	if (view->tensor) {
		hasher_digest(hasher, view->tensor->file->identity);
		hasher_u64(hasher, view->tensor->offset);
		hasher_string(hasher, view->tensor->dtype->name);
	}
	for (unsigned i = 0; i < 3; i++) {
		hasher_u64(hasher, view->sizes[i]);
		hasher_u64(hasher, view->axes[i]);
	}
}

int factor_check(const struct factor *factor)
{
	return factor->view.tensor ? file_check(factor->view.tensor->file) : 0;
}

/* Values of one run along the last dimension, from place `at` of it. */
static void place_run(const struct factor *factor, float *data,
		      const float *values, uint64_t at, uint64_t n)
{
	uint64_t step = factor->steps[2];

	if (factor->view.axes[2] == FACTOR_COLUMN && !factor->view.panels) {
		memcpy(data + at, values, n * sizeof(*values));
		return;
	}
	if (factor->view.axes[2] != FACTOR_COLUMN) {
		for (uint64_t i = 0; i < n; i++)
			data[(at + i) * step] = values[i];
		return;
	}

	uint64_t panel = factor_size(factor, FACTOR_ROW) * PANEL;
	for (uint64_t i = at, now; i < at + n; i += now) {
		float *to = data + i / PANEL * panel + i % PANEL;
		now = min_u64(PANEL - i % PANEL, at + n - i);
		if (now == PANEL)
			memcpy(to, values, PANEL * sizeof(*values));
		else
			memcpy(to, values, now * sizeof(*values));
		values += now;
	}
}

/* Where index i of dimension d begins. */
static uint64_t place_of(const struct factor *factor, unsigned d, uint64_t i)
{
	if (factor->view.axes[d] == FACTOR_COLUMN && factor->view.panels)
		return i / PANEL * PANEL * factor_size(factor, FACTOR_ROW) +
		       i % PANEL;
	return i * factor->steps[d];
}

static void place(const struct factor *factor, float *data, const float *values,
		  uint64_t first, uint64_t n)
{
	const uint64_t *sizes = factor->view.sizes;

	while (n > 0) {
		uint64_t at = first % sizes[2];
		uint64_t middle = first / sizes[2];
		uint64_t now = min_u64(n, sizes[2] - at);

		place_run(factor,
			  data + place_of(factor, 1, middle % sizes[1]) +
				  place_of(factor, 0, middle / sizes[1]),
			  values, at, now);
		values += now;
		first += now;
		n -= now;
	}
}

static int read_part(const struct factor *factor, const struct isa *isa,
		     uint64_t first, uint64_t end)
{
	const struct tensor *tensor = factor->view.tensor;
	uint64_t width = tensor->dtype->bits / 8;
	unsigned char raw[AT_ONCE * 8];
	float values[AT_ONCE];

	for (uint64_t n; first < end; first += n) {
		n = min_u64(AT_ONCE, end - first);
		int r = file_fetch(tensor->file, tensor->offset + first * width,
				   n * width, raw);
		if (r < 0)
			return r;
		isa->load[tensor->dtype->code](values, raw, n);
		place(factor, factor->data, values, first, n);
	}
	return file_check(tensor->file);
}

/* Columns beyond the last one fill up a panel. */
static void clear_rest(const struct factor *factor, float *data)
{
	uint64_t rest = factor_size(factor, FACTOR_COLUMN) % PANEL;
	uint64_t size = factor_size(factor, FACTOR_ROW) * PANEL;
	uint64_t n = factor_size(factor, FACTOR_BATCH);

	if (!factor->view.panels || rest == 0)
		return;
	for (uint64_t i = 1; i <= n; i++)
		memset(data + i * factor_step(factor) - size, 0,
		       size * sizeof(*data));
}

/* Under the lock. */
static void make_room(struct factors *factors)
{
	while (factors->held > factors->limit) {
		struct factor *oldest = NULL;
		for (size_t i = 0; i < factors->n; i++) {
			struct factor *factor = factors->items[i];
			if (factor->state == FACTOR_THERE &&
			    factor->n_users == 0 &&
			    (!oldest || factor->used < oldest->used))
				oldest = factor;
		}
		if (!oldest)
			return;
		oldest->state = FACTOR_ABSENT;
		free(TAKE(oldest->data));
		factors->held -= oldest->size;
	}
}

/* Under the lock. */
static void end_loading(struct factor *factor)
{
	factor->state = factor->error ? FACTOR_ABSENT : FACTOR_THERE;
	if (factor->error) {
		free(TAKE(factor->data));
		factor->factors->held -= factor->size;
	}
	pthread_cond_broadcast(&factor->factors->loaded);
}

/* Under the lock. */
static int begin_loading(struct factor *factor)
{
	AUTO_FREE float *data = aligned_alloc(64, factor->size + 64);
	if (!data)
		return -ENOMEM;

	factor->state = FACTOR_LOADING;
	factor->begun = 0;
	factor->error = 0;
	factor->factors->held += factor->size;
	make_room(factor->factors);
	clear_rest(factor, data);
	if (!factor->view.tensor)
		data[0] = 1;
	factor->data = TAKE(data);
	if (!factor->view.tensor || factor->view.tensor->count == 0)
		end_loading(factor);
	return 0;
}

/* A part that no other thread has taken; under the lock, which is let go of
 * meanwhile. */
static int load_part(struct factor *factor, const struct isa *isa)
{
	uint64_t count = factor->view.tensor->count;
	uint64_t first = factor->begun;
	uint64_t end = first + min_u64(PART, count - first);

	factor->begun = end;
	factor->n_loaders++;
	pthread_mutex_unlock(&factor->factors->lock);
	int r = read_part(factor, isa, first, end);
	pthread_mutex_lock(&factor->factors->lock);
	factor->n_loaders--;
	if (r < 0) {
		factor->error = r;
		factor->begun = count;
	}
	if (factor->begun == count && factor->n_loaders == 0)
		end_loading(factor);
	return r;
}

/* Under the lock: a step towards a factor that is there. Who comes while it is
 * loaded takes part. */
static int advance(struct factor *factor, const struct isa *isa)
{
	if (factor->state == FACTOR_ABSENT)
		return begin_loading(factor);
	if (factor->begun < factor->view.tensor->count)
		return load_part(factor, isa);
	return -pthread_cond_wait(&factor->factors->loaded,
				  &factor->factors->lock);
}

int factor_get(struct factor *factor, const struct isa *isa, const float **ret)
{
	struct factors *factors = factor->factors;
	int r = 0;

	pthread_mutex_lock(&factors->lock);
	while (r == 0 && factor->state != FACTOR_THERE)
		r = advance(factor, isa);
	if (r == 0) {
		factor->n_users++;
		*ret = factor->data;
	}
	pthread_mutex_unlock(&factors->lock);
	return r;
}

void factor_put(struct factor *factor)
{
	struct factors *factors = factor->factors;

	pthread_mutex_lock(&factors->lock);
	factor->n_users--;
	factor->used = ++factors->clock;
	make_room(factors);
	pthread_mutex_unlock(&factors->lock);
}
