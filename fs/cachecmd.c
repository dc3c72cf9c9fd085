#include "fs/cachecmd.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "cache/counters.h"
#include "cache/directory.h"
#include "cache/disk.h"
#include "cache/upkeep.h"
#include "fs/options.h"
#include "util/json.h"
#include "util/text.h"

struct place {
	const struct options *options;
	const char *path;
	int dir;
	FILE *out;
};

static const char *const age_names[N_UPKEEP_AGES] = {
	[UPKEEP_HOUR] = "hour",	  [UPKEEP_DAY] = "day",
	[UPKEEP_WEEK] = "week",	  [UPKEEP_MONTH] = "month",
	[UPKEEP_OLDER] = "older",
};

static int print_json(const struct place *place, const struct upkeep *found)
{
	AUTO_FREE char *path = json_quote(place->path);
	const char *comma = "";
	if (!path)
		return -ENOMEM;

	fprintf(place->out,
		"{\"directory\": %s, \"blocks\": %" PRIu64
		", \"bytes\": %" PRIu64 ", \"bytes_raw\": %" PRIu64
		", \"whole_files\": %" PRIu64 ", \"bytes_whole\": %" PRIu64
		", \"free\": %" PRIu64 ", \"temporary\": %" PRIu64
		", \"foreign\": %" PRIu64 ", \"used_within\": {",
		path, found->n_blocks, found->size, found->size_raw,
		found->n_whole, found->size_whole, found->free,
		found->n_temporary, found->n_foreign);
	for (unsigned i = 0; i < N_UPKEEP_AGES; i++, comma = ", ")
		fprintf(place->out,
			"%s\"%s\": {\"blocks\": %" PRIu64
			", \"bytes\": %" PRIu64 "}",
			comma, age_names[i], found->ages[i].n,
			found->ages[i].size);
	fprintf(place->out, "}}\n");
	return 0;
}

static void print_text(const struct place *place, const struct upkeep *found)
{
	char size[16], raw[16], room[16];

	fprintf(place->out,
		"%s: %" PRIu64 " blocks, %s on disk, %s of weights; %s are "
		"free there\n",
		place->path, found->n_blocks,
		text_format_size(found->size, size),
		text_format_size(found->size_raw, raw),
		text_format_size(found->free, room));
	for (unsigned i = 0; i < N_UPKEEP_AGES; i++) {
		if (found->ages[i].n > 0)
			fprintf(place->out,
				"  %s%-6s %10" PRIu64 " blocks %12s\n",
				i == UPKEEP_OLDER ? "used  "
						  : "used within the last ",
				age_names[i], found->ages[i].n,
				text_format_size(found->ages[i].size, size));
	}
	if (found->n_whole > 0)
		fprintf(place->out,
			"  whole files of weights %10" PRIu64 "        %12s\n",
			found->n_whole,
			text_format_size(found->size_whole, size));
	if (found->n_temporary > 0)
		fprintf(place->out, "  being written: %" PRIu64 "\n",
			found->n_temporary);
	if (found->n_foreign > 0)
		fprintf(place->out,
			"  files of somebody else, left alone: %" PRIu64 "\n",
			found->n_foreign);
}

static int list(const struct place *place, struct error *err)
{
	struct upkeep found;
	int r = upkeep_survey(place->dir, &found);

	if (r == 0 && place->options->json)
		r = print_json(place, &found);
	else if (r == 0)
		print_text(place, &found);
	return r == 0 ? 0
		      : error_set(err, r, "%s: %s", place->path, strerror(-r));
}

static int verify(const struct place *place, struct error *err)
{
	char size[16];
	struct upkeep found;
	int r = upkeep_verify(place->dir, &found);

	if (r < 0)
		return error_set(err, r, "%s: %s", place->path, strerror(-r));
	fprintf(place->out,
		"%s: %" PRIu64 " blocks and %" PRIu64 " whole files, %s: ",
		place->path, found.n_blocks, found.n_whole,
		text_format_size(found.size + found.size_whole, size));
	fprintf(place->out, found.n_bad ? "%" PRIu64 " bad\n" : "all good\n",
		found.n_bad);
	if (found.n_bad > 0)
		return error_set(err, -EBADMSG,
				 "%s: %" PRIu64
				 " bad blocks and files removed; "
				 "they are computed again when they are read",
				 place->path, found.n_bad);
	return 0;
}

static int clear(const struct place *place, struct error *err)
{
	char size[16];
	struct upkeep found;
	int r = upkeep_clear(place->dir, &found);

	if (r < 0)
		return error_set(err, r, "%s: %s", place->path, strerror(-r));
	fprintf(place->out, "%s: %" PRIu64 " files removed, %s\n", place->path,
		found.n_removed, text_format_size(found.size_removed, size));
	return 0;
}

static int collect(const struct place *place, struct error *err)
{
	AUTO(disk_cache) disk = NULL;
	char size[16], used[16];
	struct cache_counters counters = {0};
	struct disk_options options = {
		.directory = place->path,
		.size = place->options->merge.cache_size,
		.free = place->options->merge.cache_free,
	};

	int r = disk_cache_open(&options, &disk, err);
	if (r < 0)
		return r;
	disk_cache_tidy(disk);
	disk_cache_counters(disk, &counters);
	fprintf(place->out, "%s: %" PRIu64 " blocks removed, %s; ", place->path,
		counters.evicted,
		text_format_size(counters.bytes_evicted, size));
	fprintf(place->out, "%s are left, of %s at most\n",
		text_format_size(counters.used, used),
		text_format_size(counters.budget, size));
	return 0;
}

static const struct action {
	const char *name;
	int (*run)(const struct place *place, struct error *err);
} actions[] = {
	{"ls", list},
	{"gc", collect},
	{"verify", verify},
	{"clear", clear},
};

static const struct action *find_action(const char *name, struct error *err)
{
	const char *names[ARRAY_SIZE(actions) + 1] = {0};

	for (size_t i = 0; i < ARRAY_SIZE(actions); i++) {
		if (strcmp(actions[i].name, name) == 0)
			return &actions[i];
		names[i] = actions[i].name;
	}
	const char *near = text_nearest(name, names);
	error_set(err, -EINVAL,
		  near ? "no command 'cache %s'; did you mean cache %s?"
		       : "no command 'cache %s'; there are ls, gc, verify and "
			 "clear",
		  name, near);
	return NULL;
}

int cache_command(const struct options *options, FILE *out, struct error *err)
{
	AUTO_FREE char *usual = directory_default();
	AUTO_CLOSE int dir = -1;
	struct place place = {
		.options = options,
		.path = options->merge.cache ? options->merge.cache : usual,
		.out = out,
	};
	const struct action *action = find_action(options->arguments[0], err);
	if (!action)
		return -EINVAL;

	if (!place.path)
		return error_set(err, -ENOENT,
				 "there is no home directory; name the cache "
				 "by --cache");
	int r = directory_find(place.path, &dir, err);
	if (r < 0)
		return r;
	place.dir = dir;
	return action->run(&place, err);
}
