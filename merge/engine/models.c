#include "merge/engine/models.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "merge/engine/adapted.h"
#include "merge/engine/node_set.h"
#include "merge/engine/plan.h"
#include "merge/engine/shelf.h"
#include "merge/engine/spelling.h"
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

/* What models are opened with. */
struct opening {
	const struct recipe *recipe;
	const struct stages *stages;
	const struct plan_options *options;
	struct shelf *shelf;
	struct notes *notes;
	const char *folder; /* of the recipe */
	struct error *err;
};

static int no_memory(const struct opening *opening)
{
	return error_set(opening->err, -ENOMEM, "out of memory");
}

/* An adapter that stands alone: what it was trained on, if that is here. */
static int find_base(const struct opening *opening, const char *adapter,
		     const char *wanted, char **ret)
{
	if (*wanted &&
	    locate_model(wanted, NULL, opening->folder, ret, NULL) == 0)
		return 0;
	return error_set(opening->err, -EINVAL,
			 "%s is a LoRA adapter%s%s, not a model; write "
			 "model: %s+%s",
			 adapter, *wanted ? " of " : "", wanted,
			 *wanted ? wanted : "BASE", adapter);
}

/* The directory of a model; *ret_adapter is that of an adapter which the recipe
 * names in place of its base, or NULL. */
static int find_model(const struct opening *opening,
		      const struct model_ref *ref, char **ret,
		      char **ret_adapter)
{
	AUTO_FREE char *directory = NULL;
	AUTO_FREE char *wanted = NULL;
	int r = locate_model(ref->path, ref->revision, opening->folder,
			     &directory, opening->err);
	if (r == -ENOENT)
		stages_suggest(opening->stages, ref, opening->err);
	if (r == 0)
		r = source_adapter_base(directory, &wanted, opening->err);
	if (r < 0)
		return r;
	if (wanted && ref->lora)
		return error_set(opening->err, -EINVAL,
				 "%s is a LoRA adapter, not a model, so no "
				 "other can be added to it",
				 ref->path);
	if (wanted) {
		r = find_base(opening, ref->path, wanted, ret);
		if (r < 0)
			return r;
		*ret_adapter = TAKE(directory);
		return notes_add(opening->notes,
				 "%s is a LoRA adapter: taken as %s+%s",
				 ref->path, wanted, ref->path);
	}
	*ret = TAKE(directory);
	return 0;
}

static int check_quantised(const struct source *source, struct error *err)
{
	const char *sign = source_quantised(source);
	if (!sign)
		return 0;
	return error_set(err, -EINVAL,
			 "model %s is quantised (%s), which is not supported "
			 "yet; use its unquantised weights",
			 source->label, sign);
}

static int base_node(const struct model *model, size_t i,
		     struct node_set *nodes, struct node **ret)
{
	if (!model->stage)
		return node_set_stored(nodes, &model->source->tensors[i], ret);

	*ret = stage_node(model->stage, i);
	return 0;
}

/* Puts an adapter on the model that is open. */
static int adapt_model(const struct opening *opening, struct model *model,
		       const char *directory, const char *label)
{
	const struct source *base = model->source;
	struct source *adapter = NULL;
	AUTO_FREE struct node **nodes =
		calloc(base->n_tensors + 1, sizeof(*nodes));
	if (!nodes)
		return no_memory(opening);
	for (size_t i = 0; i < base->n_tensors; i++) {
		if (base_node(model, i, &opening->shelf->nodes, &nodes[i]) < 0)
			return no_memory(opening);
	}

	int r = shelf_open_adapter(opening->shelf, directory, label, &adapter,
				   opening->err);
	if (r < 0)
		return r;
	struct adapted_terms terms = {
		.base = base,
		.nodes = nodes,
		.adapter = adapter,
		.dtype = opening->options->lora_dtype,
	};
	r = shelf_adapt(opening->shelf, &terms, &model->adapted, opening->err);
	if (r < 0)
		return r;
	model->source = adapted_source(model->adapted);
	const struct notes *notes = adapted_notes(model->adapted);
	for (size_t i = 0; r == 0 && i < notes->n_lines; i++)
		r = notes_add(opening->notes, "%s: %s", model->source->label,
			      notes->lines[i]);
	return r < 0 ? no_memory(opening) : 0;
}

static int open_base(const struct opening *opening, struct model *model,
		     char **ret_adapter)
{
	const struct model_ref *ref = model->ref;
	AUTO_FREE char *directory = NULL;
	struct source *source = NULL;
	model->stage = stages_find(opening->stages, ref);
	if (model->stage) {
		model->source = stage_source(model->stage);
		return 0;
	}

	int r = find_model(opening, ref, &directory, ret_adapter);
	/* A base that only its adapter names. */
	const char *label = *ret_adapter ? directory : ref->path;
	if (r == 0)
		r = shelf_open(opening->shelf, directory, label, &source,
			       opening->err);
	model->source = source;
	return r < 0 ? r : check_quantised(source, opening->err);
}

static int open_parts(const struct opening *opening, struct model *model)
{
	const struct model_ref *ref = model->ref;
	AUTO_FREE char *adapter = NULL;
	int r = open_base(opening, model, &adapter);
	if (r == 0 && ref->lora)
		r = locate_model(ref->lora, ref->lora_revision, opening->folder,
				 &adapter, opening->err);
	if (r < 0 || !adapter)
		return r;
	return adapt_model(opening, model, adapter,
			   ref->lora ? ref->lora : ref->path);
}

static int open_model(const struct opening *opening, struct model *model)
{
	int r = open_parts(opening, model);

	return r < 0 ? error_prefix(opening->err, r, "%s:%u",
				    opening->recipe->path, model->ref->line)
		     : 0;
}

static int open_all(struct opening *opening, struct models *models)
{
	AUTO_FREE char *folder = recipe_folder(opening->recipe);
	int r = 0;

	opening->folder = folder;
	for (size_t i = 0; r == 0 && i < models->n; i++)
		r = open_model(opening, &models->items[i]);
	return r;
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
	const char *found = spellings_find(spellings, canonical);
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
	found = spellings_find(spellings, first_canonical);
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
	if (!model->adapted)
		return base_node(model, i, nodes, ret);

	*ret = adapted_node(model->adapted, i);
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
		const struct plan_options *options, struct shelf *shelf,
		struct notes *notes, struct models *ret, struct error *err)
{
	struct models models = {0};
	struct opening opening = {
		.recipe = recipe,
		.stages = stages,
		.options = options,
		.shelf = shelf,
		.notes = notes,
		.err = err,
	};
	int r = recipe_each_model(recipe, add_ref, &models);
	if (r < 0)
		error_set(err, r, "out of memory");
	if (r == 0)
		r = open_all(&opening, &models);
	if (r == 0 && !options->allow_crimes)
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
