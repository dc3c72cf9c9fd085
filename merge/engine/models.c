#include "merge/engine/models.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "merge/engine/node_set.h"
#include "merge/engine/shelf.h"
#include "merge/engine/stages.h"
#include "merge/recipe/recipe.h"
#include "merge/source/locate.h"
#include "merge/source/source.h"
#include "merge/source/tensor.h"
#include "util/json.h"

/* Document order, the base first. */
static int add_ref(void *arg, const struct model_ref *ref)
{
	struct models *models = arg;

	for (size_t i = 0; i < models->n; i++) {
		if (model_ref_equal(models->items[i].ref, ref))
			return 0;
	}

	struct model *items =
		reallocarray(models->items, models->n + 1, sizeof(*items));
	if (!items)
		return -ENOMEM;
	models->items = items;
	items[models->n++] = (struct model){.ref = ref};
	return 0;
}

static int open_model(const struct recipe *recipe, const struct stages *stages,
		      struct shelf *shelf, struct model *model,
		      struct error *err)
{
	const struct model_ref *ref = model->ref;
	model->stage = stages_find(stages, ref);
	if (ref->lora)
		return error_set(err, -EINVAL,
				 "%s:%u: LoRA adapters as inputs ('%s+%s') are "
				 "not built yet",
				 recipe->path, ref->line, ref->path, ref->lora);

	if (model->stage) {
		model->source = stage_source(model->stage);
		return 0;
	}

	AUTO_FREE char *folder = recipe_folder(recipe);
	AUTO_FREE char *directory = NULL;
	struct source *source = NULL;
	int r = locate_model(ref->path, ref->revision, folder, &directory, err);
	if (r == -ENOENT)
		stages_suggest(stages, ref, err);
	if (r == 0)
		r = shelf_open(shelf, directory, ref->path, &source, err);
	if (r < 0)
		return error_prefix(err, r, "%s:%u", recipe->path, ref->line);

	model->source = source;
	const char *sign = source_quantised(model->source);
	if (sign)
		return error_set(
			err, -EINVAL,
			"%s:%u: model %s is quantised (%s), which is not "
			"supported yet; use its unquantised weights",
			recipe->path, ref->line, ref->path, sign);
	return 0;
}

/* The architecture that a model claims, or NULL. */
static const char *architecture(const struct model *model)
{
	if (model->ref->architecture)
		return model->ref->architecture;

	const cJSON *list = cJSON_GetObjectItemCaseSensitive(
		model->source->config, "architectures");
	const cJSON *first = cJSON_GetArrayItem(list, 0);
	return cJSON_IsString(first) ? first->valuestring : NULL;
}

static int check_architectures(const struct recipe *recipe,
			       const struct models *models, struct error *err)
{
	const char *ours = architecture(&models->items[models->donor]);

	for (size_t i = 0; i < models->n; i++) {
		const char *theirs = architecture(&models->items[i]);
		if (!ours || !theirs || strcasecmp(ours, theirs) == 0)
			continue;
		return error_set(
			err, -EINVAL,
			"%s:%u: architectures differ: %s is a %s, %s a %s; "
			"--allow-crimes merges them all the same",
			recipe->path, models->items[i].ref->line,
			models->items[models->donor].ref->path, ours,
			models->items[i].ref->path, theirs);
	}
	return 0;
}

struct spelling {
	char *canonical;  /* owned */
	const char *name; /* the donor's */
};

/* The donor's names by canonical spelling; those that clash are left out. */
struct spellings {
	struct spelling *items;
	size_t n;
};

static int compare_spellings(const void *a, const void *b)
{
	const struct spelling *x = a, *y = b;

	return strcmp(x->canonical, y->canonical);
}

static int spellings_init(struct spellings *spellings,
			  const struct source *donor)
{
	spellings->items =
		calloc(donor->n_tensors + 1, sizeof(*spellings->items));
	if (!spellings->items)
		return -ENOMEM;
	for (size_t i = 0; i < donor->n_tensors; i++) {
		struct spelling *spelling = &spellings->items[i];
		spelling->name = donor->tensors[i].name;
		spelling->canonical = arch_canonical(spelling->name);
		if (!spelling->canonical)
			return -ENOMEM;
		spellings->n++;
	}
	qsort(spellings->items, spellings->n, sizeof(*spellings->items),
	      compare_spellings);
	return 0;
}

static void spellings_done(struct spellings *spellings)
{
	for (size_t i = 0; i < spellings->n; i++)
		free(spellings->items[i].canonical);
	free(spellings->items);
}

/* The one donor's name of this canonical spelling, or NULL. */
static const char *spelled(const struct spellings *spellings, char *canonical)
{
	struct spelling key = {.canonical = canonical};
	const struct spelling *found =
		bsearch(&key, spellings->items, spellings->n, sizeof(key),
			compare_spellings);
	if (!found)
		return NULL;

	const struct spelling *end = spellings->items + spellings->n;
	if ((found > spellings->items &&
	     compare_spellings(found - 1, &key) == 0) ||
	    (found + 1 < end && compare_spellings(found + 1, &key) == 0))
		return NULL;
	return found->name;
}

/*
 * A name as the donor spells it: as it is if the donor has it; else the donor's
 * tensor of the same canonical spelling, be it in another layer (the donor may
 * have fewer layers); else as it is.
 */
