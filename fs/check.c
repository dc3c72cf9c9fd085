#include "fs/check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fs/outline.h"
#include "fs/vocabulary.h"
#include "merge/engine/plan.h"
#include "merge/methods/method.h"
#include "merge/output/image.h"
#include "merge/output/merge.h"
#include "merge/recipe/recipe.h"
#include "merge/source/source.h"
#include "util/json.h"
#include "util/text.h"

/* Output tensors that are made in one way, of one type. */
struct group {
	const char *how;
	const struct dtype *dtype;
	uint64_t n, size;
};

struct groups {
	struct group *items; /* (n,) in the order they appear; owned */
	size_t n;
};

static struct group *find_group(struct groups *groups,
				const struct output_tensor *tensor)
{
	for (size_t i = 0; i < groups->n; i++) {
		struct group *group = &groups->items[i];
		if (strcmp(group->how, tensor->how) == 0 &&
		    group->dtype == tensor->dtype)
			return group;
	}
	struct group *group = &groups->items[groups->n++];
	*group = (struct group){.how = tensor->how, .dtype = tensor->dtype};
	return group;
}

static int group_tensors(const struct plan *plan, struct groups *ret)
{
	ret->items = calloc(plan->n_tensors + 1, sizeof(*ret->items));
	ret->n = 0;
	if (!ret->items)
		return -ENOMEM;
	for (size_t i = 0; i < plan->n_tensors; i++) {
		struct group *group = find_group(ret, &plan->tensors[i]);
		group->n++;
		group->size += plan->tensors[i].size;
	}
	return 0;
}

static void print_files(const struct image *image, FILE *out)
{
	char size[16];
	uint32_t n_entries, n_files = 0;
	const struct image_entry *entries = image_entries(image, &n_entries);

	fputs("\nFiles\n", out);
	for (uint32_t i = 0; i < n_entries; i++) {
		if (entries[i].directory)
			continue;
		n_files++;
		fprintf(out, "%10s  %s\n",
			text_format_size(entries[i].size, size),
			entries[i].path);
	}
	fprintf(out, "%10s  in %" PRIu32 " files\n",
		text_format_size(image_size(image), size), n_files);
}

static int print_part(const struct merge_part *part, FILE *out)
{
	const struct plan *plan = part->plan;
	struct groups groups;
	char size[16];

	int r = group_tensors(plan, &groups);
	if (r < 0)
		return r;
	fprintf(out, "%s: %s of\n", part->path, plan->recipe->method->name);
	for (size_t i = 0; i < plan->n_sources; i++)
		fprintf(out, "  %s\t(%s)\n", plan->sources[i]->label,
			plan->sources[i]->directory);

	fputs("\nTensors\n", out);
	for (size_t i = 0; i < groups.n; i++)
		fprintf(out, "%10s  %6" PRIu64 "  %-5s %s\n",
			text_format_size(groups.items[i].size, size),
			groups.items[i].n, groups.items[i].dtype->name,
			groups.items[i].how);
	free(groups.items);

	fputs("\nHow they are made\n", out);
	r = outline_print_plan(plan, false, out);
	vocabulary_print(plan, out);
	if (r == 0)
		print_files(part->image, out);
	return r;
}

static int print_text(const struct merge *merge, FILE *out)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < merge->n_parts; i++) {
		if (i > 0)
			fputs("\n\n", out);
		r = print_part(&merge->parts[i], out);
	}
	return r;
}

/* cJSON's adders report failure only by their result. */
static bool add_number(cJSON *object, const char *key, uint64_t value)
{
	return cJSON_AddNumberToObject(object, key, (double)value);
}

static bool add_models(cJSON *root, const struct plan *plan)
{
	cJSON *list = cJSON_AddArrayToObject(root, "models");
	bool ok = list;

	for (size_t i = 0; ok && i < plan->n_sources; i++) {
		const struct source *source = plan->sources[i];
		cJSON *row = json_append_object(list);
		ok = row &&
		     cJSON_AddStringToObject(row, "model", source->label) &&
		     cJSON_AddStringToObject(row, "directory",
					     source->directory);
	}
	return ok;
}

static bool add_groups(cJSON *root, const struct plan *plan)
{
	struct groups groups;
	cJSON *list = cJSON_AddArrayToObject(root, "tensors");
	bool ok = list && group_tensors(plan, &groups) == 0;
	AUTO_FREE struct group *items = ok ? groups.items : NULL;

	for (size_t i = 0; ok && i < groups.n; i++) {
		const struct group *group = &items[i];
		cJSON *row = json_append_object(list);
		ok = row && cJSON_AddStringToObject(row, "how", group->how) &&
		     cJSON_AddStringToObject(row, "dtype",
					     group->dtype->name) &&
		     add_number(row, "count", group->n) &&
		     add_number(row, "size", group->size);
	}
	return ok;
}

static bool add_files(cJSON *root, const struct image *image)
{
	cJSON *list = cJSON_AddArrayToObject(root, "files");
	uint32_t n;
	const struct image_entry *entries = image_entries(image, &n);
	bool ok = list;

	for (uint32_t i = 0; ok && i < n; i++) {
		if (entries[i].directory)
			continue;
		cJSON *row = json_append_object(list);
		ok = row &&
		     cJSON_AddStringToObject(row, "path", entries[i].path) &&
		     add_number(row, "size", entries[i].size);
	}
	return ok;
}

static bool add_notes(cJSON *list, const struct notes *notes)
{
	bool ok = list;

	for (size_t i = 0; ok && i < notes->n_lines; i++)
		ok = cJSON_AddItemToArray(list,
					  cJSON_CreateString(notes->lines[i]));
	return ok;
}

static bool add_part(cJSON *row, const struct merge_part *part)
{
	const struct plan *plan = part->plan;

	return row && cJSON_AddStringToObject(row, "recipe", part->path) &&
	       cJSON_AddStringToObject(row, "merge_method",
				       plan->recipe->method->name) &&
	       add_models(row, plan) && add_groups(row, plan) &&
	       outline_add_plan(row, plan) && vocabulary_add(row, plan) &&
	       add_files(row, part->image) &&
	       add_number(row, "size", image_size(part->image));
}

static bool add_all(cJSON *root, const struct merge *merge)
{
	cJSON *list = merge->is_directory
			      ? cJSON_AddArrayToObject(root, "recipes")
			      : NULL;
	bool ok = root && (list || !merge->is_directory);

	for (size_t i = 0; ok && i < merge->n_parts; i++)
		ok = add_part(list ? json_append_object(list) : root,
			      &merge->parts[i]);
	if (ok && list)
		ok = add_notes(cJSON_AddArrayToObject(root, "refused"),
			       &merge->refused);
	return ok && add_notes(cJSON_AddArrayToObject(root, "warnings"),
			       &merge->notes);
}

static int print_json(const struct merge *merge, FILE *out)
{
	AUTO(cJSON) root = cJSON_CreateObject();
	AUTO_FREE char *text = add_all(root, merge) ? cJSON_Print(root) : NULL;

	if (!text)
		return -ENOMEM;
	fprintf(out, "%s\n", text);
	return 0;
}

int check_print(const struct merge *merge, bool json, FILE *out)
{
	return json ? print_json(merge, out) : print_text(merge, out);
}
