#include "merge/engine/job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "merge/engine/node.h"
#include "merge/engine/plan_rows.h"
#include "merge/engine/shelf.h"
#include "merge/methods/method.h"
#include "merge/recipe/resolve.h"
#include "merge/source/source.h"
#include "merge/source/tensor.h"

static int no_memory(struct planner *planner)
{
	return error_set(planner->err, -ENOMEM, "out of memory");
}

static const char *label_of(const struct planner *planner,
			    const struct slice_plan *slice, unsigned i)
{
	return model_of(planner, slice, i)->ref->path;
}

int job_note(struct planner *planner, const struct job *job, const char *what,
	     const char *who)
{
	AUTO_FREE char *template = arch_template(job->name);
	if (!template)
		return no_memory(planner);

	int r = notes_add(&planner->plan->notes, "%s: %s %s", template, what,
			  who);
	return r < 0 ? no_memory(planner) : 0;
}

int job_emit(struct planner *planner, const struct job *job, struct node *node,
	     const char *how)
{
	struct plan *plan = planner->plan;
	if ((plan->n_tensors & (plan->n_tensors - 1)) == 0) {
		size_t room = plan->n_tensors ? 2 * plan->n_tensors : 64;
		struct output_tensor *tensors =
			reallocarray(plan->tensors, room, sizeof(*tensors));
		if (!tensors)
			return no_memory(planner);
		plan->tensors = tensors;
	}

	const struct dtype *dtype = node->dtype;
	if (dtype->mergeable && planner->out_dtype)
		dtype = planner->out_dtype;
	node = node_origin(node, dtype);
	struct output_tensor *tensor = &plan->tensors[plan->n_tensors];
	*tensor = (struct output_tensor){
		.name = strdup(job->name),
		.dtype = dtype,
		.shape = node->shape,
		.node = node,
		.copy = node_copies(node, dtype),
		.digest = digest_of(&node->digest, sizeof(node->digest),
				    dtype->code),
		.how = how,
	};
	if (!tensor->name)
		return no_memory(planner);
	plan->n_tensors++;
	tensor->size = tensor->copy ? tensor->copy->size
				    : node->count * (dtype->bits / 8);
	if (tensor->copy && how != tensor_carried)
		tensor->how = tensor_copied;
	shelf_make_room(plan->shelf, node);
	return 0;
}

/* The tensor that takes no part in arithmetic: from the base, else the first
 * input that has it. */
static int carry(struct planner *planner, const struct job *job,
		 const char *why)
{
	const struct slice_plan *slice = job->slice;
	unsigned from = 0;
	if (slice->base >= 0 && job->inputs[slice->base].node)
		from = (unsigned)slice->base;
	while (!job->inputs[from].node)
		from++;

	if (why) {
		int r = job_note(planner, job, why,
				 label_of(planner, slice, from));
		if (r < 0)
			return r;
	}
	return job_emit(planner, job, job->inputs[from].node, tensor_carried);
}

static int check_shapes(struct planner *planner, const struct job *job)
{
	const struct node *first = NULL;
	unsigned first_input = 0;

	for (unsigned i = 0; i < job->slice->n_inputs; i++) {
		const struct node *node = job->inputs[i].node;
		if (!node)
			continue;
		if (!first) {
			first = node;
			first_input = i;
			continue;
		}
		/* A merged vocabulary has made them of one size by now. */
		bool rows = arch_has_tokens(job->name) &&
			    !planner->plan->vocabulary;
		if (rows ? shape_equal_rows(&first->shape, &node->shape)
			 : shape_equal(&first->shape, &node->shape))
			continue;
		char a[192], b[192];
		return error_set(
			planner->err, -EINVAL,
			"%s:%u: tensor %s is %s in %s, but %s in %s; all "
			"inputs must have the same %s",
			planner->recipe->path, job->slice->slice->line,
			job->name, shape_format(&first->shape, a),
			label_of(planner, job->slice, first_input),
			shape_format(&node->shape, b),
			label_of(planner, job->slice, i),
			rows ? "width" : "shape");
	}
	return 0;
}

