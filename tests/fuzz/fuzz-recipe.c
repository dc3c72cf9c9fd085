#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "merge/methods/method.h"
#include "merge/recipe/resolve.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

/* Every parameter of a recipe that was accepted has values that fit. */
static void resolve_slice(const struct resolve_scope *scope)
{
	static const double places[] = {0, 0.3, 1};
	const struct method_param *param = scope->recipe->method->params;

	for (; param->name; param++) {
		int n = param->per_model ? (int)scope->slice->n_sources : 0;
		for (int source = -1; source < n && source < 4; source++) {
			for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
				double value = 0;
				int r = resolve(scope, param, source,
						"model.layers.3.mlp.up_proj",
						places[i], &value, NULL);
				require(r < 0 || value - value == 0);
			}
		}
	}
}

static void resolve_file(const struct recipe_file *file)
{
	for (size_t i = 0; i < file->n_documents; i++) {
		const struct recipe *recipe = file->documents[i];
		for (size_t j = 0; j < recipe->n_modules; j++) {
			const struct recipe_module *module =
				&recipe->modules[j];
			for (size_t k = 0; k < module->n_slices; k++) {
				const struct resolve_scope scope = {
					.recipe = recipe,
					.module = module,
					.slice = &module->slices[k],
				};
				resolve_slice(&scope);
			}
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (int lax = 0; lax < 2; lax++) {
		AUTO(recipe_file) file = NULL;
		struct notes notes = {0};
		struct error err = {""};
		int r = recipe_parse((const char *)data, size, "fuzz", lax,
				     &file, &notes, &err);
		notes_done(&notes);
		require((r == 0) == (file != NULL));
		if (r < 0)
			require(strncmp(err.text, "fuzz:", 5) == 0 &&
				!strchr(err.text, '\n'));
		else
			resolve_file(file);
	}
	return 0;
}
