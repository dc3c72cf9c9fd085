#include "merge/output/merge_parts.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "merge/engine/plan.h"
#include "merge/output/image.h"
#include "merge/output/merge.h"
#include "merge/recipe/recipe.h"
#include "merge/tensor/dtype.h"

static void part_done(struct merge_part *part)
{
	image_free(part->image);
	plan_free(part->plan);
	recipe_free(part->recipe_file);
	free(part->path);
	free(part->name);
	*part = (struct merge_part){0};
}

/* "recipes/my-merge.yaml" -> "my-merge". */
static char *recipe_title(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	const char *dot = strrchr(name, '.');

	return strndup(name, dot && dot != name ? (size_t)(dot - name)
						: strlen(name));
}

/* Of one recipe; in a directory it says of which. */
static int take_notes(struct merge *merge, const struct merge_part *part,
		      const struct notes *notes)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < notes->n_lines; i++) {
		const char *line = notes->lines[i];
		r = merge->is_directory ? notes_add(&merge->notes, "%s: %s",
						    part->name, line)
					: notes_add(&merge->notes, "%s", line);
	}
	return r;
}

static int plan_part(struct merge *merge, struct merge_part *part,
		     struct error *err)
{
	const struct merge_options *options = &merge->options;
	struct plan_options plan = {
		.allow_crimes = options->allow_crimes,
		.offline = options->offline,
		.fuse = options->fuse,
		.seed = options->seed,
	};
	if (options->lora_merge_dtype)
		plan.lora_dtype = dtype_find_torch(options->lora_merge_dtype);
	struct image_options image = {
		.shard_size = options->shard_size,
		.title = part->name,
	};

	int r = plan_new(part->recipe_file, merge->shelf, &plan, &part->plan,
			 err);
	return r < 0 ? r : image_new(part->plan, &image, &part->image, err);
}

static int open_part(struct merge *merge, const char *path,
		     struct merge_part *part, struct error *err)
{
	struct notes notes = {0};
	part->path = strdup(path);
	part->name = recipe_title(path);
	if (!part->path || !part->name)
		return error_set(err, -ENOMEM, "out of memory");

	int r = recipe_load(path, merge->options.lax, &part->recipe_file,
			    &notes, err);
	if (r == 0)
		r = plan_part(merge, part, err);
	if (r == 0 && (take_notes(merge, part, &notes) < 0 ||
		       take_notes(merge, part, &part->plan->notes) < 0))
		r = error_set(err, -ENOMEM, "out of memory");
	notes_done(&notes);
	return r;
}

/* A sentence that does not name its recipe is given its path. */
static int refuse(struct merge *merge, const char *path,
		  const struct error *why)
{
	return strstr(why->text, path)
		       ? notes_add(&merge->refused, "%s", why->text)
		       : notes_add(&merge->refused, "%s: %s", path, why->text);
}

/* One recipe of a directory: it is left out if it is refused. */
static int try_part(struct merge *merge, const char *path, struct error *err)
{
	struct merge_part *part = &merge->parts[merge->n_parts];
	struct error why = {0};
	AUTO_FREE char *name = recipe_title(path);
	int r = name ? 0 : -ENOMEM;

	if (r == 0 && merge->n_parts > 0 && strcmp(part[-1].name, name) == 0)
		r = error_set(&why, -EEXIST,
			      "%s: another recipe has the name %s; rename one",
			      path, name);
	else if (r == 0)
		r = open_part(merge, path, part, &why);
	if (r == 0) {
		merge->n_parts++;
		return 0;
	}
	part_done(part);
	if (r == -ENOMEM || refuse(merge, path, &why) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	return 0;
}

static int is_recipe(const struct dirent *entry)
{
	const char *dot = strrchr(entry->d_name, '.');

	return *entry->d_name != '.' && dot &&
	       (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0);
}

/* By name without the ending, so that equal ones follow each other. */
static int compare_recipes(const struct dirent **a, const struct dirent **b)
{
	const char *x = (*a)->d_name, *y = (*b)->d_name;
	size_t m = (size_t)(strrchr(x, '.') - x);
	size_t n = (size_t)(strrchr(y, '.') - y);
	int order = strncmp(x, y, m < n ? m : n);

	if (order == 0 && m != n)
		order = m < n ? -1 : 1;
	return order ? order : strcmp(x, y);
}

static int try_all(struct merge *merge, struct dirent *const *list, int n,
		   struct error *err)
{
	const char *folder = merge->options.recipe;
	size_t length = strlen(folder);
	while (length > 0 && folder[length - 1] == '/')
		length--;
	merge->parts = calloc((size_t)n + 1, sizeof(*merge->parts));
	if (!merge->parts)
		return error_set(err, -ENOMEM, "out of memory");

	int r = 0;
	for (int i = 0; r == 0 && i < n; i++) {
		AUTO_FREE char *path = NULL;
		if (asprintf(&path, "%.*s/%s", (int)length, folder,
			     list[i]->d_name) < 0) {
			path = NULL;
			return error_set(err, -ENOMEM, "out of memory");
		}
		r = try_part(merge, path, err);
	}
	return r;
}

static int join_images(struct merge *merge)
{
	size_t n = merge->n_parts;
	AUTO_FREE const struct image **images = calloc(n, sizeof(*images));
	AUTO_FREE const char **names = calloc(n, sizeof(*names));
	if (!images || !names)
		return -ENOMEM;

	for (size_t i = 0; i < n; i++) {
		images[i] = merge->parts[i].image;
		names[i] = merge->parts[i].name;
	}
	return image_join(images, names, n, &merge->joined);
}

static int open_directory(struct merge *merge, struct error *err)
{
	const char *path = merge->options.recipe;
	struct dirent **list = NULL;

	int n = scandir(path, &list, is_recipe, compare_recipes);
	if (n < 0)
		return error_set(err, -errno, "%s: %s", path, strerror(errno));
	int r = try_all(merge, list, n, err);
	for (int i = 0; i < n; i++)
		free(list[i]);
	free(list);
	if (r < 0)
		return r;
	if (n == 0)
		return error_set(err, -ENOENT,
				 "%s: no recipe in this directory (*.yaml)",
				 path);
	if (merge->n_parts == 0)
		return error_set(err, -EINVAL, "%s%s", merge->refused.lines[0],
				 n > 1 ? " (the others are refused, too)" : "");
	r = join_images(merge);
	merge->image = merge->joined;
	return r < 0 ? error_set(err, r, "out of memory") : 0;
}

int merge_open_parts(struct merge *merge, struct error *err)
{
	const char *path = merge->options.recipe;
	struct stat st;

	merge->is_directory = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
	if (merge->is_directory)
		return open_directory(merge, err);

	merge->parts = calloc(1, sizeof(*merge->parts));
	if (!merge->parts)
		return error_set(err, -ENOMEM, "out of memory");
	merge->n_parts = 1;
	int r = open_part(merge, path, &merge->parts[0], err);
	merge->image = merge->parts[0].image;
	return r;
}

void merge_close_parts(struct merge *merge)
{
	for (size_t i = 0; i < merge->n_parts; i++)
		part_done(&merge->parts[i]);
	free(merge->parts);
}