/* Do all layers of a model have the tensor that `name` is one of? Those that
 * only some have (experts, relative biases) may be missing elsewhere. */
static bool in_every_layer(const struct model *model,
			   const struct arch_module *module, const char *name)
{
	uint64_t n_layers = arch_layers(module, model->source);

	for (uint64_t i = 0; i < n_layers; i++) {
		AUTO_FREE char *other = arch_renumber(name, i);
		if (!other || !model_node(model, other))
			return false;
	}
	return true;
}

/* Is the model incomplete without this tensor, which `have` has? */
static bool is_needed(const struct planner *planner, const struct job *job,
		      unsigned have)
{
	const struct slice_plan *slice = job->slice;
	const struct job_input *input = &job->inputs[have];

	if (input->node->shape.rank < 2)
		return false;
	if (job->place.position != ARCH_LAYER)
		return arch_is_embedding(job->name) || arch_is_head(job->name);
	return in_every_layer(
		model_of(planner, slice, have),
		&planner->models.arch->modules[slice->arch_module],
		input->name);
}

/* May an input lack this tensor, so that the others are merged without it? */
static int check_missing(struct planner *planner, const struct job *job)
{
	const struct slice_plan *slice = job->slice;
	unsigned have = 0;
	while (!job->inputs[have].node)
		have++;

	for (unsigned i = 0; i < slice->n_inputs; i++) {
		if (job->inputs[i].node)
			continue;
		if (is_needed(planner, job, have))
			return error_set(planner->err, -EINVAL,
					 "%s:%u: model %s has no tensor %s, "
					 "which %s has",
					 planner->recipe->path,
					 slice->slice->line,
					 label_of(planner, slice, i),
					 job->inputs[i].name,
					 label_of(planner, slice, have));
		int r = job_note(planner, job, "not in model",
				 label_of(planner, slice, i));
		if (r < 0)
			return r;
	}
	return 0;
}

/* The value of one parameter for one input that is there. */
static int param_value(struct planner *planner, const struct job *job,
		       const struct method_param *param, unsigned i,
		       double *ret)
{
	const struct slice_plan *slice = job->slice;
	const struct recipe *recipe = planner->recipe;
	struct resolve_scope scope = {
		.recipe = recipe,
		.module = slice->module,
		.slice = slice->slice,
	};
	bool is_base =
		(int)i == slice->base && recipe->method->base != BASE_ORDINARY;

	*ret = param->value;
	if (param->per_model && is_base)
		return 0;
	int source = param->per_model ? slice->inputs[i].source : -1;
	const char *name = param->per_model ? job->inputs[i].name : job->name;
	int r = resolve(&scope, param, source, name, job->t, ret, planner->err);
	if (r != -ENODATA)
		return r;
	if (!param->required)
		return 0;
	if (!param->per_model)
		return error_set(planner->err, -EINVAL,
				 "%s:%u: method %s needs parameter '%s', which "
				 "nothing gives for tensor %s",
				 recipe->path, recipe->method_line,
				 recipe->method->name, param->name, job->name);
	return error_set(planner->err, -EINVAL,
			 "%s:%u: method %s needs parameter '%s' of model %s, "
			 "which nothing gives for tensor %s",
			 recipe->path, model_of(planner, slice, i)->ref->line,
			 recipe->method->name, param->name,
			 label_of(planner, slice, i), name);
}

