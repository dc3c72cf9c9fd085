/*
 * Facts of a node: whole-tensor results of a scan, gathered once.
 *
 * The first thread that needs them leads the scan; every further one that needs
 * them helps until they are known, and idle workers of the pool help too. The
 * tensor is cut into pieces (PIECE of method.h) whose parts are folded in
 * order, so the result does not depend on who scanned what. A failed scan is
 * reported to everyone who waited, then forgotten.
 *
 * Every function may be called from any thread.
 */
#ifndef MERGE_ENGINE_FACTS_H
#define MERGE_ENGINE_FACTS_H

#include <stddef.h>
#include <stdint.h>

#include "util/macros.h"

struct block_cache;
struct eval;
struct facts;
struct node;
struct pool;

struct facts_scanner {
	struct pool *pool;
	struct block_cache *cache; /* where facts are kept */
	/* What the calling thread evaluates with; scratch is its own. */
	int (*eval)(void *arg, struct eval *ret);
	void *arg;
	void (*scanned)(void *arg); /* a whole tensor was scanned */
};

int facts_new(size_t size, struct facts **ret);
void facts_free(struct facts *facts);

/* Elements of a piece. */
uint64_t facts_piece(const struct node *node);

/* The facts, once facts_gather() of their node has returned 0. */
const void *facts_data(const struct facts *facts);

/* The same, or NULL while they are not known. */
const void *facts_known(const struct facts *facts);

/* Takes the facts of a node and of all nodes below it from the disk, as far as
 * they are there; nothing is scanned. */
void facts_recall(const struct facts_scanner *scanner, const struct node *node);

/* Makes the facts of a node and of all nodes below it known. */
int facts_gather(const struct facts_scanner *scanner, const struct node *node);

#endif
