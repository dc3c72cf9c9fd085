/* Paths to folders and files. */
#include <string.h>

#include "merge/output/extent.h"
#include "merge/output/tree.h"
#include "tests/unit/check.h"
#include "util/macros.h"

static void test_tree(void)
{
	static const char *const paths[] = {"1_Pooling/config.json", "a",
					    "config.json", "never/b", "z/y/x"};
	uint32_t place[ARRAY_SIZE(paths)], n = 0;
	struct image_entry *entries = NULL;

	CHECK(tree_new(paths, ARRAY_SIZE(paths), place, &entries, &n) == 0);
	CHECK(n == 1 + 5 + 4);
	CHECK(entries[0].directory && strcmp(entries[0].path, "") == 0);
	CHECK(entries[0].n == 5);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		const struct image_entry *entry = &entries[place[i]];
		CHECK(!entry->directory);
		CHECK(strcmp(entry->path, paths[i]) == 0);
		const struct image_entry *folder = &entries[entry->parent];
		CHECK(folder->directory);
		CHECK(place[i] >= folder->first &&
		      place[i] < folder->first + folder->n);
	}
	for (uint32_t i = 0; i < n; i++) {
		for (uint32_t j = 1; j < entries[i].n; j++) {
			uint32_t at = entries[i].first + j;
			CHECK(strcmp(entries[at - 1].name, entries[at].name) <
			      0);
		}
	}
	tree_free(entries, n);
}

static void test_empty(void)
{
	struct image_entry *entries = NULL;
	uint32_t n = 0;

	CHECK(tree_new(NULL, 0, NULL, &entries, &n) == 0);
	CHECK(n == 1 && entries[0].n == 0);
	tree_free(entries, n);
}

static void test_compare(void)
{
	CHECK(tree_compare("a", "a") == 0);
	CHECK(tree_compare("a/b", "a.b") < 0);
	CHECK(tree_compare("a", "a/b") < 0);
	CHECK(tree_compare("b", "a/b") > 0);
}

static void test_extents(void)
{
	struct extents extents = {0};

	CHECK(extents_literal(&extents, "abc", 3) == 0);
	CHECK(extents_literal(&extents, "", 0) == 0);
	CHECK(extents_literal(&extents, "defg", 4) == 0);
	CHECK(extents_literal(&extents, "h", 1) == 0);
	CHECK(extents.n == 3 && extents.size == 8);
	for (uint64_t at = 0; at < extents.size; at++) {
		const struct extent *extent = extents_find(&extents, at);
		CHECK(extent->literal[at - extent->offset] == 'a' + (int)at);
	}
	extents_done(&extents);
}

int main(void)
{
	test_tree();
	test_empty();
	test_compare();
	test_extents();
	return 0;
}
