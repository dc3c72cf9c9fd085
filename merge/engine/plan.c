#include "merge/engine/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "merge/engine/adapted.h"
#include "merge/engine/node.h"
#include "merge/engine/plan_rows.h"
#include "merge/engine/planner.h"
#include "merge/engine/shelf.h"
#include "merge/engine/stages.h"
#include "merge/methods/method.h"
#include "merge/source/source.h"
#include "merge/tokenizer/vocabulary.h"
#include "util/text.h"

const char *const tensor_copied = "copied";
const char *const tensor_carried = "carried";

static int no_memory(struct planner *planner)
{
	return error_set(planner->err, -ENOMEM, "out of memory");
}

static void slice_plan_done(struct slice_plan *slice)
{
	free(slice->inputs);
	slice->inputs = NULL;
}

/* The inputs of a slice: its sources, and in models: form the base behind them
 * if it is not among them. */
static int find_inputs(struct planner *planner, struct slice_plan *slice)
{
	const struct recipe_slice *written = slice->slice;
	const struct model_ref *base =
		written->base.path ? &written->base : &planner->recipe->base;

	slice->inputs = calloc(written->n_sources + 1, sizeof(*slice->inputs));
	if (!slice->inputs)
		return no_memory(planner);
	slice->base = -1;
	for (size_t i = 0; i < written->n_sources; i++) {
		const struct recipe_source *source = &written->sources[i];
		slice->inputs[slice->n_inputs] = (struct slice_input){
			.model = models_find(&planner->models, &source->model),
			.source = (int)i,
			.first = source->ranged ? (uint64_t)source->first : 0,
		};
		if (slice->base < 0 && base->path &&
		    model_ref_equal(base, &source->model))
			slice->base = (int)slice->n_inputs;
		slice->n_inputs++;
	}
	if (slice->base < 0 && base->path && !slice->module->sliced) {
		slice->base = (int)slice->n_inputs;
		slice->inputs[slice->n_inputs++] = (struct slice_input){
			.model = models_find(&planner->models, base),
			.source = -1,
		};
	}
	return 0;
}

/* Layers of one input, as its layer_range or its model gives them. */
static int input_layers(struct planner *planner, const struct slice_plan *slice,
			unsigned i, uint64_t *ret)
{
	const struct slice_input *input = &slice->inputs[i];
	const struct model *model = &planner->models.items[input->model];
	const struct arch_module *module =
		&planner->models.arch->modules[slice->arch_module];
	uint64_t n_layers = arch_layers(module, model->source);

	*ret = n_layers;
	if (input->source < 0)
		return 0;
	const struct recipe_source *source =
		&slice->slice->sources[input->source];
	if (!source->ranged)
		return 0;
	if ((uint64_t)source->end > n_layers)
		return error_set(planner->err, -EINVAL,
				 "%s:%u: layer_range [%lld, %lld] is outside "
				 "model %s, which has %llu layers",
				 planner->recipe->path, source->line,
				 (long long)source->first,
				 (long long)source->end, model->ref->path,
				 (unsigned long long)n_layers);
	*ret = (uint64_t)(source->end - source->first);
	return 0;
}

static int find_length(struct planner *planner, struct slice_plan *slice)
{
	for (unsigned i = 0; i < slice->n_inputs; i++) {
		uint64_t n_layers;
		int r = input_layers(planner, slice, i, &n_layers);
		if (r < 0)
			return r;
		if (i == 0)
			slice->n_layers = n_layers;
		if (n_layers == slice->n_layers)
			continue;
		const struct model *items = planner->models.items;
		return error_set(planner->err, -EINVAL,
				 "%s:%u: all inputs must have the same number "
				 "of layers, but %s has %llu and %s has %llu; "
				 "choose layers with slices:",
				 planner->recipe->path, slice->slice->line,
				 items[slice->inputs[0].model].ref->path,
				 (unsigned long long)slice->n_layers,
				 items[slice->inputs[i].model].ref->path,
				 (unsigned long long)n_layers);
	}
	return 0;
}

/* What config.json must say of a module whose layers were chosen. */
static int note_depth(struct planner *planner, const struct slice_plan *slices,
		      size_t n_slices, uint64_t out_layers)
{
	struct plan *plan = planner->plan;
	const struct arch_module *module =
		&planner->models.arch->modules[slices[0].arch_module];
	struct layer_count *depths =
		reallocarray(plan->depths, plan->n_depths + 1, sizeof(*depths));
	if (!depths)
		return no_memory(planner);
	plan->depths = depths;

	struct layer_count *depth = &depths[plan->n_depths++];
	*depth = (struct layer_count){
		.n_layers = out_layers,
		.donor_layers = module->n_layers,
		.layers = calloc(out_layers + 1, sizeof(*depth->layers)),
	};
	if (module->count_key)
		depth->key = strdup(module->count_key);
	if (!depth->layers || (module->count_key && !depth->key))
		return no_memory(planner);
	for (size_t i = 0; i < n_slices; i++) {
		const struct slice_input *input = &slices[i].inputs[0];
		for (uint64_t j = 0; j < slices[i].n_layers; j++)
			depth->layers[slices[i].out_first + j] =
				(struct layer_origin){
					.source = planner->models
							  .items[input->model]
							  .source,
					.layer = input->first + j,
				};
	}
	return 0;
}

