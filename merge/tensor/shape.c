#include "merge/tensor/shape.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

#include "util/range.h"

#define FORMAT_SIZE 192 /* of shape_format()'s buffer */

int shape_count(const struct shape *shape, uint64_t *ret)
{
	uint64_t count = 1;

	for (unsigned i = 0; i < shape->rank; i++) {
		int r = range_mul(count, shape->dims[i], &count);
		if (r < 0)
			return r;
	}
	*ret = count;
	return 0;
}

static bool equal_from(const struct shape *a, const struct shape *b,
		       unsigned first)
{
	if (a->rank != b->rank)
		return false;
	for (unsigned i = first; i < a->rank; i++)
		if (a->dims[i] != b->dims[i])
			return false;
	return true;
}

bool shape_equal(const struct shape *a, const struct shape *b)
{
	return equal_from(a, b, 0);
}

bool shape_equal_rows(const struct shape *a, const struct shape *b)
{
	return a->rank > 0 && equal_from(a, b, 1);
}

char *shape_format(const struct shape *shape, char buffer[FORMAT_SIZE])
{
	size_t at = 0;

	buffer[at++] = '[';
	for (unsigned i = 0; i < shape->rank; i++)
		at += (size_t)snprintf(buffer + at, FORMAT_SIZE - at,
				       "%s%" PRIu64, i ? ", " : "",
				       shape->dims[i]);
	buffer[at++] = ']';
	buffer[at] = '\0';
	return buffer;
}
