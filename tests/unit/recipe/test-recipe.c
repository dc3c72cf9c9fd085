#include "merge/recipe/recipe.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "merge/methods/method.h"
#include "tests/unit/check.h"

struct bad {
	const char *recipe; /* text, or the name of a file */
	unsigned line;
	const char *says;
};

static void check_sentence(const struct error *err, const char *path,
			   const struct bad *bad)
{
	char start[512];
	snprintf(start, sizeof(start), "%s:%u: ", path, bad->line);
	if (strncmp(err->text, start, strlen(start)) != 0 ||
	    !strstr(err->text, bad->says))
		fprintf(stderr, "of %s\ngot %s\n", bad->recipe, err->text);
	CHECK(strncmp(err->text, start, strlen(start)) == 0);
	CHECK(strstr(err->text, bad->says));
	CHECK(!strchr(err->text, '\n'));
	CHECK(err->text[strlen(err->text) - 1] != '.');
}

static struct recipe_file *parse(const char *text, bool lax,
				 struct notes *notes)
{
	struct recipe_file *file = NULL;
	struct error err = {""};
	if (recipe_parse(text, strlen(text), "r", lax, &file, notes, &err) < 0)
		fprintf(stderr, "%s\n", err.text);
	CHECK(file);
	return file;
}

static void check_bad(const struct bad *bad)
{
	AUTO(recipe_file) file = NULL;
	struct error err = {""};
	CHECK(recipe_parse(bad->recipe, strlen(bad->recipe), "r", false, &file,
			   NULL, &err) == -EINVAL);
	CHECK(!file);
	check_sentence(&err, "r", bad);
}

/* Refused for their form. */
static const struct bad bad_files[] = {
	{"alias-bomb", 3, "an entry of models must be a map"},
	{"anchors-undefined", 3, "no anchor '&nothing'"},
	{"both-tokenizers", 5, "both tokenizer_source: and tokenizer:"},
	{"dtype-int", 2, "dtype '32' is none that can be computed"},
	{"duplicate-key", 2, "key 'merge_method' was given in line 1"},
	{"empty-file", 1, "nothing in it"},
	{"empty-models", 3, "models: is empty"},
	{"empty-slices-sources", 3, "sources: is empty"},
	{"filter-number", 3, "filter must be a text"},
	{"linear-base-no-weight", 3, "base_model is an input of method linear"},
	{"method-number", 1, "no method '7'"},
	{"missing-t", 1, "needs parameter 't'"},
	{"missing-weight", 3, "'../models/deep-ft2' has none"},
	{"mixed-list", 3, "either numbers or maps"},
	{"models-and-slices", 4, "both models: (line 3) and slices:"},
	{"models-map", 3, "models must be a list"},
	{"models-string", 3, "models must be a list"},
	{"module-empty", 2, "nothing to merge: give models: or slices:"},
	{"nested-gradient", 3, "a gradient is a list of numbers"},
	{"no-method", 1, "no merge_method:"},
	{"no-models", 1, "nothing to merge"},
	{"no-value-weight", 3, "write the number that is meant"},
	{"normalize-two", 4, "must be true or false"},
	{"octal-weight", 3, "write it as a plain decimal number"},
	{"parameters-list", 4, "parameters must be a map"},
	{"passthrough-base", 3, "base_model is one of them, leave it out"},
	{"passthrough-two", 2, "exactly 1 model, here are 2"},
	{"plain-text", 1, "a recipe must be a map"},
	{"python-tag", 1, "tag 'tag:yaml.org,2002:python"},
	{"range-float", 4, "must be a whole number"},
	{"range-negative", 4, "layers are counted from 0"},
	{"range-reversed", 4, "[3, 1] holds no layer"},
	{"range-text", 4, "must be a list of two layers"},
	{"range-three", 4, "must be a list of two layers"},
	{"self-alias", 1, "alias '*m' stands inside"},
	{"slerp-foreign-base", 5, "is not among the sources"},
	{"slerp-no-base", 1, "method slerp needs a base_model:"},
	{"slerp-one", 4, "exactly 2 models, here are 1"},
	{"slerp-three", 4, "exactly 2 models, here are 3"},
	{"slice-lengths", 4, "has 2 layers, the first of its slice 3"},
	{"tab-indent", 3, "a tab indents this line"},
	{"top-list", 1, "a recipe must be a map"},
	{"two-at", 3, "more than one '@'"},
	{"two-bases", 3, "key 'base_model' was given in line 2"},
	{"two-documents", 5, "a second recipe without name:"},
	{"two-plus", 3, "more than one '+'"},
	{"typo-key", 4, "did you mean out_dtype?"},
	{"typo-weight", 3, "did you mean weight?"},
	{"unclosed", 3, "did not find expected ',' or '}'"},
	{"unknown-dtype", 2, "dtype 'float8'"},
	{"unknown-method", 1, "no method 'dare'; did you mean dare_"},
	{"unknown-out-dtype", 3, "out_dtype 'fp16'"},
	{"weight-nan", 3, "must be a finite number"},
	{"weight-null", 3, "has no value"},
	{"weight-text", 3, "'heavy', which is not a number"},
	{"weights-sum-zero", 3, "the weights sum to zero"},
	{"base-list", 2, "base_model must be one model"},
	{"density-percent", 3, "'50%', which is not a number"},
	{"karcher-half-iter", 2, "it must be a whole number"},
	{"model_stock-one", 3, "at least 3 models, here are 2"},
	{"nearswap-two", 4, "exactly 2 models, here are 3"},
	{"negative-density", 3, "must lie between 0 and 1"},
	{"negative-select", 3, "must lie between 0 and 1"},
	{"no-base", 1, "method ties needs a base_model:"},
	{"nuslerp-three", 2, "here are 3 besides the base_model"},
	{"typo-parameter", 3, "did you mean density?"},
	{"arcee-three", 4, "exactly 2 models, here are 3"},
	{"density-above-one", 7, "is 1.01; it must lie between 0 and 1"},
	{"density-nan", 7, "'density' is '.nan'; it must be a finite"},
	{"epsilon-negative", 7, "is -0.1; it must lie between 0 and 0.5"},
	{"epsilon-text", 7, "'small', which is not a number"},
	{"filter-wise-half", 7, "must be true or false"},
	{"gamma-above-one", 7, "is 1.5; it must lie between 0 and 1"},
	{"karcher-negative-iter", 6, "it must lie between 0 and"},
	{"karcher-tol-nan", 6, "must be a finite number"},
	{"lambda-infinite", 7, "must be a finite number"},
	{"multislerp-base-alone", 3, "here are 0 besides the base_model"},
	{"nearswap-no-t", 1, "needs parameter 't'"},
	{"sce-no-base", 1, "method sce needs a base_model:"},
	{"select-above-one", 7, "is 1.5; it must lie between 0 and 1"},
	{"weight-infinite", 5, "must be a finite number"},
	{"weight-too-large", 5, "which float32 does not hold"},
};

