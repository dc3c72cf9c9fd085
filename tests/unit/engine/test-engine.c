/*
 * The engine on real files: the same bytes whatever the number of threads, the
 * order of blocks and the instruction set; facts gathered once; a source that
 * changes is an error, never other bytes.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cache/disk.h"
#include "merge/engine/engine.h"
#include "merge/engine/node.h"
#include "merge/engine/plan.h"
#include "merge/engine/shelf.h"
#include "merge/source/file.h"
#include "merge/source/tensor.h"
#include "tests/unit/check.h"

/* The build has less where it is slow; more than one piece. */
#ifndef ROWS
#define ROWS 133
#define STEP 1 /* of how many methods one is tried */
#endif
#define COUNT ((uint64_t)ROWS * 6000) /* elements: a ragged end */
#define MAX_INPUTS 3
#define MAX_PARAMS 8

static char folder[] = "/tmp/test-engine-XXXXXX";

static char *in_folder(const char *name)
{
	char *path = NULL;

	CHECK(asprintf(&path, "%s/%s", folder, name) > 0);
	return path;
}

static void write_floats(const char *name, unsigned seed)
{
	AUTO_FREE char *path = in_folder(name);
	float *values = malloc(COUNT * sizeof(*values));
	FILE *out = fopen(path, "w");
	CHECK(values && out);
	for (uint64_t i = 0; i < COUNT; i++) {
		seed = seed * 1664525u + 1013904223u;
		/* Few different ones: cuts fall among equal elements. */
		values[i] = (float)((int)seed >> 20) * 0x1p-11f;
	}
	CHECK(fwrite(values, sizeof(*values), COUNT, out) == COUNT);
	CHECK(fclose(out) == 0);
	free(values);
}

/* A merge of some files, as a plan of one tensor. */
struct world {
	struct file *files[MAX_INPUTS];
	struct tensor tensors[MAX_INPUTS];
	struct node *nodes[MAX_INPUTS];
	unsigned n_inputs;
	struct node *merge;
	struct output_tensor output;
	struct shelf shelf;
	struct plan plan;
	struct pool *pool;
	struct block_cache *cache;
	struct engine *engine;
};

/* What is computed and with what. */
struct setup {
	const char *method;
	const char *param; /* one that has another value, or NULL */
	double value;
	enum dtype_code code;
	uint64_t row;
	unsigned n_threads;
	const struct isa *isa;
	struct disk_cache *disk;
	bool reads; /* the inputs, rather than look at them */
};

static void open_inputs(struct world *world, uint64_t row)
{
	static const char *const names[MAX_INPUTS] = {"a", "b", "c"};

	for (unsigned i = 0; i < world->n_inputs; i++) {
		AUTO_FREE char *path = in_folder(names[i]);
		CHECK(file_open(AT_FDCWD, path, path, NULL, &world->files[i],
				NULL) == 0);
		file_map(world->files[i]);
		world->tensors[i] = (struct tensor){
			.name = (char *)names[i],
			.dtype = dtype_of(DTYPE_F32),
			.shape = {.rank = 2, .dims = {COUNT / row, row}},
			.count = COUNT,
			.file = world->files[i],
			.size = COUNT * 4,
		};
		CHECK(node_stored(&world->tensors[i], &world->nodes[i]) == 0);
	}
}

/* values: (n_params, n_inputs) */
static void find_values(const struct setup *setup, unsigned n, double *values)
{
	const struct method *method = method_find(setup->method);

	for (unsigned p = 0; method->params[p].name; p++) {
		const struct method_param *param = &method->params[p];
		double value = param->required ? 0.4 : param->value;
		if (strcmp(param->name, "density") == 0)
			value = 0.5;
		if (setup->param && strcmp(param->name, setup->param) == 0)
			value = setup->value;
		CHECK(p < MAX_PARAMS);
		for (unsigned i = 0; i < n; i++)
			values[p * n + i] = param->per_model && param->required
						    ? value + 0.1 * i
						    : value;
	}
}

