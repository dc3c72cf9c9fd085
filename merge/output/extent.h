/*
 * A file of the image as a row of extents, without holes.
 */
#ifndef MERGE_OUTPUT_EXTENT_H
#define MERGE_OUTPUT_EXTENT_H

#include <stddef.h>
#include <stdint.h>

struct file;
struct output_tensor;

enum extent_kind {
	EXTENT_LITERAL, /* bytes known from the plan */
	EXTENT_COPY,	/* a range of a source file */
	EXTENT_TENSOR,	/* computed */
};

struct extent {
	enum extent_kind kind;
	uint64_t offset, size;	     /* in the file, in bytes; size > 0 */
	union {			     /* all borrowed */
		const char *literal; /* (size,) */
		struct {
			const struct file *file;
			uint64_t offset;
		} copy;
		const struct output_tensor *tensor;
	};
};

struct extents {
	struct extent *items; /* (n,) by offset; owned */
	size_t n;
	uint64_t size; /* of the file */
};

/* Appends behind the last; an empty extent is left out. 0 or -ENOMEM. */
int extents_literal(struct extents *extents, const char *data, uint64_t size);
int extents_copy(struct extents *extents, const struct file *file,
		 uint64_t offset, uint64_t size);
int extents_tensor(struct extents *extents, const struct output_tensor *tensor);
int extents_clone(const struct extents *extents, struct extents *ret);
void extents_done(struct extents *extents);

/* The extent that holds byte `offset`, which must be inside the file. */
const struct extent *extents_find(const struct extents *extents,
				  uint64_t offset);

#endif