/* Good form; only the models show what is wrong, or that nothing is. */
static const char *const good_files[] = {
	"alias-ok",
	"architectures-differ",
	"bom",
	"della-epsilon",
	"depths-differ",
	"missing-model",
	"no-weights",
	"range-too-big",
	"shape-mismatch",
	"slices-on-modules",
	"unknown-module",
	"vocab-mismatch",
	"epsilon-in-last-layer",
	"multislerp-sum-zero",
	"weights-sum-zero-in-first-layer",
};

static void check_file(const char *folder, const char *name)
{
	char path[512];
	snprintf(path, sizeof(path), "%s/%s.yaml", folder, name);
	AUTO(recipe_file) file = NULL;
	struct error err = {""};
	int r = recipe_load(path, false, &file, NULL, &err);

	for (size_t i = 0; i < ARRAY_SIZE(good_files); i++) {
		if (strcmp(good_files[i], name) == 0) {
			CHECK(r == 0 && file);
			return;
		}
	}
	CHECK(r == -EINVAL && !file);
	for (size_t i = 0; i < ARRAY_SIZE(bad_files); i++) {
		if (strcmp(bad_files[i].recipe, name) == 0) {
			check_sentence(&err, path, &bad_files[i]);
			return;
		}
	}
	fprintf(stderr, "no row for %s: %s\n", name, err.text);
	CHECK(false);
}

static void check_files(const char *folder)
{
	DIR *dir = opendir(folder);
	CHECK(dir);
	size_t n = 0;
	for (struct dirent *entry; (entry = readdir(dir));) {
		char *dot = strrchr(entry->d_name, '.');
		if (!dot || strcmp(dot, ".yaml") != 0)
			continue;
		*dot = '\0';
		check_file(folder, entry->d_name);
		n++;
	}
	closedir(dir);
	CHECK(n >= ARRAY_SIZE(bad_files) + ARRAY_SIZE(good_files));
}