static void open_merge(struct world *world, const struct setup *setup)
{
	const struct method *method = method_find(setup->method);
	double values[MAX_PARAMS * MAX_INPUTS];
	struct method_stream streams[MAX_INPUTS] = {{1, 2}, {3, 4}, {5, 6}};
	unsigned n = method->max_inputs ? method->max_inputs : MAX_INPUTS;

	world->n_inputs = n;
	open_inputs(world, setup->row);
	find_values(setup, n, values);
	struct merge_terms terms = {
		.method = method,
		.inputs = world->nodes,
		.n_inputs = n,
		.base = method->base == BASE_REQUIRED ? 1 : -1,
		.values = values,
		.streams = streams,
	};
	CHECK(node_merge(&terms, &world->merge) == 0);
}

static void open_world(struct world *world, const struct setup *setup)
{
	const struct dtype *dtype = dtype_of(setup->code);

	*world = (struct world){0};
	open_merge(world, setup);
	world->output = (struct output_tensor){
		.name = "w",
		.dtype = dtype,
		.shape = world->merge->shape,
		.size = COUNT * (dtype->bits / 8),
		.node = world->merge,
		.digest = world->merge->digest,
	};
	world->plan = (struct plan){
		.tensors = &world->output,
		.n_tensors = 1,
		.shelf = &world->shelf,
	};
	const struct plan *plan = &world->plan;
	shelf_make_room(&world->shelf, world->merge);
	world->shelf.n_outputs = 1;
	CHECK(pool_new(setup->n_threads, &world->pool) == 0);
	struct block_options blocks = {
		.memory = 8 << 20,
		.pool = world->pool,
		.disk = setup->disk,
	};
	CHECK(block_cache_new(&blocks, &world->cache) == 0);
	struct engine_options options = {
		.shelf = &world->shelf,
		.plans = &plan,
		.n_plans = 1,
		.pool = world->pool,
		.cache = world->cache,
		.isa = setup->isa,
		.most_looks = setup->reads ? 0 : SIZE_MAX,
	};
	CHECK(engine_new(&options, &world->engine) == 0);
}

static void close_world(struct world *world)
{
	block_cache_free(world->cache);
	pool_free(world->pool);
	engine_free(world->engine);
	node_free(world->merge);
	for (unsigned i = 0; i < world->n_inputs; i++) {
		node_free(world->nodes[i]);
		file_close(world->files[i]);
	}
}

static int get(struct world *world, uint64_t number, unsigned char *data)
{
	struct block_request request;
	const struct block *block = NULL;

	engine_request(world->engine, &world->output, number, &request);
	int r = block_get(world->cache, &request, &block);
	if (r < 0)
		return r;
	memcpy(data + number * BLOCK_SIZE, block->data, block->size);
	block_put(world->cache, block);
	return 0;
}

/* All bytes, blocks taken in steps of a prime, or of -1, modulo their number.
 */
static unsigned char *read_all(struct world *world, uint64_t step)
{
	uint64_t n = engine_blocks(&world->output);
	unsigned char *data = malloc(world->output.size);
	CHECK(data);
	for (uint64_t i = 0; i < n; i++) {
		uint64_t at = step == UINT64_MAX ? n - 1 - i : i * step % n;
		CHECK(get(world, at, data) == 0);
	}
	return data;
}

static void check_same_bytes(struct setup setup)
{
	struct world world;
	setup.n_threads = 1;
	setup.isa = isa_all()[0];
	setup.reads = true;
	open_world(&world, &setup);
	unsigned char *first = read_all(&world, 1);
	setup.reads = false;
	uint64_t scans = world.merge->facts ? 1 : 0;
	CHECK(engine_scans(world.engine) == scans);
	close_world(&world);

	/* Back from the last block; in an order like chance; forward. */
	static const struct {
		unsigned n_threads;
		uint64_t step;
	} ways[] = {{2, 8191}, {1, UINT64_MAX}, {7, 1}};
	for (const struct isa *const *isa = isa_all(); *isa; isa++) {
		if (!isa_find((*isa)->name))
			continue;
		setup.isa = *isa;
		size_t n_ways = *isa == isa_best() ? ARRAY_SIZE(ways) : 1;
		if (STEP > 1 && *isa != isa_best())
			continue;
		for (size_t i = 0; i < n_ways; i++) {
			setup.n_threads = ways[i].n_threads;
			open_world(&world, &setup);
			unsigned char *data = read_all(&world, ways[i].step);
			CHECK(memcmp(first, data, world.output.size) == 0);
			free(data);
			close_world(&world);
		}
	}
	free(first);
}

