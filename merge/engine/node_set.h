/*
 * The nodes of a plan: each expression once, so that equal expressions share
 * their facts.
 *
 * Not for several threads at once while nodes are added.
 */
#ifndef MERGE_ENGINE_NODE_SET_H
#define MERGE_ENGINE_NODE_SET_H

#include <stddef.h>

struct known_node; /* a node by its digest */
struct node;
struct tensor;

struct node_set {
	struct node **items; /* (n,) owned */
	size_t n;
	struct known_node *known; /* hash table; owned */
};

/*
 * Adds a node, or frees it if the set has an equal one; *ret is the set's.
 * Takes ownership, on failure too. 0 or -ENOMEM.
 */
int node_set_add(struct node_set *set, struct node *node, struct node **ret);

/* The same for the leaf of a stored tensor, which is borrowed. */
int node_set_stored(struct node_set *set, const struct tensor *tensor,
		    struct node **ret);
void node_set_done(struct node_set *set);

#endif