#define MODELS "models: [{model: a, parameters: {weight: 1}}, {model: b}]\n"
#define TWO                                                         \
	"models: [{model: a, parameters: {weight: 1}}, {model: b, " \
	"parameters: {weight: 2}}]\n"

static void check_more_bad(void)
{
	static const struct bad rows[] = {
		{"merge_method: linear\n" MODELS, 2, "'b' has none"},
		{"merge_method: linear\n" TWO "parameters: {wieght: 1}\n", 3,
		 "no parameter 'wieght'; did you mean weight?"},
		{"merge_method: linear\n" TWO "parameters: {bananas: 1}\n", 3,
		 "no method has a parameter 'bananas'"},
		{"merge_method: linear\n" TWO "parameters: {density: 50%}\n", 3,
		 "'50%', which is not a number"},
		{"merge_method: linear\n" TWO
		 "parameters: {normalize: maybe}\n",
		 3, "must be true or false"},
		{"merge_method: linear\n" TWO "tokenizer_source: [1]\n", 3,
		 "tokenizer_source must be one model"},
		{"merge_method: linear\n" TWO "tokenizer: {sorce: base}\n", 3,
		 "unknown key 'sorce' in tokenizer; did you mean source?"},
		{"merge_method: linear\n" TWO
		 "tokenizer:\n  pad_to_multiple_of: 2.5\n",
		 4, "must be a whole number"},
		{"merge_method: linear\n" TWO
		 "tokenizer: {tokens: {x: {source: {kind: one}}}}\n",
		 3, "no kind 'one'"},
		{"merge_method: linear\n" TWO "chat_template: [x]\n", 3,
		 "chat_template must be a single value"},
		{"merge_method: linear\n" TWO "x: {model: a}\n", 3,
		 "unknown key 'x' in a recipe; its keys are merge_method"},
		{"merge_method: linear\nmodels:\n  - model: a\n"
		 "    layer_range: [0, 2]\n",
		 4, "use slices: with sources:"},
		{"merge_method: linear\nmodels:\n  - modle: a\n", 3,
		 "did you mean model?"},
		{"merge_method: linear\nmodels:\n  - parameters: {weight: 1}\n",
		 3, "lacks its model:"},
		{"merge_method: passthrough\nslices:\n  - sources:\n"
		 "    - model: a\n",
		 4, "lacks its layer_range:"},
		{"merge_method: passthrough\nslices:\n  - sources:\n"
		 "    - model: a\n      layer_range: [0, 010]\n",
		 5, "write it as a plain decimal number"},
		{"merge_method: passthrough\nmodels: [{model: 7}]\n", 2,
		 "put it in quotes"},
		{"merge_method: passthrough\nmodels: [{model: a@}]\n", 2,
		 "lacks a path or a revision"},
		{"merge_method: passthrough\nmodels: [{model: a+b@c@d}]\n", 2,
		 "more than one '@'"},
		{"merge_method: passthrough\n"
		 "models: [{model: a@x, revision: y}]\n",
		 2, "names revision 'x' already"},
		{"merge_method: passthrough\nmodels: [{model: {lora: b}}]\n", 2,
		 "lacks its model:"},
		{"merge_method: dare-ties\nmodels: [{model: a}]\n", 1,
		 "did you mean dare_ties?"},
		{"merge_method: passthrough\ndtype: int8\nmodels: [{model: "
		 "a}]\n",
		 2, "dtype 'int8' is none that can be computed"},
		{"merge_method: linear\nmodels:\n  - {model: a, parameters: "
		 "{weight: []}}\n",
		 3, "'a' has none"},
		{"merge_method: linear\nparameters: {weight: 0}\n"
		 "models: [{model: a}]\n",
		 3, "the weights sum to zero"},
		{"merge_method: slerp\nbase_model: a\nmodels:\n"
		 "  - {model: a}\n  - {model: b, parameters: {t: .5}}\n",
		 1, "needs parameter 't'"},
		{"merge_method: passthrough\nmodules: [1]\n", 2,
		 "modules must be a map"},
		{"merge_method: passthrough\nmodels: [{model: a}]\nname: x\n"
		 "---\nmerge_method: passthrough\nmodels: [{model: a}]\n"
		 "name: x\n",
		 5, "a second recipe of name 'x'"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		check_bad(&rows[i]);
}

static void check_number(const char *text, bool good, double expected)
{
	char recipe[256];
	snprintf(recipe, sizeof(recipe),
		 "merge_method: linear\nparameters: {normalize: false}\n"
		 "models:\n  - {model: a, parameters: {weight: %s}}\n",
		 text);
	AUTO(recipe_file) file = NULL;
	struct error err = {""};
	int r = recipe_parse(recipe, strlen(recipe), "r", false, &file, NULL,
			     &err);
	if ((r == 0) != good)
		fprintf(stderr, "%s: %s\n", text, err.text);
	CHECK((r == 0) == good);
	if (!good) {
		CHECK(strncmp(err.text, "r:4: ", 5) == 0);
		return;
	}
	const struct recipe_source *source =
		&file->documents[0]->modules[0].slices[0].sources[0];
	CHECK(source->parameters.items[0].cases[0].values[0].value == expected);
}

static void check_numbers(void)
{
	check_number("1", true, 1);
	check_number("-.5", true, -.5);
	check_number("+3.", true, 3);
	check_number("1e-1", true, .1);
	check_number("1.0E+2", true, 100);
	check_number("'0.5'", true, .5);
	check_number("' 0.5 '", true, .5);
	check_number("'1_000'", true, 1000);
	check_number("'010'", true, 10);
	check_number("'00'", true, 0);
	check_number("010.5", true, 10.5);
	check_number("true", true, 1);
	check_number("False", true, 0);
	check_number("!!float '2'", true, 2);

	static const char *const wrong[] = {
		"010",	 "1_0",	  "1:30",  "0x10",  "0b1",    "yes",
		"On",	 "off",	  "no",	   ".inf",  "-.Inf",  "nan",
		"'inf'", "1e999", "50%",   "'1,5'", "'0x10'", "''",
		"'1 2'", "1.2.3", "heavy", "null",  "'true'", "'_1'",
		"1e",	 "-",	  ".",	   "08",    "{}",     "'1__0'",
	};
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		check_number(wrong[i], false, 0);
}

static void check_truth(const char *text, bool good, double expected)
{
	char recipe[256];
	snprintf(recipe, sizeof(recipe),
		 "merge_method: linear\n" TWO "parameters: {normalize: %s}\n",
		 text);
	AUTO(recipe_file) file = NULL;
	int r = recipe_parse(recipe, strlen(recipe), "r", false, &file, NULL,
			     NULL);
	CHECK((r == 0) == good);
	if (good)
		CHECK(file->documents[0]
			      ->parameters.items[0]
			      .cases[0]
			      .values[0]
			      .value == expected);
}

static void check_truths(void)
{
	static const char *const yes[] = {"yes", "Yes",	  "on",	 "true", "1",
					  "1.0", "'yes'", "'t'", "y",	 "'1'"};
	static const char *const no[] = {"no",	"off",	"False", "0",
					 "0.0", "'no'", "f",	 "n"};
	static const char *const wrong[] = {"2",  "'1.0'", "maybe",
					    "''", "0.5",   "null"};
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
		check_truth(yes[i], true, 1);
	for (size_t i = 0; i < ARRAY_SIZE(no); i++)
		check_truth(no[i], true, 0);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		check_truth(wrong[i], false, 0);
}

static void check_models(void)
{
	AUTO(recipe_file)
	file = parse("merge_method: linear\n"
		     "parameters: {weight: 1}\n"
		     "base_model: org/base@v1\n"
		     "models:\n"
		     "  - model: org/a@v1+org/l@main\n"
		     "  - model: {model: {path: 'x@y+z', revision: r}, lora: "
		     "l@q, override_architecture: Llama}\n"
		     "  - {model: org/b, revision: v2}\n"
		     "  - model: C:\\models\\x\n"
		     "  - model: {path: /abs/p}\n"
		     "  - model: {model: a+b}\n",
		     false, NULL);
	const struct recipe *recipe = file->documents[0];
	CHECK(strcmp(recipe->base.path, "org/base") == 0);
	CHECK(strcmp(recipe->base.revision, "v1") == 0);
	CHECK(recipe->base.line == 3);

	const struct recipe_slice *slice = &recipe->modules[0].slices[0];
	CHECK(slice->n_sources == 6 && slice->line == 4);
	CHECK(!recipe->modules[0].sliced && !recipe->modules[0].name);

	const struct model_ref *ref = &slice->sources[0].model;
	CHECK(strcmp(ref->path, "org/a") == 0);
	CHECK(strcmp(ref->revision, "v1") == 0);
	CHECK(strcmp(ref->lora, "org/l") == 0);
	CHECK(strcmp(ref->lora_revision, "main") == 0);
	CHECK(ref->line == 5 && !ref->architecture);

	ref = &slice->sources[1].model;
	CHECK(strcmp(ref->path, "x@y+z") == 0);
	CHECK(strcmp(ref->revision, "r") == 0);
	CHECK(strcmp(ref->lora, "l") == 0);
	CHECK(strcmp(ref->lora_revision, "q") == 0);
	CHECK(strcmp(ref->architecture, "Llama") == 0);

	ref = &slice->sources[2].model;
	CHECK(strcmp(ref->path, "org/b") == 0);
	CHECK(strcmp(ref->revision, "v2") == 0);
	CHECK(strcmp(slice->sources[3].model.path, "C:\\models\\x") == 0);
	CHECK(strcmp(slice->sources[4].model.path, "/abs/p") == 0);
	CHECK(strcmp(slice->sources[5].model.path, "a+b") == 0);

	struct model_ref same = *ref;
	same.line = 99;
	CHECK(model_ref_equal(ref, &same));
	same.lora = slice->sources[1].model.lora;
	CHECK(!model_ref_equal(ref, &same));
	CHECK(recipe_find_source(slice, ref) == 2);
	CHECK(recipe_find_source(slice, &recipe->base) == -1);
	CHECK(recipe_base(recipe, slice) == &recipe->base);
}

static void check_slices(void)
{
	AUTO(recipe_file)
	file = parse("name: x\n"
		     "merge_method: slerp\n"
		     "base_model: a\n"
		     "dtype: torch.bfloat16\n"
		     "out_dtype: float32\n"
		     "tokenizer:\n"
		     "  {source: union, pad_to_multiple_of: 8, tokens: {x: "
		     "{source: {kind: model_token, model: a, token_id: 3}, "
		     "force: true}, y: {source: {kind: zero}}, z: {}}}\n"
		     "chat_template: auto\n"
		     "modules:\n"
		     "  text:\n"
		     "    slices:\n"
		     "    - sources: [{model: a, layer_range: [0, 8]},\n"
		     "                {model: a, layer_range: [8, 16]}]\n"
		     "      parameters: {t: .5}\n"
		     "    - base_model: c\n"
		     "      sources: [{model: b, layer_range: ['1', 2.0]},\n"
		     "                {model: c, layer_range: [3, 4]}]\n"
		     "      parameters: {t: 0}\n",
		     false, NULL);
	const struct recipe *recipe = file->documents[0];
	CHECK(strcmp(recipe->name, "x") == 0);
	CHECK(strcmp(recipe->method->name, "slerp") == 0);
	CHECK(recipe->method_line == 2 && recipe->line == 1);
	CHECK(strcmp(recipe->dtype, "bfloat16") == 0);
	CHECK(strcmp(recipe->out_dtype, "float32") == 0);
	CHECK(recipe->tokenizer.line == 6 && recipe->chat_template_line == 8);

	const struct recipe_module *module = &recipe->modules[0];
	CHECK(recipe->n_modules == 1 && module->sliced && module->line == 10);
	CHECK(strcmp(module->name, "text") == 0);
	CHECK(module->n_slices == 2);

	const struct recipe_slice *slice = &module->slices[0];
	CHECK(slice->line == 12 && recipe_base(recipe, slice) == &recipe->base);
	CHECK(slice->sources[1].first == 8 && slice->sources[1].end == 16);
	CHECK(slice->sources[1].ranged && slice->sources[1].line == 13);
	slice = &module->slices[1];
	CHECK(recipe_base(recipe, slice) == &slice->base);
	CHECK(slice->sources[0].first == 1 && slice->sources[0].end == 2);
}

static void check_text_kept(void)
{
	static const char text[] = "merge_method: passthrough # why\n"
				   "models: [{model: a}]\n---\n";
	AUTO(recipe_file) file = parse(text, false, NULL);
	CHECK(file->n_documents == 1);
	CHECK(file->size == strlen(text) && strcmp(file->text, text) == 0);
	CHECK(strcmp(file->path, "r") == 0);
	CHECK(file->documents[0]->path == file->path);
}

static void check_notes(const char *text, bool lax, size_t n,
			const char *const *lines)
{
	struct notes notes = {0};
	AUTO(recipe_file) file = parse(text, lax, &notes);
	CHECK(file->n_documents == 1);
	for (size_t i = 0; i < notes.n_lines; i++) {
		if (i >= n || !strstr(notes.lines[i], lines[i]))
			fprintf(stderr, "note: %s\n", notes.lines[i]);
	}
	CHECK(notes.n_lines == n);
	for (size_t i = 0; i < n; i++)
		CHECK(strstr(notes.lines[i], lines[i]));
	notes_done(&notes);
}

static void check_remarks(void)
{
	static const char *const foreign[] = {
		"r:3: parameter 'density' has no effect in method linear"};
	check_notes("merge_method: linear\n" TWO "parameters: {density: .5}\n",
		    false, 1, foreign);

	static const char *const shared[] = {
		"r:3: parameter 't' has no effect under a model",
		"r:5: residual_weight has no effect"};
	check_notes("merge_method: slerp\nslices:\n"
		    "- sources: [{model: a, layer_range: [0, 2], parameters: "
		    "{t: .1}}, {model: b, layer_range: [0, 2]}]\n"
		    "  parameters: {t: .5}\n"
		    "  residual_weight: 0.2\n"
		    "base_model: a\n",
		    false, 2, shared);

	static const char *const anchored[] = {
		"r:1: key 'base' only serves its anchors; did you mean "
		"base_model?"};
	check_notes("base: &b a\nmerge_method: passthrough\n"
		    "models: [{model: *b}]\n",
		    false, 1, anchored);
	check_notes("x: {deep: &b a}\nmerge_method: passthrough\n"
		    "models: [{model: *b}]\n",
		    false, 0, NULL);

	static const char *const lax[] = {
		"r:3: unknown key 'out_dtyp' in a recipe is ignored",
		"r:2: unknown key 'layer_range' in a model is ignored",
		"r:4: unknown parameter 'scael' is ignored"};
	check_notes("merge_method: passthrough\n"
		    "models: [{model: a, layer_range: [0, 2]}]\n"
		    "out_dtyp: float32\n"
		    "parameters: {scael: 2}\n",
		    true, 3, lax);
}

static void check_accepted(void)
{
	static const char *const texts[] = {
		/* Absent by null. */
		"merge_method: linear\n" TWO "base_model: null\nslices: ~\n"
		"parameters:\ndtype:\n",
		/* A base that is an input like the others gets its weight. */
		"merge_method: linear\nbase_model: c\nparameters: {weight: 1}\n"
		"models: [{model: a}]\n",
		/* The same model twice, at two places. */
		"merge_method: linear\nparameters: {weight: 1}\nslices:\n"
		"- sources: [{model: a, layer_range: [0, 2]}, {model: a, "
		"layer_range: [2, 4]}]\n",
		/* Only what depends on no tensor is known to cancel. */
		"merge_method: linear\nmodels: [{model: a, parameters: "
		"{weight: [0, 1]}}, {model: b, parameters: {weight: [0, "
		"-1]}}]\n",
		"merge_method: linear\nparameters: {weight: 0, normalize: "
		"no}\nmodels: [{model: a}]\n",
		/* The base needs no weight where it is subtracted. */
		"merge_method: task_arithmetic\nbase_model: b\nmodels: "
		"[{model: b}, {model: a, parameters: {weight: 1}}]\n",
		"merge_method: passthrough\nbase_model: c\nslices:\n"
		"- sources: [{model: a, layer_range: [0, 2]}]\n",
	};
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		AUTO(recipe_file) file = parse(texts[i], false, NULL);
		CHECK(file->n_documents == 1);
	}
}

int main(int argc, char **argv)
{
	CHECK(argc == 2);
	check_files(argv[1]);
	check_more_bad();
	check_numbers();
	check_truths();
	check_models();
	check_slices();
	check_text_kept();
	check_remarks();
	check_accepted();
	return 0;
}
