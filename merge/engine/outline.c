#include "merge/engine/outline.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "merge/arch/arch.h"
#include "merge/engine/describe.h"
#include "merge/engine/plan.h"

/* One tensor of successive layers that are made alike but for parameters. */
struct run {
	UT_hash_handle hh;
	char *name; /* with N for the layer; owned */
	bool layered;
	uint64_t first, last;
	bool cut; /* there are others of the name */
	uint64_t n_tensors, n_copied, size;
	const struct dtype *dtype;
	bool carried;
	cJSON *expression; /* parameters are lists; owned */
	size_t group;
};

struct runs {
	struct run **items; /* (n,) in the order they begin; owned */
	size_t n;
	struct run *open; /* hash table by name: those that may go on */
};

static void runs_done(struct runs *runs)
{
	HASH_CLEAR(hh, runs->open);
	for (size_t i = 0; i < runs->n; i++) {
		free(runs->items[i]->name);
		cJSON_Delete(runs->items[i]->expression);
		free(runs->items[i]);
	}
	free(runs->items);
}

/* Values in here may differ from layer to layer. */
static bool is_parameters(const cJSON *item)
{
	return item->string && strcmp(item->string, "parameters") == 0;
}

static bool same_name(const cJSON *a, const cJSON *b)
{
	return a->string && b->string ? strcmp(a->string, b->string) == 0
				      : a->string == b->string;
}

/* Are both made alike? a has lists where b has values. */
static bool is_alike(const cJSON *a, const cJSON *b)
{
	if (!same_name(a, b))
		return false;
	if (is_parameters(a))
		return true; /* the method's, of a or b alike */
	if (!cJSON_IsObject(a) && !cJSON_IsArray(a))
		return cJSON_Compare(a, b, true);
	if (a->type != b->type)
		return false;

	const cJSON *x = a->child, *y = b->child;
	for (; x && y; x = x->next, y = y->next)
		if (!is_alike(x, y))
			return false;
	return !x && !y;
}

/* Replaces every parameter by an empty list. */
static bool empty_lists(cJSON *item)
{
	cJSON *next;

	for (cJSON *child = item->child; child; child = next) {
		next = child->next;
		if (!is_parameters(item)) {
			if (!empty_lists(child))
				return false;
			continue;
		}
		cJSON *list = cJSON_CreateArray();
		if (!list || !cJSON_ReplaceItemInObjectCaseSensitive(
				     item, child->string, list)) {
			cJSON_Delete(list);
			return false;
		}
	}
	return true;
}

/* Appends the parameters of `more` to the lists. */
static bool append_values(cJSON *lists, const cJSON *more)
{
	const cJSON *value = more->child;

	for (cJSON *list = lists->child; list && value;
	     list = list->next, value = value->next) {
		if (!is_parameters(lists)) {
			if (!append_values(list, value))
				return false;
			continue;
		}
		cJSON *copy = cJSON_Duplicate(value, true);
		if (!cJSON_AddItemToArray(list, copy)) {
			cJSON_Delete(copy);
			return false;
		}
	}
	return true;
}

static bool all_equal(const cJSON *list)
{
	const cJSON *item = NULL;

	cJSON_ArrayForEach(item, list)
	{
		if (!cJSON_Compare(list->child, item, true))
			return false;
	}
	return list->child;
}

/* A list of equal values becomes the value. */
static bool close_lists(cJSON *item)
{
	cJSON *next;

	for (cJSON *child = item->child; child; child = next) {
		next = child->next;
		if (!is_parameters(item)) {
			if (!close_lists(child))
				return false;
			continue;
		}
		if (!all_equal(child))
			continue;
		cJSON *value = cJSON_DetachItemFromArray(child, 0);
		if (!cJSON_ReplaceItemInObjectCaseSensitive(item, child->string,
							    value)) {
			cJSON_Delete(value);
			return false;
		}
	}
	return true;
}

static int begin_run(struct runs *runs, const char *name, struct run **ret)
{
	if ((runs->n & (runs->n - 1)) == 0) {
		size_t room = runs->n ? 2 * runs->n : 64;
		struct run **items =
			reallocarray(runs->items, room, sizeof(*items));
		if (!items)
			return -ENOMEM;
		runs->items = items;
	}
	struct run *run = calloc(1, sizeof(*run));
	if (!run)
		return -ENOMEM;
	runs->items[runs->n++] = run;
	run->name = strdup(name);
	if (!run->name)
		return -ENOMEM;
	HASH_ADD_KEYPTR(hh, runs->open, run->name, strlen(run->name), run);
	*ret = run;
	return 0;
}

