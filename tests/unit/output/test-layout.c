#include "merge/output/layout.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge/engine/plan.h"
#include "tests/unit/check.h"
#include "util/json.h"
#include "util/text.h"

static struct output_tensor make(const char *name, enum dtype_code code,
				 unsigned rank, uint64_t dim)
{
	struct output_tensor tensor = {
		.name = (char *)name,
		.dtype = dtype_of(code),
		.shape = {.rank = rank},
	};
	uint64_t count = 1;

	for (unsigned i = 0; i < rank; i++) {
		tensor.shape.dims[i] = dim;
		count *= dim;
	}
	tensor.size = count * tensor.dtype->bits / 8;
	return tensor;
}

/* The header's JSON, without the padding; aborts where the frame is wrong. */
static char *header_json(const struct shard *shard)
{
	uint64_t length = 0;

	for (unsigned i = 0; i < 8; i++)
		length |= (uint64_t)(unsigned char)shard->header[i] << (8 * i);
	CHECK(length == shard->header_size - 8);
	CHECK(shard->header_size % 4096 == 0);
	CHECK(!memchr(shard->header + 8, '\0', length));

	const char *json = shard->header + 8;
	while (length > 0 && json[length - 1] == ' ')
		length--;
	return strndup(json, length);
}

/* The worked example of the format: every dtype rank, names by bytes. */
static void test_order(void)
{
	struct output_tensor tensors[] = {
		make("a", DTYPE_F32, 1, 1),
		make("b", DTYPE_BF16, 2, 2),
		make("i", DTYPE_I64, 0, 1),
		make("layers.2.w", DTYPE_BF16, 1, 1),
		make("layers.10.w", DTYPE_BF16, 1, 1),
		make("m", DTYPE_BOOL, 1, 3),
	};
	AUTO(layout) layout = NULL;

	CHECK(layout_new(tensors, ARRAY_SIZE(tensors), 0, &layout) == 0);
	CHECK(layout->n_shards == 1 && !layout->index);

	const struct shard *shard = &layout->shards[0];
	AUTO_FREE char *json = header_json(shard);
	CHECK(strcmp(shard->name, "model.safetensors") == 0);
	CHECK(strcmp(json, "{\"__metadata__\":{\"format\":\"pt\"},"
			   "\"i\":{\"dtype\":\"I64\",\"shape\":[],"
			   "\"data_offsets\":[0,8]},"
			   "\"a\":{\"dtype\":\"F32\",\"shape\":[1],"
			   "\"data_offsets\":[8,12]},"
			   "\"b\":{\"dtype\":\"BF16\",\"shape\":[2,2],"
			   "\"data_offsets\":[12,20]},"
			   "\"layers.10.w\":{\"dtype\":\"BF16\",\"shape\":[1],"
			   "\"data_offsets\":[20,22]},"
			   "\"layers.2.w\":{\"dtype\":\"BF16\",\"shape\":[1],"
			   "\"data_offsets\":[22,24]},"
			   "\"m\":{\"dtype\":\"BOOL\",\"shape\":[3],"
			   "\"data_offsets\":[24,27]}}") == 0);
	CHECK(shard->header_size == 4096 && shard->size == 4096 + 27);
	CHECK(shard->n_tensors == 6);
	CHECK(shard->tensors[0].tensor == &tensors[2]);
	CHECK(shard->tensors[3].tensor == &tensors[4]);
	CHECK(shard->tensors[3].offset == 4096 + 20);
}

/* A name that JSON must escape, an empty tensor beside a full one. */
static void test_odd(void)
{
	struct output_tensor tensors[] = {
		make("a\"\\\n\xc3\xa9", DTYPE_F32, 1, 2),
		make("b", DTYPE_F32, 2, 0),
		make("c", DTYPE_F32, 1, 1),
	};
	AUTO(layout) layout = NULL;

	CHECK(layout_new(tensors, ARRAY_SIZE(tensors), 0, &layout) == 0);
	AUTO_FREE char *json = header_json(&layout->shards[0]);
	AUTO(cJSON) parsed = NULL;
	CHECK(json_parse(json, strlen(json), "header", &parsed, NULL) == 0);
	CHECK(cJSON_GetObjectItemCaseSensitive(parsed, tensors[0].name));
	CHECK(strstr(json, "\"b\":{\"dtype\":\"F32\",\"shape\":[0,0],"
			   "\"data_offsets\":[8,8]}"));
	CHECK(layout->shards[0].size == 4096 + 12);
}