/* values: (n_params, n_present). */
static int param_values(struct planner *planner, const struct job *job,
			double *values)
{
	const struct method_param *params = planner->recipe->method->params;

	for (size_t p = 0; params[p].name; p++) {
		for (unsigned i = 0; i < job->slice->n_inputs; i++) {
			if (!job->inputs[i].node)
				continue;
			int r = param_value(planner, job, &params[p], i,
					    values++);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* A stream of numbers for each input that is there: another for every tensor of
 * the output and every place in the slice. */
static int find_streams(struct planner *planner, const struct job *job,
			struct method_stream *streams)
{
	struct hasher *hasher = hasher_new("mkfs-mount stream 1");
	if (!hasher)
		return no_memory(planner);
	hasher_u64(hasher, planner->options->seed);
	hasher_string(hasher, job->name);
	/* Stages draw numbers of their own. */
	if (planner->recipe->name)
		hasher_string(hasher, planner->recipe->name);
	struct digest tensor = hasher_finish(hasher);
	hasher_free(hasher);

	unsigned n = 0;
	for (unsigned i = 0; i < job->slice->n_inputs; i++) {
		struct digest own = digest_of(&tensor, sizeof(tensor), i);
		if (job->inputs[i].node)
			streams[n++] = (struct method_stream){
				.key = own.high,
				.nonce = own.low,
			};
	}
	return 0;
}

/* Of the inputs that are there: their nodes, and which is the base. */
static void find_nodes(const struct job *job, struct node **inputs,
		       int *ret_base)
{
	unsigned n = 0;

	*ret_base = -1;
	for (unsigned i = 0; i < job->slice->n_inputs; i++) {
		if (!job->inputs[i].node)
			continue;
		if ((int)i == job->slice->base)
			*ret_base = (int)n;
		inputs[n++] = job->inputs[i].node;
	}
}

/* tail: see plan_common_rows(). */
static int merge_terms(struct planner *planner, const struct job *job,
		       const struct merge_terms *terms, struct node *tail)
{
	struct node *node = NULL;
	if (node_merge(terms, &node) < 0)
		return no_memory(planner);

	int r = node_check_terms(node, planner->err);
	if (r < 0) {
		node_free(node);
		return error_prefix(planner->err, r, "%s:%u: tensor %s",
				    planner->recipe->path,
				    job->slice->slice->line, job->name);
	}
	if (node_set_add(&planner->plan->shelf->nodes, node, &node) < 0)
		return no_memory(planner);
	r = plan_append_rows(planner, &node, tail);
	return r < 0 ? r : job_emit(planner, job, node, terms->method->name);
}

static int merge_job(struct planner *planner, const struct job *job)
{
	const struct method *method = planner->recipe->method;
	unsigned n = job->n_present;
	AUTO_FREE double *values =
		calloc(method_param_count(method) * n + 1, sizeof(*values));
	AUTO_FREE struct node **inputs = calloc(n, sizeof(*inputs));
	AUTO_FREE struct method_stream *streams = calloc(n, sizeof(*streams));
	if (!values || !inputs || !streams)
		return no_memory(planner);

	int base = -1;
	struct node *tail = NULL;
	find_nodes(job, inputs, &base);
	int r = plan_common_rows(planner, job->name, inputs, n, &tail);
	if (r == 0)
		r = param_values(planner, job, values);
	if (r == 0)
		r = find_streams(planner, job, streams);
	if (r < 0)
		return r;
	struct merge_terms terms = {
		.method = method,
		.inputs = inputs,
		.n_inputs = n,
		.base = base,
		.values = values,
		.streams = streams,
	};
	return merge_terms(planner, job, &terms, tail);
}

int job_plan(struct planner *planner, const struct job *job)
{
	const struct slice_plan *slice = job->slice;
	const struct method *method = planner->recipe->method;
	bool has_base = slice->base >= 0 && job->inputs[slice->base].node;

	for (unsigned i = 0; i < slice->n_inputs; i++) {
		const struct node *node = job->inputs[i].node;
		if (node && !node->dtype->mergeable)
			return carry(planner, job,
				     job->n_present > 1
					     ? "not floating point, copied from"
					     : NULL);
	}
	if (job->n_present < slice->n_inputs) {
		int r = check_missing(planner, job);
		if (r < 0)
			return r;
	}
	int r = check_shapes(planner, job);
	if (r < 0)
		return r;

	unsigned counted = job->n_present;
	if (method->base == BASE_OPTIONAL && has_base)
		counted--;
	if (method->of_any_inputs)
		return merge_job(planner, job);
	if (method->base == BASE_REQUIRED && !has_base)
		return carry(planner, job, "not in the base, copied from");
	if (counted < method->min_inputs)
		return carry(planner, job,
			     "too few inputs have it, copied from");
	return merge_job(planner, job);
}