static int plan_slices(struct planner *planner,
		       const struct recipe_module *module, size_t arch_module,
		       struct slice_plan *slices)
{
	size_t n = module->n_slices;
	uint64_t out_layers = 0;

	for (size_t i = 0; i < n; i++) {
		slices[i] = (struct slice_plan){
			.module = module,
			.slice = &module->slices[i],
			.arch_module = arch_module,
			.out_first = out_layers,
			.is_first = i == 0,
			.is_last = i == n - 1,
		};
		int r = find_inputs(planner, &slices[i]);
		if (r == 0)
			r = find_length(planner, &slices[i]);
		if (r < 0)
			return r;
		out_layers += slices[i].n_layers;
		if (out_layers > ARCH_MAX_LAYERS)
			return error_set(planner->err, -EINVAL,
					 "%s:%u: more than %d layers",
					 planner->recipe->path,
					 slices[i].slice->line,
					 ARCH_MAX_LAYERS);
	}
	for (size_t i = 0; i < n; i++) {
		slices[i].out_layers = out_layers;
		int r = plan_slice(planner, &slices[i]);
		if (r < 0)
			return r;
	}
	return module->sliced ? note_depth(planner, slices, n, out_layers) : 0;
}

static int plan_module(struct planner *planner,
		       const struct recipe_module *module, size_t arch_module)
{
	struct slice_plan *slices = calloc(module->n_slices, sizeof(*slices));
	if (!slices)
		return no_memory(planner);

	int r = plan_slices(planner, module, arch_module, slices);
	for (size_t i = 0; i < module->n_slices; i++)
		slice_plan_done(&slices[i]);
	free(slices);
	return r;
}

/* "encoder, decoder": for sentences. */
static char *module_names(const struct arch *arch)
{
	struct text text = {0};

	for (size_t i = 0; i < arch->n_modules; i++)
		text_printf(&text, "%s%s", i ? ", " : "",
			    arch->modules[i].name);
	return text_take(&text);
}

/* models: or slices: without modules:. */
static int plan_plain(struct planner *planner,
		      const struct recipe_module *module)
{
	const struct arch *arch = planner->models.arch;

	if (module->sliced && arch->n_modules > 1) {
		AUTO_FREE char *names = module_names(arch);
		return error_set(planner->err, -EINVAL,
				 "%s:%u: the model has several modules (%s), "
				 "so slices: must be given under modules:",
				 planner->recipe->path, module->line,
				 names ? names : "");
	}
	for (size_t i = 0; i < arch->n_modules; i++) {
		int r = plan_module(planner, module, i);
		if (r < 0)
			return r;
	}
	return 0;
}

static int plan_named(struct planner *planner)
{
	const struct recipe *recipe = planner->recipe;
	const struct arch *arch = planner->models.arch;
	AUTO_FREE bool *planned = calloc(arch->n_modules, sizeof(*planned));
	if (!planned)
		return no_memory(planner);

	for (size_t i = 0; i < recipe->n_modules; i++) {
		const struct recipe_module *module = &recipe->modules[i];
		int found = arch_module_find(arch, module->name);
		if (found < 0 || planned[found]) {
			AUTO_FREE char *names = module_names(arch);
			return error_set(
				planner->err, -EINVAL,
				"%s:%u: %s module '%s'; the model has: %s",
				recipe->path, module->line,
				found < 0 ? "no" : "twice the same",
				module->name, names ? names : "");
		}
		planned[found] = true;
		int r = plan_module(planner, module, (size_t)found);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < arch->n_modules; i++) {
		int r = planned[i] ? 0 : plan_carried_module(planner, i);
		if (r < 0)
			return r;
	}
	return 0;
}

static int compare_outputs(const void *a, const void *b)
{
	const struct output_tensor *x = a, *y = b;
	int order = text_compare_natural(x->name, y->name);

	return order ? order : strcmp(x->name, y->name);
}

