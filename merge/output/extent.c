#include "merge/output/extent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "merge/engine/plan.h"
#include "merge/source/tensor.h"
#include "util/macros.h"

static int append(struct extents *extents, struct extent extent)
{
	if (extent.size == 0)
		return 0;

	/* Room grows by doubling: n is a power of two when it is full. */
	if ((extents->n & (extents->n - 1)) == 0) {
		size_t room = extents->n ? 2 * extents->n : 1;
		struct extent *items =
			reallocarray(extents->items, room, sizeof(*items));
		if (!items)
			return -ENOMEM;
		extents->items = items;
	}
	extent.offset = extents->size;
	extents->items[extents->n++] = extent;
	extents->size += extent.size;
	return 0;
}

int extents_literal(struct extents *extents, const char *data, uint64_t size)
{
	return append(extents, (struct extent){
				       .kind = EXTENT_LITERAL,
				       .size = size,
				       .literal = data,
			       });
}

int extents_copy(struct extents *extents, const struct file *file,
		 uint64_t offset, uint64_t size)
{
	return append(extents, (struct extent){
				       .kind = EXTENT_COPY,
				       .size = size,
				       .copy = {file, offset},
			       });
}

int extents_tensor(struct extents *extents, const struct output_tensor *tensor)
{
	if (tensor->copy)
		return extents_copy(extents, tensor->copy->file,
				    tensor->copy->offset, tensor->copy->size);
	return append(extents, (struct extent){
				       .kind = EXTENT_TENSOR,
				       .size = tensor->size,
				       .tensor = tensor,
			       });
}

int extents_clone(const struct extents *extents, struct extents *ret)
{
	struct extent *items = calloc(extents->n + 1, sizeof(*items));
	if (!items)
		return -ENOMEM;
	if (extents->n > 0)
		memcpy(items, extents->items, extents->n * sizeof(*items));
	*ret = (struct extents){items, extents->n, extents->size};
	return 0;
}

void extents_done(struct extents *extents)
{
	free(extents->items);
	*extents = (struct extents){0};
}

const struct extent *extents_find(const struct extents *extents,
				  uint64_t offset)
{
	size_t low = 0, high = extents->n;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;
		if (extents->items[middle].offset <= offset)
			low = middle;
		else
			high = middle;
	}
	return &extents->items[low];
}
