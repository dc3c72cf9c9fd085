/*
 * A merge recipe as plain data: what the person wrote, checked for form.
 *
 * The grammar is MergeKit's. `models:`, `slices:` and `modules:` all become a
 * list of modules; everything keeps its line. Form is all that can be judged
 * without the models: keys, types, numbers, how many inputs the method takes,
 * whether required parameters are given at all. Whether models exist and fit is
 * not judged here.
 *
 * Immutable after recipe_load().
 */
#ifndef MERGE_RECIPE_RECIPE_H
#define MERGE_RECIPE_RECIPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "merge/recipe/model_ref.h"
#include "merge/recipe/settings.h"
#include "merge/recipe/tokenizer_form.h"
#include "util/error.h"
#include "util/macros.h"

struct method;

struct recipe_source { /* an entry of models: or of sources: */
	struct model_ref model;
	bool ranged; /* has a layer_range (under slices:, always); else all
			layers */
	int64_t first, end; /* layer_range: [first, end) */
	struct settings parameters;
	unsigned line;
};

struct recipe_slice {
	struct recipe_source *sources; /* (n_sources,) */
	size_t n_sources;
	struct model_ref base; /* path NULL: the recipe's */
	struct settings parameters;
	unsigned line;
};

struct recipe_module {
	char *name;  /* NULL when the recipe has no modules: */
	bool sliced; /* given by slices:, else one slice from models: */
	struct recipe_slice *slices; /* (n_slices,) */
	size_t n_slices;
	struct settings parameters;
	unsigned line;
};

struct recipe {
	const char *path; /* of the file, borrowed from the recipe_file */
	char *name;	  /* of this document, or NULL */
	const struct method *method;
	unsigned method_line;
	char *dtype, *out_dtype;       /* without "torch.", or NULL */
	struct model_ref base;	       /* path NULL: none */
	struct recipe_module *modules; /* (n_modules,) */
	size_t n_modules;
	struct settings parameters;
	struct recipe_tokenizer tokenizer;
	char *chat_template; /* or NULL */
	unsigned chat_template_line;
	unsigned line;
};

struct recipe_file {
	char *path;
	char *text; /* the file's bytes, NUL-ended */
	size_t size;
	struct recipe **documents; /* (n_documents,) */
	size_t n_documents;
};

/*
 * Reads and judges a recipe file, which has at least one document. Unknown
 * keys, and parameters that no method knows, are errors with the nearest right
 * spelling, or notes when lax; parameters of other methods are notes. A
 * top-level key of any name is fine as the place of an anchor that is used.
 * Every number is judged here, whether it will be used or not: type, range,
 * finiteness. notes may be NULL.
 */
int recipe_load(const char *path, bool lax, struct recipe_file **ret,
		struct notes *notes, struct error *err);

/* The same from memory; path is for sentences only. */
int recipe_parse(const char *text, size_t size, const char *path, bool lax,
		 struct recipe_file **ret, struct notes *notes,
		 struct error *err);
void recipe_free(struct recipe_file *file);
DEFINE_AUTO(recipe_file, recipe_free);

/* The directory that the recipe is in, malloc'ed; NULL: the working directory,
 * or out of memory. */
char *recipe_folder(const struct recipe *recipe);

/* Visits every model reference: the base, then slice after slice the sources
 * and its own base. Ends early, with its result, when visit() fails. */
int recipe_each_model(const struct recipe *recipe,
		      int (*visit)(void *arg, const struct model_ref *ref),
		      void *arg);

/* The base of a slice: its own, else the recipe's; NULL if there is none. */
const struct model_ref *recipe_base(const struct recipe *recipe,
				    const struct recipe_slice *slice);

/* Place of the first source of that model in the slice, or -1. */
int recipe_find_source(const struct recipe_slice *slice,
		       const struct model_ref *model);

#endif