/* The run that a tensor goes on with, or a new one. */
static int find_run(struct runs *runs, const struct output_tensor *tensor,
		    const cJSON *expression, struct run **ret)
{
	AUTO_FREE char *name = arch_template(tensor->name);
	struct run *run = NULL;
	uint64_t layer = 0;
	const char *rest;
	size_t prefix;
	if (!name)
		return -ENOMEM;

	bool layered = arch_split(tensor->name, &prefix, &layer, &rest);
	HASH_FIND_STR(runs->open, name, run);
	if (run && run->dtype == tensor->dtype &&
	    run->carried == (tensor->how == tensor_carried) &&
	    is_alike(run->expression, expression)) {
		run->last = layer;
		*ret = run;
		return 0;
	}
	bool cut = run;
	if (run) {
		run->cut = true;
		HASH_DEL(runs->open, run);
	}
	int r = begin_run(runs, name, &run);
	if (r < 0)
		return r;
	run->cut = cut;
	run->layered = layered;
	run->first = run->last = layer;
	run->dtype = tensor->dtype;
	run->carried = tensor->how == tensor_carried;
	run->expression = cJSON_Duplicate(expression, true);
	if (!run->expression || !empty_lists(run->expression))
		return -ENOMEM;
	*ret = run;
	return 0;
}

static int add_tensor(struct runs *runs, const struct plan *plan,
		      const struct output_tensor *tensor)
{
	struct describing how = {
		.plan = plan,
		.tensor = tensor,
		.brief = true,
	};
	AUTO(cJSON) expression = describe_node(tensor->node, &how);
	struct run *run = NULL;
	if (!expression)
		return -ENOMEM;

	int r = find_run(runs, tensor, expression, &run);
	if (r < 0)
		return r;
	run->n_tensors++;
	run->n_copied += tensor->copy != NULL;
	run->size += tensor->size;
	return append_values(run->expression, expression) ? 0 : -ENOMEM;
}

/* Does a parameter differ between layers? */
static bool has_lists(const cJSON *item)
{
	for (const cJSON *child = item->child; child; child = child->next)
		if (is_parameters(item) ? cJSON_IsArray(child)
					: has_lists(child))
			return true;
	return false;
}

/* What runs of one group have in common, as text. */
static char *run_key(const struct run *run)
{
	AUTO_FREE char *text = cJSON_PrintUnformatted(run->expression);
	uint64_t first = run->layered ? run->first : 0;
	uint64_t last = run->layered ? run->last : 0;
	char *key = NULL;

	if (!text ||
	    asprintf(&key, "%d %" PRIu64 " %" PRIu64 " %s %d %s", run->layered,
		     first, last, run->dtype->name, run->carried, text) < 0)
		return NULL;
	return key;
}

/* Hands the expression of the first run over. */
static void begin_group(struct outline *outline, struct run *run)
{
	outline->groups[outline->n_groups++] = (struct outline_group){
		.layered = run->layered,
		.first = run->first,
		.last = run->last,
		.dtype = run->dtype,
		.carried = run->carried,
		.expression = TAKE(run->expression),
	};
}

struct known_key {
	UT_hash_handle hh;
	size_t group;
	char *key; /* owned */
};

static int find_group(struct outline *outline, struct known_key **known,
		      struct run *run)
{
	struct known_key *found = NULL;
	if (!close_lists(run->expression))
		return -ENOMEM;
	run->layered &= run->cut || has_lists(run->expression);
	AUTO_FREE char *key = run_key(run);
	if (!key)
		return -ENOMEM;

	HASH_FIND_STR(*known, key, found);
	if (!found) {
		found = calloc(1, sizeof(*found));
		if (!found)
			return -ENOMEM;
		found->group = outline->n_groups;
		found->key = TAKE(key);
		HASH_ADD_KEYPTR(hh, *known, found->key, strlen(found->key),
				found);
		begin_group(outline, run);
	}
	struct outline_group *group = &outline->groups[found->group];
	run->group = found->group;
	group->n_tensors += run->n_tensors;
	group->n_copied += run->n_copied;
	group->size += run->size;
	return 0;
}

