/*
 * Files by path -> folders and files as an array, for image.h.
 */
#ifndef MERGE_OUTPUT_TREE_H
#define MERGE_OUTPUT_TREE_H

#include <stddef.h>
#include <stdint.h>

#include "merge/output/image.h"

/*
 * Makes entries for n files, whose paths are distinct and sorted by
 * tree_compare(), and for the folders above them: the root first, the
 * children of a folder together, sorted by name. place[i] becomes the entry of
 * file i; sizes are left 0. *ret and its paths are malloc'ed (tree_free()).
 */
int tree_new(const char *const *paths, size_t n, uint32_t *place,
	     struct image_entry **ret, uint32_t *ret_n);
void tree_free(struct image_entry *entries, uint32_t n);

/* Orders paths component by component. */
int tree_compare(const char *a, const char *b);

#endif