static void test_same_bytes(void)
{
	static const struct setup others[] = {
		{.method = "nuslerp", .param = "nuslerp_flatten"},
		{.method = "nuslerp", .param = "nuslerp_row_wise", .value = 1},
		{.method = "model_stock", .param = "filter_wise", .value = 1},
		{.method = "ties", .param = "rescale", .value = 1},
		{.method = "breadcrumbs", .param = "rescale", .value = 1},
		{.method = "sce", .param = "select_topk", .value = 0.3},
	};

	for (size_t i = 0; method_all()[i]; i++) {
		if (i % STEP != 0)
			continue;
		check_same_bytes((struct setup){
			.method = method_all()[i]->name,
			.code = i % 2 ? DTYPE_F32 : DTYPE_BF16,
			.row = i % 3 ? 1000 : 6000,
		});
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i += STEP) {
		struct setup setup = others[i];
		setup.row = i % 2 ? 6000 : 1000;
		setup.code = DTYPE_BF16;
		check_same_bytes(setup);
	}
}

/* Reads everything; returns the scans that it took, and the bytes, owned. */
static uint64_t read_with(const char *method, struct disk_cache *disk,
			  unsigned char **ret_data)
{
	struct world world;
	struct setup setup = {
		.method = method,
		.code = DTYPE_F32,
		.row = 1000,
		.n_threads = 2,
		.disk = disk,
	};
	open_world(&world, &setup);
	*ret_data = read_all(&world, 8191);
	uint64_t scans = engine_scans(world.engine);
	close_world(&world);
	return scans;
}

/* The scans that it takes with facts kept on disk; the bytes are right. */
static uint64_t scans_of(const char *method, struct disk_cache *disk)
{
	AUTO_FREE unsigned char *right = NULL, *data = NULL;

	read_with(method, NULL, &right);
	uint64_t scans = read_with(method, disk, &data);
	CHECK(memcmp(data, right, COUNT * sizeof(float)) == 0);
	return scans;
}

/* Reads one block, as the first reader after a mount; returns the scans. */
static uint64_t scans_of_one(const char *method, struct disk_cache *disk,
			     bool *ret_has_facts)
{
	struct world world;
	struct setup setup = {
		.method = method,
		.code = DTYPE_F32,
		.row = 1000,
		.n_threads = 2,
		.disk = disk,
	};
	open_world(&world, &setup);
	AUTO_FREE unsigned char *data = malloc(world.output.size);
	CHECK(get(&world, engine_blocks(&world.output) - 1, data) == 0);
	uint64_t scans = engine_scans(world.engine);
	*ret_has_facts = world.merge->facts;
	close_world(&world);
	return scans;
}

/* A second mount scans nothing. */
static void test_facts_kept(void)
{
	AUTO_FREE char *path = in_folder("cache");
	struct disk_options options = {.directory = path};
	AUTO(disk_cache) disk = NULL;
	CHECK(disk_cache_open(&options, &disk, NULL) == 0);

	for (size_t i = 0; method_all()[i]; i++) {
		const char *method = method_all()[i]->name;
		bool has_facts;
		if (i % STEP != 0)
			continue;
		uint64_t scans = scans_of_one(method, disk, &has_facts);

		CHECK(scans == has_facts);
		CHECK(scans_of_one(method, disk, &has_facts) == 0);
	}
}

