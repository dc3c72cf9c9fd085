#include "merge/engine/marks.h"

#include <string.h>

#include "cache/block.h"
#include "merge/engine/facts.h"
#include "merge/engine/node.h"
#include "util/range.h"

_Static_assert(MARKS_MOST <= BLOCK_SIZE, "marks of a piece fit into a block");

static struct digest marks_key(const struct node *node, uint64_t piece)
{
	struct digest own = digest_of(&node->digest, sizeof(own), UINT64_MAX);

	return digest_of(&own, sizeof(own), piece);
}

static int copy(void *arg, uint64_t number, void *data, size_t size)
{
	(void)number;

	memcpy(data, arg, size);
	return 0;
}

void marks_keep(struct block_cache *cache, const struct node *node,
		uint64_t piece, const void *data, size_t size)
{
	struct block_request request = {
		.key = marks_key(node, piece),
		.size = size,
		.fill = copy,
		.arg = (void *)data,
	};
	const struct block *block = NULL;

	if (block_try(cache, &request, &block) == 0)
		block_put(cache, block);
}

const void *marks_find(struct marks *marks, const struct node *node,
		       uint64_t first, uint64_t n)
{
	uint64_t whole = facts_piece(node);
	uint64_t piece = first / whole * whole;

	if (marks->node != node || marks->piece != piece) {
		marks_done(marks);
		marks->node = node;
		marks->piece = piece;
		marks->size = min_u64(whole, node->count - piece);
		marks->used = 0;
		marks->block = block_peek(marks->cache, marks_key(node, piece));
	}
	marks->used += n;
	return marks->block ? marks->block->data : NULL;
}

void marks_done(struct marks *marks)
{
	const struct block *block = marks->block;

	marks->node = NULL;
	marks->block = NULL;
	if (!block)
		return;
	uint64_t used = min_u64(marks->used, marks->size);
	block_had(marks->cache, block,
		  (block->size * used + marks->size - 1) / marks->size);
}