/* A head that is written beside a donor that ties would not be read. */
static void judge_ties(struct planner *planner)
{
	struct plan *plan = planner->plan;
	const struct model *donor =
		&planner->models.items[planner->models.donor];

	plan->tied = -1;
	if (model_ties(donor) == 0)
		return;
	for (size_t i = 0; i < plan->n_tensors; i++) {
		const char *name = plan->tensors[i].name;
		if (arch_is_head(name) && !model_node(donor, name))
			plan->tied = 0;
	}
}

static int add_source(struct plan *plan, const struct source *source)
{
	for (size_t i = 0; i < plan->n_sources; i++) {
		if (plan->sources[i] == source)
			return 0;
	}

	const struct source **sources = reallocarray(
		plan->sources, plan->n_sources + 1, sizeof(*sources));
	if (!sources)
		return -ENOMEM;
	plan->sources = sources;
	sources[plan->n_sources++] = source;
	return 0;
}

/* The model's directory, or all that its stage stands on; its adapter's. */
static int add_sources(struct plan *plan, const struct model *model)
{
	const struct adapted_terms *terms =
		model->adapted ? adapted_terms(model->adapted) : NULL;
	int r = 0;

	if (model->stage) {
		const struct plan *below = stage_plan(model->stage);
		for (size_t i = 0; r == 0 && i < below->n_sources; i++)
			r = add_source(plan, below->sources[i]);
	} else {
		r = add_source(plan, terms ? terms->base : model->source);
	}
	if (r == 0 && terms)
		r = add_source(plan, terms->adapter);
	return r;
}

static int hand_over(struct planner *planner)
{
	struct plan *plan = planner->plan;
	const struct models *models = &planner->models;

	plan->donor = models->items[models->donor].source;
	plan->architecture = models->items[models->donor].ref->architecture;
	for (size_t i = 0; i < models->n; i++) {
		if (add_sources(plan, &models->items[i]) < 0)
			return no_memory(planner);
	}
	return 0;
}

static int plan_all(struct planner *planner)
{
	const struct recipe *recipe = planner->recipe;
	int r = models_open(recipe, planner->stages, planner->options,
			    planner->plan->shelf, &planner->plan->notes,
			    &planner->models, planner->err);
	if (r == 0)
		r = plan_vocabulary(planner);
	if (r == 0)
		r = plan_chat(planner);
	if (r < 0)
		return r;

	const char *wanted =
		recipe->out_dtype ? recipe->out_dtype : recipe->dtype;
	if (wanted)
		planner->out_dtype = dtype_find_torch(wanted);
	planner->plan->dtype = planner->out_dtype;

	r = recipe->modules[0].name ? plan_named(planner)
				    : plan_plain(planner, &recipe->modules[0]);
	if (r < 0)
		return r;
	qsort(planner->plan->tensors, planner->plan->n_tensors,
	      sizeof(*planner->plan->tensors), compare_outputs);
	judge_ties(planner);
	return hand_over(planner);
}

int plan_document(const struct recipe_file *recipe_file,
		  const struct recipe *recipe, const struct stages *stages,
		  struct shelf *shelf, const struct plan_options *options,
		  struct plan **ret, struct error *err)
{
	AUTO(plan) plan = calloc(1, sizeof(*plan));
	if (!plan)
		return error_set(err, -ENOMEM, "out of memory");
	plan->recipe_file = recipe_file;
	plan->recipe = recipe;
	plan->shelf = shelf;

	struct planner planner = {
		.plan = plan,
		.recipe = recipe,
		.stages = stages,
		.options = options,
		.err = err,
	};
	int r = plan_all(&planner);
	planner_done(&planner);
	if (r < 0)
		return r;
	*ret = TAKE(plan);
	return 0;
}

int plan_new(const struct recipe_file *recipe_file, struct shelf *shelf,
	     const struct plan_options *options, struct plan **ret,
	     struct error *err)
{
	struct stages *stages = NULL;
	struct plan *plan = NULL;

	int r = stages_new(recipe_file, shelf, options, &stages, &plan, err);
	if (r < 0)
		return r;
	plan->stages = stages;
	for (size_t i = 0; i < plan->n_tensors; i++)
		plan->tensors[i].place = shelf->n_outputs++;
	*ret = plan;
	return 0;
}

void plan_free(struct plan *plan)
{
	if (!plan)
		return;
	for (size_t i = 0; i < plan->n_tensors; i++)
		free(plan->tensors[i].name);
	free(plan->tensors);
	for (size_t i = 0; i < plan->n_depths; i++) {
		free(plan->depths[i].key);
		free(plan->depths[i].layers);
	}
	free(plan->depths);
	vocabulary_free(plan->vocabulary);
	free(plan->chat_template);
	free(plan->chat_origin);
	free(plan->sources);
	stages_free(plan->stages);
	notes_done(&plan->notes);
	free(plan);
}
