/* Prints what the methods declare of themselves, as JSON, for tests of docs. */
#include <stdio.h>

#include "merge/methods/method.h"
#include "util/json.h"

static cJSON *param_json(const struct method_param *param)
{
	static const char *const types[] = {"float", "int", "bool"};
	cJSON *row = cJSON_CreateObject();

	cJSON_AddStringToObject(row, "name", param->name);
	cJSON_AddStringToObject(row, "summary", param->summary);
	cJSON_AddStringToObject(row, "type", types[param->type]);
	cJSON_AddBoolToObject(row, "per_model", param->per_model);
	cJSON_AddBoolToObject(row, "required", param->required);
	cJSON_AddNumberToObject(row, "value", param->value);
	return row;
}

static cJSON *method_json(const struct method *method)
{
	cJSON *row = cJSON_CreateObject();
	cJSON *params = NULL;

	cJSON_AddStringToObject(row, "name", method->name);
	cJSON_AddStringToObject(row, "title", method->title);
	cJSON_AddStringToObject(row, "summary", method->summary);
	cJSON_AddStringToObject(row, "formula", method->formula);
	if (method->url)
		cJSON_AddStringToObject(row, "url", method->url);
	params = cJSON_AddArrayToObject(row, "params");
	for (size_t i = 0; method->params[i].name; i++)
		cJSON_AddItemToArray(params, param_json(&method->params[i]));
	return row;
}

int main(void)
{
	cJSON *list = cJSON_CreateArray();

	for (size_t i = 0; method_all()[i]; i++)
		cJSON_AddItemToArray(list, method_json(method_all()[i]));
	char *text = cJSON_Print(list);
	if (!text)
		return 1;
	puts(text);
	free(text);
	cJSON_Delete(list);
	return 0;
}