static char *donor_name(const struct spellings *spellings,
			const struct source *donor, const char *name)
{
	if (source_find(donor, name))
		return strdup(name);

	AUTO_FREE char *canonical = arch_canonical(name);
	if (!canonical)
		return NULL;
	const char *found = spelled(spellings, canonical);
	if (found)
		return strdup(found);

	size_t prefix;
	uint64_t layer;
	const char *rest;
	if (!arch_split(name, &prefix, &layer, &rest))
		return strdup(name);
	AUTO_FREE char *first = arch_renumber(name, 0);
	AUTO_FREE char *first_canonical = first ? arch_canonical(first) : NULL;
	if (!first_canonical)
		return NULL;
	found = spelled(spellings, first_canonical);
	return found ? arch_renumber(found, layer) : strdup(name);
}

static int compare_names(const void *a, const void *b)
{
	const struct named_tensor *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static int tensor_node(const struct model *model, size_t i,
		       struct node_set *nodes, struct node **ret)
{
	if (!model->stage)
		return node_set_stored(nodes, &model->source->tensors[i], ret);

	*ret = stage_node(model->stage, i);
	return 0;
}

static int name_tensors(const struct spellings *spellings,
			const struct source *donor, const struct arch *arch,
			struct node_set *nodes, struct model *model,
			struct error *err)
{
	const struct source *source = model->source;

	model->names = calloc(source->n_tensors + 1, sizeof(*model->names));
	if (!model->names)
		return error_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < source->n_tensors; i++) {
		const struct tensor *tensor = &source->tensors[i];
		struct named_tensor *named = &model->names[i];
		named->name = donor_name(spellings, donor, tensor->name);
		if (!named->name)
			return error_set(err, -ENOMEM, "out of memory");
		model->n_names++;
		named->stored = tensor->name;
		if (tensor_node(model, i, nodes, &named->node) < 0)
			return error_set(err, -ENOMEM, "out of memory");
		arch_locate(arch, named->name, &named->place);
	}
	qsort(model->names, model->n_names, sizeof(*model->names),
	      compare_names);
	for (size_t i = 1; i < model->n_names; i++) {
		if (strcmp(model->names[i - 1].name, model->names[i].name) == 0)
			return error_set(err, -EINVAL,
					 "%s: tensors %s and %s are two "
					 "spellings of one name",
					 source->label,
					 model->names[i - 1].stored,
					 model->names[i].stored);
	}
	return 0;
}

static int name_all(struct models *models, struct node_set *nodes,
		    struct error *err)
{
	const struct source *donor = models->items[models->donor].source;
	int r = arch_infer(donor, &models->arch, err);
	if (r < 0)
		return r;

	struct spellings spellings = {0};
	r = spellings_init(&spellings, donor);
	if (r < 0)
		error_set(err, r, "out of memory");
	for (size_t i = 0; r == 0 && i < models->n; i++)
		r = name_tensors(&spellings, donor, models->arch, nodes,
				 &models->items[i], err);
	spellings_done(&spellings);
	return r;
}

int models_open(const struct recipe *recipe, const struct stages *stages,
		bool allow_crimes, struct shelf *shelf, struct models *ret,
		struct error *err)
{
	struct models models = {0};
	int r = recipe_each_model(recipe, add_ref, &models);
	if (r < 0)
		error_set(err, r, "out of memory");
	for (size_t i = 0; r == 0 && i < models.n; i++)
		r = open_model(recipe, stages, shelf, &models.items[i], err);
	if (r == 0 && !allow_crimes)
		r = check_architectures(recipe, &models, err);
	if (r == 0)
		r = name_all(&models, &shelf->nodes, err);
	if (r < 0) {
		models_done(&models);
		return r;
	}
	*ret = models;
	return 0;
}

void models_done(struct models *models)
{
	for (size_t i = 0; i < models->n; i++) {
		struct model *model = &models->items[i];
		for (size_t j = 0; j < model->n_names; j++)
			free(model->names[j].name);
		free(model->names);
	}
	free(models->items);
	arch_free(models->arch);
	*models = (struct models){0};
}

size_t models_find(const struct models *models, const struct model_ref *ref)
{
	size_t i = 0;

	while (!model_ref_equal(models->items[i].ref, ref))
		i++;
	return i;
}

struct node *model_node(const struct model *model, const char *name)
{
	struct named_tensor key = {.name = (char *)name};
	const struct named_tensor *found = bsearch(
		&key, model->names, model->n_names, sizeof(key), compare_names);

	return found ? found->node : NULL;
}

int model_ties(const struct model *model)
{
	const cJSON *config = model->source->config;
	const cJSON *item = json_at(config, "tie_word_embeddings");
	if (!item)
		item = json_at(config, "text_config.tie_word_embeddings");
	return cJSON_IsBool(item) ? cJSON_IsTrue(item) : -1;
}

struct node *model_tied(const struct model *model, const char *name)
{
	if (!arch_is_head(name) && !arch_is_embedding(name))
		return NULL;
	if (model_ties(model) == 0)
		return NULL;

	struct node *head = NULL;
	for (size_t i = 0; i < model->n_names; i++) {
		const struct named_tensor *named = &model->names[i];
		if (arch_is_embedding(named->name))
			return named->node;
		if (arch_is_head(named->name))
			head = named->node;
	}
	return head;
}
