/*
 * Headers that the format's reference reader takes or refuses, case by case;
 * and duplicate names, which it takes and its specification forbids.
 */
#include <errno.h>
#include <string.h>

#include "merge/source/safetensors.h"
#include "tests/unit/check.h"

struct header_case {
	const char *json;
	uint64_t data;	   /* bytes behind the header */
	const char *error; /* part of the sentence; NULL: accepted */
};

static const struct header_case cases[] = {
	{"{}", 0, NULL},
	{"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4,
	 NULL},
	{"{\"a\":{\"dtype\":\"F32\",\"shape\":[2,0],\"data_offsets\":[0,0]}}",
	 0, NULL},
	{"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
	 "\"z\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[1,1]},"
	 "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]}}",
	 5, NULL},
	{"  {\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}} "
	 "\n\t ",
	 1, NULL},
	{"{\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]},"
	 "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
	 2, NULL},
	{"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],"
	 "\"more\":7}}",
	 1, NULL},
	{"{\"__metadata__\":null}", 0, NULL},
	{"{\"__metadata__\":{\"format\":\"pt\"}}", 0, NULL},
	{"{\"a\":{\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[0,2]}}", 2,
	 NULL},
	{"{\"a\":{\"dtype\":\"F6_E2M3\",\"shape\":[4],\"data_offsets\":[0,3]}}",
	 3, NULL},
	{"{\"\":{\"dtype\":\"BOOL\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
	 NULL},
	{"{}", 1, "belong to none"},
	{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 3,
	 "beyond the file"},
	{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 5,
	 "belong to none"},
	{"{\"__metadata__\":{\"a\":1}}", 0, "__metadata__"},
	{"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "twice"},
	{"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "shape"},
	{"{\"a\":{\"dtype\":\"F99\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
	 "unknown dtype 'F99'"},
	{"{\"a\":{\"dtype\":\"f32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
	 "unknown dtype"},
	{"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[-1,0]}}", 1,
	 "data_offsets"},
	{"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1.5]}}", 1,
	 "data_offsets"},
	{"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,2]}}", 1,
	 "data_offsets"},
	{"{\"a\":{\"dtype\":\"U8\",\"shape\":[-1],\"data_offsets\":[0,1]}}", 1,
	 "shape"},
	{"{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,2]}}", 2,
	 "whole bytes"},
	{"[]", 0, "not a JSON object"},
	{"", 0, "empty"},
	{"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
	 "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}",
	 3, "overlap"},
	{"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
	 "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}",
	 2, "overlap"},
	{"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}", 2,
	 "no tensor has"},
	{"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,0]}}", 2,
	 "end before"},
	{"{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,2]}}", 2,
	 "do not fit"},
	{"{\"a\":{\"dtype\":\"F64\",\"shape\":[4294967296,4294967296],"
	 "\"data_offsets\":[0,0]}}",
	 0, "too large"},
	{"{\"a\":{\"dtype\":\"F64\",\"shape\":[2305843009213693952],"
	 "\"data_offsets\":[0,0]}}",
	 0, "shape"},
	{"{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],"
	 "\"data_offsets\":[0,1]}}",
	 1, "dimensions"},
	{"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
	 "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
	 1, "twice"},
	{"{\"a\":7}", 0, "an object"},
};

static int parse(const void *head, size_t head_size, uint64_t file_size,
		 struct safetensors *ret, struct error *err)
{
	/* A copy of the exact size, so that a sanitizer sees overreading. */
	unsigned char *copy = malloc(head_size + 1);
	CHECK(copy);
	memcpy(copy, head, head_size);
	unsigned char *exact = realloc(copy, head_size ? head_size : 1);
	int r = safetensors_parse(exact, head_size, file_size, "m.safetensors",
				  ret, err);
	free(exact);
	return r;
}

static void test_case(const struct header_case *one)
{
	unsigned char head[1024] = {0};
	size_t length = strlen(one->json);
	struct safetensors safetensors = {0};
	struct error err = {""};

	head[0] = (unsigned char)length;
	head[1] = (unsigned char)(length >> 8);
	memcpy(head + 8, one->json, length);
	int r = parse(head, 8 + length, 8 + length + one->data, &safetensors,
		      &err);
	if (!one->error) {
		CHECK(r == 0);
		for (size_t i = 0; i < safetensors.n_tensors; i++) {
			const struct tensor *tensor = &safetensors.tensors[i];
			CHECK(tensor->offset >= 8 + length);
			CHECK(i == 0 ||
			      strcmp(tensor[-1].name, tensor->name) < 0);
		}
		safetensors_done(&safetensors);
		return;
	}
	CHECK(r == -EINVAL);
	CHECK(!safetensors.tensors);
	CHECK(strncmp(err.text, "m.safetensors: ", 15) == 0);
	CHECK(strstr(err.text, one->error));
}

static void test_lengths(void)
{
	unsigned char head[16] = {0};
	struct safetensors safetensors = {0};

	for (size_t n = 0; n < 8; n++)
		CHECK(parse(head, n, n, &safetensors, NULL) == -EINVAL);
	memset(head, 0xff, 8);
	CHECK(parse(head, 16, 16, &safetensors, NULL) == -EINVAL);
	memset(head, 0, 8);
	head[0] = 9;
	CHECK(parse(head, 16, 16, &safetensors, NULL) == -EINVAL);
	head[3] = 6; /* above the cap */
	CHECK(parse(head, 16, (uint64_t)1 << 40, &safetensors, NULL) ==
	      -EINVAL);
}

/* 8 bytes, the published example. */
static void test_values(void)
{
	static const char json[] = "{\"t\":{\"dtype\":\"BF16\",\"shape\":[2],"
				   "\"data_offsets\":[0,4]}} ";
	unsigned char head[64] = {sizeof(json) - 1};
	struct safetensors safetensors = {0};

	memcpy(head + 8, json, sizeof(json) - 1);
	CHECK(parse(head, 8 + sizeof(json) - 1, 68, &safetensors, NULL) == 0);
	CHECK(safetensors.n_tensors == 1);
	const struct tensor *tensor = safetensors.tensors;
	CHECK(strcmp(tensor->name, "t") == 0 && tensor->count == 2);
	CHECK(tensor->dtype == dtype_of(DTYPE_BF16) && tensor->size == 4);
	CHECK(tensor->offset == 64 && tensor->shape.rank == 1);
	safetensors_done(&safetensors);
}

int main(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		test_case(&cases[i]);
	test_lengths();
	test_values();
	return 0;
}