static void test_shards(void)
{
	struct output_tensor tensors[] = {
		make("head", DTYPE_BF16, 1, 20),     /* 40 bytes */
		make("layers.1", DTYPE_F32, 1, 10),  /* 40 */
		make("layers.2", DTYPE_F32, 1, 5),   /* 20: 100 in all */
		make("layers.10", DTYPE_F32, 1, 90), /* 360: alone */
		make("norm", DTYPE_F32, 1, 1),	     /* 4 */
	};
	AUTO(layout) layout = NULL;

	CHECK(layout_new(tensors, ARRAY_SIZE(tensors), 100, &layout) == 0);
	CHECK(layout->n_shards == 3);
	CHECK(layout->shards[0].n_tensors == 3);
	CHECK(layout->shards[0].tensors[0].tensor == &tensors[1]);
	CHECK(layout->shards[0].tensors[2].tensor == &tensors[0]);
	CHECK(layout->shards[1].n_tensors == 1);
	CHECK(layout->shards[1].size == 4096 + 360);
	CHECK(strcmp(layout->index,
		     "{\n"
		     "  \"metadata\": {\n"
		     "    \"total_size\": 464\n"
		     "  },\n"
		     "  \"weight_map\": {\n"
		     "    \"head\": \"model-00001-of-00003.safetensors\",\n"
		     "    \"layers.1\": \"model-00001-of-00003.safetensors\",\n"
		     "    \"layers.10\": "
		     "\"model-00002-of-00003.safetensors\",\n"
		     "    \"layers.2\": \"model-00001-of-00003.safetensors\",\n"
		     "    \"norm\": \"model-00003-of-00003.safetensors\"\n"
		     "  }\n"
		     "}\n") == 0);
}

/* One byte less, and the third tensor no longer fits. */
static void test_limit(void)
{
	struct output_tensor tensors[] = {
		make("a", DTYPE_F32, 1, 10),
		make("b", DTYPE_F32, 1, 10),
		make("c", DTYPE_F32, 1, 5),
	};
	AUTO(layout) tight = NULL;
	AUTO(layout) single = NULL;

	CHECK(layout_new(tensors, 3, 99, &tight) == 0);
	CHECK(tight->n_shards == 2 && tight->shards[0].n_tensors == 2);
	CHECK(layout_new(tensors, 3, 1, &single) == 0);
	CHECK(single->n_shards == 3);
}

static void test_none(void)
{
	AUTO(layout) layout = NULL;

	CHECK(layout_new(NULL, 0, 0, &layout) == 0);
	CHECK(layout->n_shards == 0 && !layout->index);
}

/* Headers stay small, however many tensors there are. */
static void test_many(void)
{
	size_t n = 60000, seen = 0;
	AUTO_FREE struct output_tensor *tensors = calloc(n, sizeof(*tensors));
	AUTO(layout) layout = NULL;

	CHECK(tensors);
	for (size_t i = 0; i < n; i++) {
		char name[64];
		snprintf(name, sizeof(name),
			 "model.layers.%zu.mlp.experts.gate.weight", i);
		tensors[i] = make(name, DTYPE_F32, 2, 3);
		tensors[i].name = strdup(name);
		CHECK(tensors[i].name);
	}
	CHECK(layout_new(tensors, n, 0, &layout) == 0);
	CHECK(layout->n_shards > 1 && layout->n_shards < 6);
	for (size_t i = 0; i < layout->n_shards; i++) {
		CHECK(layout->shards[i].header_size <= (4 << 20) + 4096);
		seen += layout->shards[i].n_tensors;
	}
	CHECK(seen == n);
	for (size_t i = 0; i < n; i++)
		free(tensors[i].name);
}

static void test_overflow(void)
{
	struct output_tensor tensors[] = {
		make("a", DTYPE_U8, 1, (uint64_t)1 << 60),
		make("b", DTYPE_U8, 1, (uint64_t)1 << 60),
	};
	AUTO(layout) layout = NULL;
	AUTO(layout) none = NULL;

	CHECK(layout_new(tensors, 2, UINT64_MAX, &layout) == 0);
	CHECK(layout->shards[0].size == 4096 + ((uint64_t)2 << 60));
	tensors[0].size = tensors[1].size = INT64_MAX;
	CHECK(layout_new(tensors, 2, UINT64_MAX, &none) == -EOVERFLOW);
	CHECK(!none);
}

int main(void)
{
	test_order();
	test_odd();
	test_shards();
	test_limit();
	test_none();
	test_many();
	test_overflow();
	return 0;
}
