/*
 * Factors: the small matrices of adapters, as f32 in memory while they are
 * wanted.
 *
 * A factor is read and converted when it is first wanted, shared by all who
 * want it, and let go of, the longest unused first, when all factors together
 * have more than their budget; those in use may exceed it.
 *
 * Factors are made while a plan is made, by one thread; factor_get() and
 * factor_put() may be called from any thread.
 */
#ifndef MERGE_ENGINE_FACTOR_H
#define MERGE_ENGINE_FACTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/macros.h"

struct factor;
struct factors;
struct hasher;
struct isa;
struct tensor;

/* What a dimension of the stored tensor is to the factor. */
enum factor_axis { FACTOR_BATCH, FACTOR_ROW, FACTOR_COLUMN };

/*
 * A stored tensor, seen as three dimensions in its own order, as a batch of
 * matrices (batch, rows, columns).
 */
struct factor_view {
	const struct tensor *tensor; /* borrowed; NULL: one element, 1 */
	uint64_t sizes[3];	     /* their product is the tensor's count */
	enum factor_axis axes[3];    /* each once */
	/* Each matrix in panels, as the right one of kernels/product.h; else
	 * row by row. */
	bool panels;
};

int factors_new(struct factors **ret);
void factors_free(struct factors *factors);
DEFINE_AUTO(factors, factors_free);

/* Bytes that all factors take together, and what they may take. */
uint64_t factors_size(const struct factors *factors);
void factors_limit(struct factors *factors, uint64_t size);

/* Of equal views, the same factor. *ret is owned by factors. 0 or -ENOMEM,
 * -EOVERFLOW. */
int factors_add(struct factors *factors, const struct factor_view *view,
		struct factor **ret);

/* Size along an axis. */
uint64_t factor_size(const struct factor *factor, enum factor_axis axis);

/* Floats from one matrix of the batch to the next. */
uint64_t factor_step(const struct factor *factor);

/* What the values depend on. */
void factor_hash(const struct factor *factor, struct hasher *hasher);

/* 0 if the tensor's file is still what it was, else -ESTALE. */
int factor_check(const struct factor *factor);

/* The values, aligned to 64 bytes, until factor_put(). -EIO, -ENOMEM. */
int factor_get(struct factor *factor, const struct isa *isa, const float **ret);
void factor_put(struct factor *factor);

#endif
