#include "fs/expression.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "util/macros.h"

#define MOST_TURNS 6 /* of a list, that are printed */

/* What has a place of its own in the text. */
static const char *const placed[] = {
	"node", "method",     "formula", "model",      "tensor",
	"file", "offset",     "dtype",	 "inputs",     "facts",
	"base", "expression", "input",	 "parameters", NULL,
};

static const char *text_of(const cJSON *object, const char *key)
{
	return cJSON_GetStringValue(
		cJSON_GetObjectItemCaseSensitive(object, key));
}

static void print_number(double value, FILE *out)
{
	if (value == floor(value) && fabs(value) < 0x1p53)
		fprintf(out, "%.0f", value);
	else
		fprintf(out, "%.6g", value);
}

static void print_scalar(const cJSON *value, FILE *out)
{
	if (cJSON_IsNumber(value))
		print_number(value->valuedouble, out);
	else if (cJSON_IsString(value))
		fputs(value->valuestring, out);
	else if (cJSON_IsBool(value))
		fputs(cJSON_IsTrue(value) ? "true" : "false", out);
	else
		fputs("not finite", out);
}

/* Does a list rise, stay, or fall from one item to the next? */
static int direction(const cJSON *from)
{
	double a = cJSON_IsBool(from) ? cJSON_IsTrue(from) : from->valuedouble;
	double b = cJSON_IsBool(from->next) ? cJSON_IsTrue(from->next)
					    : from->next->valuedouble;

	return (b > a) - (b < a);
}

static void print_turns(const cJSON *list, FILE *out)
{
	int before = 0, turns = 0;

	for (const cJSON *item = list->child; item; item = item->next) {
		bool last = !item->next;
		int now = last ? 0 : direction(item);

		if (item != list->child && !last && now == before)
			continue;
		if (item != list->child)
			fputs(" -> ", out);
		before = now;
		if (!last && ++turns > MOST_TURNS) {
			fputs("...", out);
			return;
		}
		print_scalar(item, out);
	}
}

static void print_value(const cJSON *value, FILE *out)
{
	fputs(" ", out);
	if (cJSON_IsArray(value))
		print_turns(value, out);
	else
		print_scalar(value, out);
}

/* The items of an object: "weight 0.3, density 0.5". */
static void print_values(const cJSON *values, FILE *out)
{
	const cJSON *value = NULL;

	cJSON_ArrayForEach(value, values)
	{
		fprintf(out, "%s%s", value == values->child ? "" : ", ",
			value->string);
		print_value(value, out);
	}
}

static bool is_placed(const char *key)
{
	for (size_t i = 0; placed[i]; i++)
		if (strcmp(placed[i], key) == 0)
			return true;
	return false;
}

/* What a type of node says of itself beside the known. */
static void print_own(const cJSON *expression, FILE *out)
{
	const cJSON *item = NULL;

	cJSON_ArrayForEach(item, expression)
	{
		if (is_placed(item->string) || cJSON_IsObject(item))
			continue;
		fprintf(out, "; %s", item->string);
		print_value(item, out);
	}
}

static void print_place(const cJSON *expression,
			const struct expression_style *style, FILE *out)
{
	const char *file = text_of(expression, "file");
	const char *tensor = text_of(expression, "tensor");
	const char *dtype = text_of(expression, "dtype");
	const cJSON *offset =
		cJSON_GetObjectItemCaseSensitive(expression, "offset");

	if (tensor && style->tensor && strcmp(tensor, style->tensor) != 0)
		fprintf(out, "; %s", tensor);
	if (dtype)
		fprintf(out, "; %s", dtype);
	if (file)
		fprintf(out, "; %s", file);
	if (offset)
		fprintf(out, " at %.0f", offset->valuedouble);
}

/* method, model, or kind of node. */
static const char *title_of(const cJSON *expression)
{
	const char *method = text_of(expression, "method");
	const char *model = text_of(expression, "model");
	const char *node = text_of(expression, "node");

	return method ? method : model ? model : node ? node : "";
}

/* Those of one input, or, for -1, of all together; on a line. */
static void print_facts(const cJSON *expression, int of, int indent, FILE *out)
{
	const cJSON *fact = NULL;
	bool any = false;

	cJSON_ArrayForEach(
		fact, cJSON_GetObjectItemCaseSensitive(expression, "facts"))
	{
		const cJSON *input =
			cJSON_GetObjectItemCaseSensitive(fact, "input");
		if ((input ? input->valueint : -1) != of)
			continue;
		if (any)
			fprintf(out, ", %s", text_of(fact, "name"));
		else
			fprintf(out, "%*s%s", indent, "",
				text_of(fact, "name"));
		print_value(cJSON_GetObjectItemCaseSensitive(fact, "value"),
			    out);
		any = true;
	}
	if (any)
		fputs("\n", out);
}

static void print_inputs(const cJSON *expression,
			 const struct expression_style *style, int indent,
			 FILE *out);

/* An expression, and what it is as an input: row, or NULL at the top. */
static void print_tree(const cJSON *expression, const cJSON *row,
		       const struct expression_style *style, int indent,
		       FILE *out)
{
	const char *formula = text_of(expression, "formula");
	const cJSON *own =
		cJSON_GetObjectItemCaseSensitive(expression, "parameters");
	const cJSON *given =
		cJSON_GetObjectItemCaseSensitive(row, "parameters");
	const cJSON *facts =
		cJSON_GetObjectItemCaseSensitive(expression, "facts");

	fprintf(out, "%*s%s", indent, "", title_of(expression));
	if (cJSON_GetObjectItemCaseSensitive(row, "base"))
		fputs(" (base)", out);
	if (given && given->child) {
		fputs(": ", out);
		print_values(given, out);
	}
	if (own && own->child) {
		fputs(row ? "; " : ": ", out);
		print_values(own, out);
	}
	print_own(expression, out);
	print_place(expression, style, out);
	fputs("\n", out);
	indent += 2;
	if (formula && style->formulas)
		fprintf(out, "%*s%s\n", indent, "", formula);
	print_inputs(expression, style, indent, out);
	print_facts(expression, -1, indent, out);
	if (cJSON_IsNull(facts))
		fprintf(out,
			"%*snothing is known of the whole tensor yet; --scan "
			"finds out\n",
			indent, "");
}

static void print_inputs(const cJSON *expression,
			 const struct expression_style *style, int indent,
			 FILE *out)
{
	const cJSON *row = NULL;
	int i = 0;

	cJSON_ArrayForEach(
		row, cJSON_GetObjectItemCaseSensitive(expression, "inputs"))
	{
		print_tree(cJSON_GetObjectItemCaseSensitive(row, "expression"),
			   row, style, indent, out);
		print_facts(expression, i++, indent + 2, out);
	}
}

void expression_print(const cJSON *expression,
		      const struct expression_style *style, int indent,
		      FILE *out)
{
	print_tree(expression, NULL, style, indent, out);
}
