#include "fs/outline.h"

#include <inttypes.h>

#include "fs/expression.h"
#include "merge/engine/outline.h"
#include "merge/engine/plan.h"
#include "merge/engine/stages.h"
#include "merge/methods/method.h"
#include "merge/recipe/recipe.h"
#include "merge/tensor/dtype.h"
#include "util/text.h"

#define MOST_NAMES 8 /* of a group, that are printed */

static void print_names(const struct outline_group *group, FILE *out)
{
	if (group->layered && group->first < group->last)
		fprintf(out, "layers %" PRIu64 " to %" PRIu64 ": ",
			group->first, group->last);
	else if (group->layered)
		fprintf(out, "layer %" PRIu64 ": ", group->first);
	for (size_t i = 0; i < group->n_names; i++) {
		if (i == MOST_NAMES) {
			fprintf(out, " and %zu more", group->n_names - i);
			break;
		}
		fprintf(out, "%s%s", i ? ", " : "", group->names[i]);
	}
}

static void print_group(const struct outline_group *group, bool formulas,
			FILE *out)
{
	struct expression_style style = {.formulas = formulas};
	char size[16];

	fputs("  ", out);
	print_names(group, out);
	fprintf(out, "\n    %" PRIu64 " tensor%s, %s %s", group->n_tensors,
		group->n_tensors == 1 ? "" : "s",
		text_format_size(group->size, size), group->dtype->name);
	if (group->carried)
		fputs(", carried over, not merged", out);
	else if (group->n_copied == group->n_tensors)
		fputs(", copied as they are", out);
	else if (group->n_copied)
		fprintf(out, ", %" PRIu64 " of them copied as they are",
			group->n_copied);
	fputs("\n", out);
	expression_print(group->expression, &style, 4, out);
}

static int print_plan(const struct plan *plan, bool formulas, FILE *out)
{
	AUTO(outline) outline = NULL;

	int r = outline_new(plan, &outline);
	for (size_t i = 0; r == 0 && i < outline->n_groups; i++)
		print_group(&outline->groups[i], formulas, out);
	return r;
}

int outline_print_plan(const struct plan *plan, bool formulas, FILE *out)
{
	const struct stage *stage;

	int r = print_plan(plan, formulas, out);
	for (size_t i = 0; r == 0 && (stage = stages_at(plan->stages, i));
	     i++) {
		const struct plan *below = stage_plan(stage);
		fprintf(out, "\nStage %s: %s\n", stage_name(stage),
			below->recipe->method->name);
		r = print_plan(below, formulas, out);
	}
	return r;
}

static bool add_names(cJSON *row, const struct outline_group *group)
{
	cJSON *list = cJSON_AddArrayToObject(row, "tensors");
	bool ok = list;

	for (size_t i = 0; ok && i < group->n_names; i++) {
		cJSON *name = cJSON_CreateString(group->names[i]);
		ok = cJSON_AddItemToArray(list, name);
		if (!ok)
			cJSON_Delete(name);
	}
	return ok;
}

static bool add_layers(cJSON *row, const struct outline_group *group)
{
	double layers[] = {(double)group->first, (double)group->last};
	cJSON *list = cJSON_CreateDoubleArray(layers, 2);

	if (cJSON_AddItemToObject(row, "layers", list))
		return true;
	cJSON_Delete(list);
	return false;
}

static bool add_group(cJSON *list, const struct outline_group *group)
{
	cJSON *row = json_append_object(list);
	if (!row || !add_names(row, group) ||
	    (group->layered && !add_layers(row, group)) ||
	    !cJSON_AddNumberToObject(row, "count", (double)group->n_tensors) ||
	    !cJSON_AddNumberToObject(row, "size", (double)group->size) ||
	    !cJSON_AddStringToObject(row, "dtype", group->dtype->name) ||
	    !cJSON_AddNumberToObject(row, "copied", (double)group->n_copied) ||
	    !cJSON_AddBoolToObject(row, "carried", group->carried))
		return false;

	cJSON *copy = cJSON_Duplicate(group->expression, true);
	if (cJSON_AddItemToObject(row, "expression", copy))
		return true;
	cJSON_Delete(copy);
	return false;
}

static bool add_plan(cJSON *root, const struct plan *plan)
{
	AUTO(outline) outline = NULL;
	cJSON *list = cJSON_AddArrayToObject(root, "groups");
	bool ok = list && outline_new(plan, &outline) == 0;

	for (size_t i = 0; ok && i < outline->n_groups; i++)
		ok = add_group(list, &outline->groups[i]);
	return ok;
}

static bool add_stage(cJSON *list, const struct stage *stage)
{
	const struct plan *plan = stage_plan(stage);
	cJSON *row = json_append_object(list);

	return row && cJSON_AddStringToObject(row, "name", stage_name(stage)) &&
	       cJSON_AddStringToObject(row, "merge_method",
				       plan->recipe->method->name) &&
	       add_plan(row, plan);
}

bool outline_add_plan(cJSON *root, const struct plan *plan)
{
	bool ok = add_plan(root, plan);
	cJSON *list = ok ? cJSON_AddArrayToObject(root, "stages") : NULL;
	const struct stage *stage;

	ok = list;
	for (size_t i = 0; ok && (stage = stages_at(plan->stages, i)); i++)
		ok = add_stage(list, stage);
	return ok;
}
