#include "merge/tensor/shape.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/check.h"

static void test_count(void)
{
	uint64_t count = 7;

	CHECK(shape_count(&(struct shape){}, &count) == 0 && count == 1);
	CHECK(shape_count(&(struct shape){3, {2, 3, 4}}, &count) == 0);
	CHECK(count == 24);
	CHECK(shape_count(&(struct shape){2, {0, 5}}, &count) == 0);
	CHECK(count == 0);
	CHECK(shape_count(&(struct shape){1, {UINT64_MAX}}, &count) == 0);
	CHECK(count == UINT64_MAX);
}

static void test_count_overflow(void)
{
	uint64_t count = 7;
	struct shape shape = {2, {UINT64_C(1) << 33, UINT64_C(1) << 31}};

	CHECK(shape_count(&shape, &count) == -EOVERFLOW);
	CHECK(count == 7);
}

static void test_equal(void)
{
	struct shape a = {2, {3, 4}};

	CHECK(shape_equal(&a, &(struct shape){2, {3, 4, 9}}));
	CHECK(!shape_equal(&a, &(struct shape){2, {4, 3}}));
	CHECK(!shape_equal(&a, &(struct shape){1, {3}}));
	CHECK(!shape_equal(&a, &(struct shape){3, {3, 4, 1}}));
}

static void test_format(void)
{
	char text[192];
	struct shape widest = {.rank = SHAPE_MAX_RANK};

	CHECK(!strcmp(shape_format(&(struct shape){}, text), "[]"));
	CHECK(!strcmp(shape_format(&(struct shape){1, {7}}, text), "[7]"));
	CHECK(!strcmp(shape_format(&(struct shape){2, {128, 64}}, text),
		      "[128, 64]"));
	for (unsigned i = 0; i < SHAPE_MAX_RANK; i++)
		widest.dims[i] = UINT64_MAX;
	CHECK(strlen(shape_format(&widest, text)) == 8 * 20 + 7 * 2 + 2);
}

int main(void)
{
	test_count();
	test_count_overflow();
	test_equal();
	test_format();
	return 0;
}
