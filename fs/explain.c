#include "fs/explain.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fs/expression.h"
#include "fs/outline.h"
#include "merge/engine/describe.h"
#include "merge/engine/engine.h"
#include "merge/engine/plan.h"
#include "merge/output/image.h"
#include "merge/output/merge.h"
#include "merge/tensor/dtype.h"
#include "util/text.h"

#define MOST_STAGES 64 /* whose formula is told inside of another's */

static int no_memory(struct error *err)
{
	return error_set(err, -ENOMEM, "out of memory");
}

/* Takes ownership. */
static int print_json(cJSON *taken, FILE *out, struct error *err)
{
	AUTO(cJSON) root = taken;
	AUTO_FREE char *text = root ? cJSON_Print(root) : NULL;

	if (!text)
		return no_memory(err);
	fprintf(out, "%s\n", text);
	return 0;
}

int explain_all(const struct merge *merge, bool json, FILE *out,
		struct error *err)
{
	if (!json)
		return outline_print_plan(merge->parts[0].plan, true, out) < 0
			       ? no_memory(err)
			       : 0;

	AUTO(cJSON) root = cJSON_CreateObject();
	if (!root || !outline_add_plan(root, merge->parts[0].plan))
		return no_memory(err);
	return print_json(TAKE(root), out, err);
}

int explain_find(const struct merge *merge, const char *name,
		 const struct output_tensor **ret, struct error *err)
{
	const struct plan *plan = merge->parts[0].plan;
	AUTO_FREE const char **names =
		calloc(plan->n_tensors + 1, sizeof(*names));
	if (!names)
		return no_memory(err);

	for (size_t i = 0; i < plan->n_tensors; i++) {
		names[i] = plan->tensors[i].name;
		if (strcmp(names[i], name) != 0)
			continue;
		*ret = &plan->tensors[i];
		return 0;
	}
	const char *near = text_nearest(name, names);
	return near ? error_set(err, -ENOENT,
				"no tensor '%s' in the merge; did you mean %s?",
				name, near)
		    : error_set(err, -ENOENT,
				"no tensor '%s' in the merge; mkfs-ctl explain "
				"without a name shows what there is",
				name);
}

/* What is said of a tensor before its expression. */
struct head {
	const struct output_tensor *tensor;
	const char *file;
	uint64_t offset;
	char shape[192];
};

static void print_head(const struct head *head, FILE *out)
{
	const struct output_tensor *tensor = head->tensor;
	char size[16];

	fprintf(out, "%s\n  %s %s, %s, in %s at %" PRIu64 "\n", tensor->name,
		tensor->dtype->name, head->shape,
		text_format_size(tensor->size, size), head->file, head->offset);
	if (tensor->how == tensor_copied || tensor->how == tensor_carried)
		fprintf(out, "  %s as it is\n", tensor->how);
}

static bool add_shape(cJSON *root, const struct shape *shape)
{
	cJSON *list = cJSON_AddArrayToObject(root, "shape");
	bool ok = list;

	for (unsigned i = 0; ok && i < shape->rank; i++) {
		cJSON *n = cJSON_CreateNumber((double)shape->dims[i]);
		ok = cJSON_AddItemToArray(list, n);
		if (!ok)
			cJSON_Delete(n);
	}
	return ok;
}

static cJSON *head_json(const struct head *head)
{
	const struct output_tensor *tensor = head->tensor;
	AUTO(cJSON) root = cJSON_CreateObject();

	if (!root || !cJSON_AddStringToObject(root, "name", tensor->name) ||
	    !cJSON_AddStringToObject(root, "how", tensor->how) ||
	    !cJSON_AddStringToObject(root, "dtype", tensor->dtype->name) ||
	    !add_shape(root, &tensor->shape) ||
	    !cJSON_AddNumberToObject(root, "size", (double)tensor->size) ||
	    !cJSON_AddStringToObject(root, "file", head->file) ||
	    !cJSON_AddNumberToObject(root, "offset", (double)head->offset))
		return NULL;
	return TAKE(root);
}

static int learn(const struct merge *merge, const struct output_tensor *tensor,
		 bool scan, struct error *err)
{
	if (!scan) {
		engine_recall(merge->engine, tensor);
		return 0;
	}
	int r = engine_gather(merge->engine, tensor);
	return r < 0 ? error_set(err, r, "%s: %s", tensor->name, strerror(-r))
		     : 0;
}

int explain_tensor(const struct merge *merge,
		   const struct output_tensor *tensor, bool scan, bool json,
		   FILE *out, struct error *err)
{
	unsigned n_stages = MOST_STAGES;
	struct describing how = {
		.plan = merge->parts[0].plan,
		.tensor = tensor,
		.n_stages = &n_stages,
	};
	struct expression_style style = {
		.formulas = true,
		.tensor = tensor->name,
	};
	struct head head = {.tensor = tensor};
	int r = learn(merge, tensor, scan, err);
	if (r < 0)
		return r;

	AUTO(cJSON) expression = describe_node(tensor->node, &how);
	if (!expression)
		return no_memory(err);
	shape_format(&tensor->shape, head.shape);
	image_find_tensor(merge->image, tensor, &head.file, &head.offset);
	if (!json) {
		print_head(&head, out);
		expression_print(expression, &style, 2, out);
		return 0;
	}
	AUTO(cJSON) root = head_json(&head);
	if (!root || !cJSON_AddItemToObject(root, "expression", expression))
		return no_memory(err);
	expression = NULL; /* the root's */
	return print_json(TAKE(root), out, err);
}
