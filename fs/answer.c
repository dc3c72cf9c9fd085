#include "fs/answer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cache/block.h"
#include "cache/counters.h"
#include "fs/backing.h"
#include "fs/control.h"
#include "fs/reads.h"
#include "fs/server.h"
#include "merge/engine/engine.h"
#include "merge/output/merge.h"
#include "merge/output/warm.h"
#include "util/json.h"

/* cJSON's adders report failure only by their result. */
struct builder {
	cJSON *root; /* owned */
	cJSON *group;
	bool failed;
};

static void add_group(struct builder *builder, const char *name)
{
	builder->group = cJSON_AddObjectToObject(builder->root, name);
	builder->failed |= !builder->group;
}

static void add(struct builder *builder, const char *name, uint64_t value)
{
	builder->failed |=
		!cJSON_AddNumberToObject(builder->group, name, (double)value);
}

static void add_seconds(struct builder *builder, const char *name, double value)
{
	/* Milliseconds are enough, and shorter. */
	value = (double)(uint64_t)(value * 1000) / 1000;
	builder->failed |=
		!cJSON_AddNumberToObject(builder->group, name, value);
}

static void add_text(struct builder *builder, const char *name,
		     const char *value)
{
	builder->failed |=
		!cJSON_AddStringToObject(builder->group, name, value);
}

static void add_about(struct builder *builder, const struct server *server)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	builder->group = builder->root;
	add_text(builder, "recipe", server->recipe);
	add_text(builder, "mountpoint", server->mountpoint);
	add_text(builder, "cache",
		 server->merge->cache_directory ? server->merge->cache_directory
						: "none");
	add_text(builder, "version", VERSION);
	add(builder, "pid", (uint64_t)getpid());
	add_seconds(builder, "uptime",
		    (double)(now.tv_sec - server->began.tv_sec) +
			    (double)(now.tv_nsec - server->began.tv_nsec) *
				    1e-9);
}

/* Of a directory of recipes: those that are left out, and why. */
static void add_refused(struct builder *builder, const struct notes *refused)
{
	if (refused->n_lines == 0)
		return;

	cJSON *list = cJSON_AddArrayToObject(builder->root, "refused");
	builder->failed |= !list;
	for (size_t i = 0; !builder->failed && i < refused->n_lines; i++) {
		cJSON *line = cJSON_CreateString(refused->lines[i]);
		builder->failed |= !cJSON_AddItemToArray(list, line);
	}
}

static void add_blocks(struct builder *builder, const struct cache_counters *n)
{
	add_group(builder, "blocks");
	add(builder, "hits", n->hits);
	add(builder, "waits", n->waits);
	add(builder, "misses", n->misses);
	add(builder, "computed", n->computed);
	add(builder, "failed", n->failed);
	add(builder, "loaded", n->loaded);
	add(builder, "verified", n->verified);
	add(builder, "dropped", n->dropped);
	add(builder, "stored", n->stored);
	add(builder, "skipped", n->skipped);
	add(builder, "refused", n->refused);
	add(builder, "evicted", n->evicted);
}

static void add_bytes(struct builder *builder, const struct cache_counters *n,
		      const struct read_counters *reads,
		      const struct backing_counters *backings,
		      uint64_t n_pushed)
{
	add_group(builder, "bytes");
	add(builder, "read", reads->bytes);
	add(builder, "pushed", n_pushed);
	add(builder, "memory", reads->roads.memory);
	add(builder, "waited", reads->roads.waited);
	add(builder, "copied", reads->roads.copied);
	add(builder, "literal", reads->roads.literal);
	add(builder, "passthrough", backings->bytes);
	add(builder, "computed", n->bytes_computed);
	add(builder, "loaded", n->bytes_loaded);
	add(builder, "stored", n->bytes_stored);
	add(builder, "stored_on_disk", n->bytes_stored_disk);
	add(builder, "evicted", n->bytes_evicted);
}

