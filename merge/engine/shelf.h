/*
 * What plans that are used together share: the models that are open, the
 * expressions of their tensors, and the room that a thread needs for any of
 * them. So a model that several recipes or stages name is opened once, and a
 * tensor that they make in the same way is one tensor.
 *
 * Not for several threads at once while plans are made; then immutable.
 */
#ifndef MERGE_ENGINE_SHELF_H
#define MERGE_ENGINE_SHELF_H

#include <stddef.h>

#include "merge/engine/node_set.h"
#include "util/error.h"
#include "util/macros.h"

struct adapted;
struct adapted_terms;
struct disk_cache;
struct factors;
struct row_map;
struct source;

/* What a thread needs to evaluate a node, see node.h. */
struct node_room {
	size_t scratch;	   /* floats */
	unsigned n_leaves; /* the most that any expression has */
	unsigned n_rows;   /* likewise */
	size_t row_room;   /* likewise */
};

struct shelf {
	struct source **sources; /* (n_sources,) in the order of opening */
	size_t n_sources;
	struct source **adapters; /* (n_adapters,) likewise */
	size_t n_adapters;
	struct adapted **adapted; /* (n_adapted,) models with adapters */
	size_t n_adapted;
	struct factors *factors; /* of all adapters */
	struct node_set nodes;
	struct row_map **maps; /* (n_maps,) of gather nodes */
	size_t n_maps;
	struct node_room room;
	unsigned depth;		 /* the most stages that stand on each other */
	size_t n_outputs;	 /* output tensors of the plans, stages aside */
	struct disk_cache *disk; /* that plans may keep things in, borrowed, or
				    NULL */
};

int shelf_new(struct shelf **ret);
void shelf_free(struct shelf *shelf);
DEFINE_AUTO(shelf, shelf_free);

/* The checkpoint in a directory, opened if it is not on the shelf yet. *ret is
 * the shelf's. Errors are those of source_open(). */
int shelf_open(struct shelf *shelf, const char *directory, const char *label,
	       struct source **ret, struct error *err);

/* The same for the adapter in a directory, and for a base with an adapter, of
 * which set and factors are the shelf's. */
int shelf_open_adapter(struct shelf *shelf, const char *directory,
		       const char *label, struct source **ret,
		       struct error *err);
int shelf_adapt(struct shelf *shelf, const struct adapted_terms *terms,
		const struct adapted **ret, struct error *err);

/* Takes ownership of a map, on failure too; *ret is it or an equal one. */
int shelf_keep_map(struct shelf *shelf, struct row_map *map,
		   const struct row_map **ret);

/* A thread will evaluate this node. */
void shelf_make_room(struct shelf *shelf, const struct node *node);

#endif
