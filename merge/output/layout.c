#include "merge/output/layout.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge/engine/plan.h"
#include "util/json.h"
#include "util/range.h"
#include "util/text.h"

#define DEFAULT_SHARD_SIZE ((uint64_t)5 * 1000 * 1000 * 1000)
#define METADATA "{\"__metadata__\":{\"format\":\"pt\"}"
#define PAGE 4096

/* Readers refuse headers above 100 MB; clients parse one at every opening. */
#define MAX_HEADER ((size_t)4 << 20)

/* A tensor on its way to a shard. */
struct item {
	const struct output_tensor *tensor;
	char *quoted; /* its name as JSON; owned */
	size_t shard;
};

struct items {
	struct item *items; /* (n,) owned */
	size_t n;
};

static void items_done(struct items *items)
{
	for (size_t i = 0; items->items && i < items->n; i++)
		free(items->items[i].quoted);
	free(items->items);
}

static int items_init(struct items *items, const struct output_tensor *tensors,
		      size_t n)
{
	items->items = calloc(n ? n : 1, sizeof(*items->items));
	items->n = n;
	if (!items->items)
		return -ENOMEM;

	for (size_t i = 0; i < n; i++) {
		items->items[i].tensor = &tensors[i];
		items->items[i].quoted = json_quote(tensors[i].name);
		if (!items->items[i].quoted)
			return -ENOMEM;
	}
	return 0;
}

/* An upper bound of the entry's length in a header. */
static size_t entry_bound(const struct item *item)
{
	static const char frame[] =
		",:{\"dtype\":\"\",\"shape\":[],\"data_offsets\":[,]}";
	size_t number = sizeof("18446744073709551615,");

	return strlen(item->quoted) + sizeof(frame) +
	       strlen(item->tensor->dtype->name) +
	       number * (item->tensor->shape.rank + 2);
}

/* How many of the n items the next shard takes; at least one. */
static size_t deal(const struct item *items, size_t n, uint64_t shard_size)
{
	uint64_t size = items[0].tensor->size;
	size_t header = sizeof(METADATA) + entry_bound(&items[0]);
	size_t taken = 1;

	for (; taken < n; taken++) {
		uint64_t next = items[taken].tensor->size;
		header += entry_bound(&items[taken]);
		if (size > shard_size || next > shard_size - size ||
		    header > MAX_HEADER)
			break;
		size += next;
	}
	return taken;
}

static size_t deal_all(struct items *items, uint64_t shard_size)
{
	size_t n_shards = 0;

	for (size_t first = 0; first < items->n; n_shards++) {
		struct item *item = &items->items[first];
		size_t n = deal(item, items->n - first, shard_size);
		for (size_t i = 0; i < n; i++)
			item[i].shard = n_shards;
		first += n;
	}
	return n_shards;
}

static int compare_places(const void *a, const void *b)
{
	const struct output_tensor *x = ((const struct item *)a)->tensor;
	const struct output_tensor *y = ((const struct item *)b)->tensor;

	if (x->dtype->code != y->dtype->code)
		return x->dtype->code > y->dtype->code ? -1 : 1;
	return strcmp(x->name, y->name);
}

static int compare_names(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	return strcmp(x->tensor->name, y->tensor->name);
}

static void write_entry(struct text *text, const struct item *item,
			uint64_t begin, uint64_t end)
{
	const struct shape *shape = &item->tensor->shape;

	text_printf(text, ",%s:{\"dtype\":\"%s\",\"shape\":[", item->quoted,
		    item->tensor->dtype->name);
	for (unsigned i = 0; i < shape->rank; i++)
		text_printf(text, "%s%" PRIu64, i ? "," : "", shape->dims[i]);
	text_printf(text, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}",
		    begin, end);
}

/* Puts the length in front of the JSON and spaces behind it. */
static int frame_header(struct shard *shard, const char *json)
{
	size_t length = strlen(json);

	shard->header_size = round_up(8 + length, PAGE);
	shard->header = malloc(shard->header_size);
	if (!shard->header)
		return -ENOMEM;
	uint64_t framed = shard->header_size - 8;
	for (unsigned i = 0; i < 8; i++)
		shard->header[i] = (char)(framed >> (8 * i));
	memcpy(shard->header + 8, json, length);
	memset(shard->header + 8 + length, ' ', framed - length);
	return 0;
}

