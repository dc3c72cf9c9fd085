#include "merge/engine/node_set.h"

#include <errno.h>
#include <stdlib.h>
#include <uthash.h>

#include "merge/engine/node.h"

struct known_node {
	UT_hash_handle hh;
	struct digest digest;
	struct node *node; /* borrowed from the set */
};

static struct known_node *find(const struct node_set *set,
			       const struct digest *digest)
{
	struct known_node *known = NULL;

	HASH_FIND(hh, set->known, digest, sizeof(*digest), known);
	return known;
}

/* Room grows by doubling: n is a power of two when it is full. */
static int make_room(struct node_set *set)
{
	if ((set->n & (set->n - 1)) != 0)
		return 0;

	size_t room = set->n ? 2 * set->n : 64;
	struct node **items = reallocarray(set->items, room, sizeof(*items));
	if (!items)
		return -ENOMEM;
	set->items = items;
	return 0;
}

int node_set_add(struct node_set *set, struct node *taken, struct node **ret)
{
	AUTO(node) node = taken;
	struct known_node *known = find(set, &node->digest);
	if (known) {
		*ret = known->node;
		return 0;
	}

	int r = make_room(set);
	if (r < 0)
		return r;
	known = calloc(1, sizeof(*known));
	if (!known)
		return -ENOMEM;
	known->digest = node->digest;
	known->node = node;
	HASH_ADD(hh, set->known, digest, sizeof(known->digest), known);
	set->items[set->n++] = TAKE(node);
	*ret = known->node;
	return 0;
}

int node_set_stored(struct node_set *set, const struct tensor *tensor,
		    struct node **ret)
{
	struct node *node = NULL;
	int r = node_stored(tensor, &node);

	return r < 0 ? r : node_set_add(set, node, ret);
}

void node_set_done(struct node_set *set)
{
	struct known_node *known, *next;
	HASH_ITER(hh, set->known, known, next)
	{
		HASH_DEL(set->known, known);
		free(known);
	}
	for (size_t i = 0; i < set->n; i++)
		node_free(set->items[i]);
	free(set->items);
	*set = (struct node_set){0};
}