static int group_runs(struct outline *outline, struct runs *runs)
{
	struct known_key *known = NULL, *one, *next;
	int r = 0;

	outline->groups = calloc(runs->n + 1, sizeof(*outline->groups));
	if (!outline->groups)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < runs->n; i++)
		r = find_group(outline, &known, runs->items[i]);
	HASH_ITER(hh, known, one, next)
	{
		HASH_DEL(known, one);
		free(one->key);
		free(one);
	}
	return r;
}

/* Names of a group, found along the sorted names of all runs: those that begin
 * alike follow each other. */
struct naming {
	struct run **runs; /* (n,) by name */
	size_t group;
	struct outline_group *ret;
};

static bool same_run_name(const struct naming *naming, size_t i, size_t j)
{
	return strcmp(naming->runs[i]->name, naming->runs[j]->name) == 0;
}

/* Runs [begin, end): does the group have all their names? */
static bool has_all(const struct naming *naming, size_t begin, size_t end)
{
	for (size_t i = begin; i < end;) {
		bool has = false;
		size_t j = i;

		for (; j < end && same_run_name(naming, i, j); j++)
			has |= naming->runs[j]->group == naming->group;
		if (!has)
			return false;
		i = j;
	}
	return true;
}

/* Length of the components, each with its '.', that both begin with. */
static size_t common_length(const char *a, const char *b)
{
	size_t length = 0;

	for (size_t i = 0; a[i] && a[i] == b[i]; i++)
		if (a[i] == '.')
			length = i + 1;
	return length;
}

static int add_name(struct outline_group *group, const char *name,
		    size_t length, const char *end)
{
	char **names =
		reallocarray(group->names, group->n_names + 1, sizeof(*names));
	if (!names)
		return -ENOMEM;
	group->names = names;
	if (asprintf(&names[group->n_names], "%.*s%s", (int)length, name, end) <
	    0)
		return -ENOMEM;
	group->n_names++;
	return 0;
}

/* Of runs [begin, end), whose names agree in `length` bytes. */
static int name_runs(const struct naming *naming, size_t begin, size_t end,
		     size_t length)
{
	const char *first = naming->runs[begin]->name;

	if (has_all(naming, begin, end)) {
		if (same_run_name(naming, begin, end - 1))
			return add_name(naming->ret, first, strlen(first), "");
		length = common_length(first, naming->runs[end - 1]->name);
		return add_name(naming->ret, first, length, "*");
	}
	if (same_run_name(naming, begin, end - 1))
		return 0;
	for (size_t i = begin; i < end;) {
		const char *name = naming->runs[i]->name;
		size_t more = length + strcspn(name + length, ".") + 1;
		size_t j = i + 1;

		while (j < end &&
		       (same_run_name(naming, i, j) ||
			common_length(name, naming->runs[j]->name) >= more))
			j++;
		int r = name_runs(naming, i, j, more);
		if (r < 0)
			return r;
		i = j;
	}
	return 0;
}

static int compare_runs(const void *a, const void *b)
{
	const struct run *x = *(struct run *const *)a;
	const struct run *y = *(struct run *const *)b;

	return strcmp(x->name, y->name);
}

static int name_groups(struct outline *outline, struct runs *runs)
{
	qsort(runs->items, runs->n, sizeof(struct run *), compare_runs);
	for (size_t i = 0; i < outline->n_groups; i++) {
		struct naming naming = {
			.runs = runs->items,
			.group = i,
			.ret = &outline->groups[i],
		};
		int r = name_runs(&naming, 0, runs->n, 0);
		if (r < 0)
			return r;
	}
	return 0;
}

int outline_new(const struct plan *plan, struct outline **ret)
{
	AUTO(outline) outline = calloc(1, sizeof(*outline));
	struct runs runs = {0};
	int r = outline ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < plan->n_tensors; i++)
		r = add_tensor(&runs, plan, &plan->tensors[i]);
	if (r == 0)
		r = group_runs(outline, &runs);
	if (r == 0)
		r = name_groups(outline, &runs);
	runs_done(&runs);
	if (r == 0)
		*ret = TAKE(outline);
	return r;
}

void outline_free(struct outline *outline)
{
	if (!outline)
		return;
	for (size_t i = 0; i < outline->n_groups; i++) {
		struct outline_group *group = &outline->groups[i];

		for (size_t j = 0; j < group->n_names; j++)
			free(group->names[j]);
		free(group->names);
		cJSON_Delete(group->expression);
	}
	free(outline->groups);
	free(outline);
}