/* Offsets are counted from the start of the data until the header is known. */
static int place(struct shard *shard, const struct item *items, char **ret)
{
	struct text text = {0};
	uint64_t begin = 0;

	text_puts(&text, METADATA);
	for (size_t i = 0; i < shard->n_tensors; i++) {
		uint64_t end;
		if (range_add(begin, items[i].tensor->size, &end) < 0 ||
		    end > INT64_MAX - (uint64_t)UINT32_MAX) {
			text_done(&text);
			return -EOVERFLOW;
		}
		write_entry(&text, &items[i], begin, end);
		shard->tensors[i].tensor = items[i].tensor;
		shard->tensors[i].offset = begin;
		begin = end;
	}
	text_puts(&text, "}");
	shard->size = begin;
	*ret = text_take(&text);
	return *ret ? 0 : -ENOMEM;
}

static int shard_init(struct shard *shard, struct item *items, size_t n)
{
	shard->n_tensors = n;
	shard->tensors = calloc(n, sizeof(*shard->tensors));
	if (!shard->tensors)
		return -ENOMEM;

	qsort(items, n, sizeof(*items), compare_places);
	AUTO_FREE char *json = NULL;
	int r = place(shard, items, &json);
	if (r == 0)
		r = frame_header(shard, json);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		shard->tensors[i].offset += shard->header_size;
	shard->size += shard->header_size;
	return 0;
}

static int name_shard(struct shard *shard, size_t i, size_t n_shards)
{
	if (n_shards == 1)
		shard->name = strdup("model.safetensors");
	else if (asprintf(&shard->name, "model-%05zu-of-%05zu.safetensors",
			  i + 1, n_shards) < 0)
		shard->name = NULL;
	return shard->name ? 0 : -ENOMEM;
}

static int make_shards(struct layout *layout, struct items *items)
{
	size_t first = 0;

	layout->shards = calloc(layout->n_shards ? layout->n_shards : 1,
				sizeof(*layout->shards));
	if (!layout->shards)
		return -ENOMEM;
	for (size_t i = 0; i < layout->n_shards; i++) {
		size_t end = first;
		while (end < items->n && items->items[end].shard == i)
			end++;
		int r = name_shard(&layout->shards[i], i, layout->n_shards);
		if (r == 0)
			r = shard_init(&layout->shards[i], &items->items[first],
				       end - first);
		if (r < 0)
			return r;
		first = end;
	}
	return 0;
}

static int make_index(struct layout *layout, struct items *items)
{
	struct text text = {0};
	uint64_t total = 0;

	for (size_t i = 0; i < items->n; i++) {
		if (range_add(total, items->items[i].tensor->size, &total) < 0)
			return -EOVERFLOW;
	}
	qsort(items->items, items->n, sizeof(*items->items), compare_names);
	text_printf(&text,
		    "{\n  \"metadata\": {\n    \"total_size\": %" PRIu64
		    "\n  },\n  \"weight_map\": {",
		    total);
	for (size_t i = 0; i < items->n; i++) {
		const struct item *item = &items->items[i];
		text_printf(&text, "%s\n    %s: \"%s\"", i ? "," : "",
			    item->quoted, layout->shards[item->shard].name);
	}
	text_puts(&text, "\n  }\n}\n");
	layout->index = text_take(&text);
	return layout->index ? 0 : -ENOMEM;
}

static int make_layout(struct layout *layout, struct items *items,
		       uint64_t shard_size)
{
	layout->n_shards = deal_all(items, shard_size);
	int r = make_shards(layout, items);
	if (r < 0 || layout->n_shards < 2)
		return r;
	return make_index(layout, items);
}

int layout_new(const struct output_tensor *tensors, size_t n,
	       uint64_t shard_size, struct layout **ret)
{
	AUTO(layout) layout = calloc(1, sizeof(*layout));
	if (!layout)
		return -ENOMEM;

	struct items items = {0};
	int r = items_init(&items, tensors, n);
	if (r == 0)
		r = make_layout(layout, &items,
				shard_size ? shard_size : DEFAULT_SHARD_SIZE);
	items_done(&items);
	if (r < 0)
		return r;
	*ret = TAKE(layout);
	return 0;
}

void layout_free(struct layout *layout)
{
	if (!layout)
		return;
	for (size_t i = 0; layout->shards && i < layout->n_shards; i++) {
		free(layout->shards[i].name);
		free(layout->shards[i].header);
		free(layout->shards[i].tensors);
	}
	free(layout->shards);
	free(layout->index);
	free(layout);
}