static uint64_t resident(void)
{
	unsigned long size, pages = 0;
	FILE *in = fopen("/proc/self/statm", "re");

	if (!in)
		return 0;
	if (fscanf(in, "%lu %lu", &size, &pages) != 2)
		pages = 0;
	fclose(in);
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void add_now(struct builder *builder, struct server *server,
		    const struct cache_counters *n,
		    const struct read_counters *reads,
		    const struct backing_counters *backings)
{
	add_group(builder, "now");
	add(builder, "recipes", server->merge->n_parts);
	add(builder, "recipes_refused", server->merge->refused.n_lines);
	add(builder, "reads", reads->n_flying);
	add(builder, "memory", n->memory);
	add(builder, "memory_budget", server->merge->options.memory);
	add(builder, "resident", resident());
	add(builder, "memory_short", pressure_is_short(&server->pressure));
	add(builder, "waiting", n->waiting);
	add(builder, "disk", n->used);
	add(builder, "disk_budget", n->budget);
	add(builder, "paused", n->paused);
	add(builder, "passthrough_files", backings->n_open);
	add(builder, "passthrough_allowed", backings->allowed);
}

static void add_methods(struct builder *builder, struct engine *engine)
{
	size_t n;
	const struct engine_tally *tallies = engine_tallies(engine, &n);
	cJSON *list = cJSON_AddObjectToObject(builder->root, "methods");

	builder->failed |= !list;
	for (size_t i = 0; !builder->failed && i < n; i++) {
		builder->group = cJSON_AddObjectToObject(list, tallies[i].how);
		builder->failed |= !builder->group;
		add(builder, "bytes", atomic_load(&tallies[i].bytes));
		add_seconds(builder, "seconds",
			    (double)atomic_load(&tallies[i].nanoseconds) *
				    1e-9);
	}
}

char *answer_status(struct server *server)
{
	struct builder builder = {.root = cJSON_CreateObject()};
	struct engine *engine = server->merge->engine;
	struct cache_counters cache;
	struct read_counters reads;
	struct backing_counters backings;

	block_cache_counters(server->merge->cache, &cache);
	reads_counters(server->reads, &reads);
	backings_counters(server->backings, &backings);
	add_about(&builder, server);
	add_refused(&builder, &server->merge->refused);
	add_blocks(&builder, &cache);
	add_bytes(&builder, &cache, &reads, &backings,
		  atomic_load(&server->n_pushed));
	add(&builder, "inputs", engine_bytes_read(engine));
	add_group(&builder, "counts");
	add(&builder, "reads", reads.n);
	add(&builder, "scans", engine_scans(engine));
	add(&builder, "passthrough_opens", backings.opens);
	add_now(&builder, server, &cache, &reads, &backings);
	add_methods(&builder, engine);

	char *text = builder.failed ? NULL : cJSON_Print(builder.root);
	cJSON_Delete(builder.root);
	return text;
}

/* Blocks that wait to be stored: with more of them the disk is behind. */
#define BEHIND_MOST ((uint64_t)8 << 20)

struct warming {
	struct warm_step step;
	struct server *server;
	fuse_req_t req;
	struct control_warm command;
};

static uint64_t waiting(const struct server *server)
{
	struct cache_counters cache;

	block_cache_counters(server->merge->cache, &cache);
	return cache.waiting;
}

static void step_done(struct warm_step *step, int r)
{
	struct warming *warming = CONTAINER_OF(step, struct warming, step);
	struct control_warm *command = &warming->command;
	struct server *server = warming->server;

	command->error = r;
	command->next = step->next;
	command->total = step->total;
	command->waiting = waiting(server);
	fuse_reply_ioctl(warming->req, 0, command, sizeof(*command));
	free(warming);
	reads_leave(server->reads);
}

static bool is_busy(const struct server *server)
{
	struct read_counters reads;

	reads_counters(server->reads, &reads);
	return reads.n_flying > 0 || waiting(server) > BEHIND_MOST ||
	       block_cache_place(server->merge->cache) < BLOCK_SIZE;
}

void answer_warm(struct server *server, fuse_req_t req, const void *data,
		 size_t size)
{
	struct warming *warming = calloc(1, sizeof(*warming));

	if (!warming || size != sizeof(warming->command)) {
		fuse_reply_err(req, warming ? EINVAL : ENOMEM);
		free(warming);
		return;
	}
	struct control_warm *command = &warming->command;
	memcpy(command, data, size);
	command->pattern[sizeof(command->pattern) - 1] = '\0';
	if (command->part < 1 || command->part > command->n_parts ||
	    !server->merge->disk) {
		fuse_reply_err(req, server->merge->disk ? EINVAL : ENODEV);
		free(warming);
		return;
	}
	if (is_busy(server)) {
		command->busy = 1;
		fuse_reply_ioctl(req, 0, command, sizeof(*command));
		free(warming);
		return;
	}
	warming->server = server;
	warming->req = req;
	warming->step = (struct warm_step){
		.image = server->merge->image,
		.engine = server->merge->engine,
		.choice =
			{
				.pattern = *command->pattern ? command->pattern
							     : NULL,
				.part = command->part,
				.n_parts = command->n_parts,
			},
		.position = command->position,
		.done = step_done,
	};
	reads_enter(server->reads);
	warm_step(&warming->step);
}