struct reader {
	pthread_t thread;
	struct world *world;
	uint64_t block;
	unsigned char *data;
};

static void *read_one(void *arg)
{
	struct reader *reader = arg;

	CHECK(get(reader->world, reader->block, reader->data) == 0);
	return NULL;
}

/* Readers that come while a tensor is scanned share that scan. */
static void test_shared_scan(void)
{
	struct reader readers[8];

	for (size_t i = 0; method_all()[i]; i++) {
		struct world world;
		struct setup setup = {
			.method = method_all()[i]->name,
			.code = DTYPE_F32,
			.row = 1000,
			.n_threads = 3,
		};
		if (i % STEP != 0)
			continue;
		open_world(&world, &setup);
		AUTO_FREE unsigned char *data =
			malloc(ARRAY_SIZE(readers) * world.output.size);
		for (size_t r = 0; r < ARRAY_SIZE(readers); r++) {
			uint64_t n = engine_blocks(&world.output);
			readers[r] = (struct reader){
				.world = &world,
				.block = r * 5 % n,
				.data = data + r * world.output.size,
			};
			CHECK(pthread_create(&readers[r].thread, NULL, read_one,
					     &readers[r]) == 0);
		}
		for (size_t r = 0; r < ARRAY_SIZE(readers); r++)
			CHECK(pthread_join(readers[r].thread, NULL) == 0);
		CHECK(engine_scans(world.engine) ==
		      (world.merge->facts ? 1 : 0));
		close_world(&world);
	}
}

/* Ends the process some microseconds after it began to read. */
static void read_and_die(const char *method, const char *path, unsigned after)
{
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		struct disk_options options = {.directory = path};
		struct disk_cache *disk = NULL;
		unsigned char *data = NULL;
		CHECK(disk_cache_open(&options, &disk, NULL) == 0);
		read_with(method, disk, &data);
		_exit(0);
	}
	usleep(after);
	kill(child, SIGKILL);
	CHECK(waitpid(child, NULL, 0) == child);
}

/* A process that dies in a scan loses that scan; what others left stays. */
static void test_interrupted(void)
{
	AUTO_FREE char *path = in_folder("interrupted");
	struct disk_options options = {.directory = path};
	AUTO(disk_cache) disk = NULL;
	CHECK(disk_cache_open(&options, &disk, NULL) == 0);

	CHECK(scans_of("ties", disk) == 1);
	for (unsigned after = 1000; after < 200000; after *= 3)
		read_and_die("sce", path, after);
	CHECK(scans_of("sce", disk) <= 1);
	CHECK(scans_of("sce", disk) == 0);
	CHECK(scans_of("ties", disk) == 0);
}

static void test_changed_source(void)
{
	struct world world;
	struct setup setup = {
		.method = "linear",
		.code = DTYPE_F32,
		.row = 1000,
		.n_threads = 2,
	};
	open_world(&world, &setup);
	AUTO_FREE unsigned char *data = malloc(world.output.size);
	AUTO_FREE char *path = in_folder("b");
	CHECK(get(&world, 0, data) == 0);

	AUTO_CLOSE int fd = open(path, O_WRONLY);
	CHECK(fd >= 0);
	CHECK(pwrite(fd, "x", 1, 0) == 1);
	CHECK(get(&world, 1, data) == -ESTALE);
	CHECK(get(&world, 0, data) == 0); /* known before the change */
	CHECK(ftruncate(fd, 4096) == 0);
	int r = get(&world, 2, data);
	CHECK(r == -EIO || r == -ESTALE);
	close_world(&world);
	write_floats("b", 2);
}

int main(void)
{
	CHECK(mkdtemp(folder));
	write_floats("a", 1);
	write_floats("b", 2);
	write_floats("c", 3);
	test_same_bytes();
	test_facts_kept();
	test_shared_scan();
	test_interrupted();
	test_changed_source();
	AUTO_FREE char *command = NULL;
	CHECK(asprintf(&command, "rm -r %s", folder) > 0);
	CHECK(system(command) == 0);
	return 0;
}
