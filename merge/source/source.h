/*
 * A checkpoint: a Hugging Face model directory, opened read-only.
 *
 * Weights are model.safetensors, or the shards that
 * model.safetensors.index.json names (an index wins over a single file, file
 * names are not parsed, the headers win over the index); else, for single-file
 * checkpoints, the only *.safetensors there is. Every header is read and judged
 * here; no tensor data is touched.
 *
 * Paths in an index may not leave the directory, except through the links of a
 * Hugging Face cache into the blobs of the same repository.
 *
 * Immutable after source_open(); every function may be called from any thread.
 */
#ifndef MERGE_SOURCE_SOURCE_H
#define MERGE_SOURCE_SOURCE_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

#include "merge/source/tensor.h"
#include "util/error.h"
#include "util/macros.h"

struct file;

struct companion {	   /* a file of the directory that is not weights */
	char *path;	   /* relative, '/'-separated, owned */
	struct file *file; /* owned */
};

struct source {
	char *label;	     /* as the recipe names it; owned */
	char *directory;     /* where it was found; owned */
	struct file **files; /* (n_files,) weight files; owned */
	size_t n_files;
	struct tensor *tensors; /* (n_tensors,) sorted by name (strcmp) */
	size_t n_tensors;
	char *config_text; /* config.json, NUL-ended; owned */
	cJSON *config;	   /* the same, parsed: an object; owned */
	/*
	 * Of what is not on disk (a stage of a recipe): the source that its
	 * companion files come from, borrowed. It has no files, and its
	 * directory is only a name.
	 */
	const struct source *donor;
	/*
	 * Of a model with an adapter: the adapter, borrowed, whose tokenizer
	 * and chat template are the model's where it has them.
	 */
	const struct source *overlay;
	/* (n_made,) by path: companions that were computed, in place of the
	 * donor's; NULL: the donor's are meant; owned. */
	struct companion *made;
	size_t n_made;
};

/*
 * Opens the checkpoint in `directory`. Errors name the file: missing or
 * malformed config.json, index or header; weights in a form that is not
 * supported (*.bin, *.gguf, an adapter without its base), each by its own
 * sentence; a Git LFS pointer in place of a file.
 */
int source_open(const char *directory, const char *label, struct source **ret,
		struct error *err);
void source_close(struct source *source);
DEFINE_AUTO(source, source_close);

/*
 * Opens the adapter in `directory` as a source: its tensors are those of
 * adapter_model.safetensors, or .bin, its config is adapter_config.json.
 */
int source_open_adapter(const char *directory, const char *label,
			struct source **ret, struct error *err);

/*
 * Is the directory an adapter and not a model? Then *ret is what it names as
 * its base, malloc'ed, "" if nothing; else NULL. Errors: -ENOMEM, a file that
 * cannot be read.
 */
int source_adapter_base(const char *directory, char **ret, struct error *err);

/* By exact name; NULL if there is none such. */
const struct tensor *source_find(const struct source *source, const char *name);

/*
 * Opens one file of the checkpoint by its relative path ("tokenizer.json"). All
 * that asks what a model's tokenizer is asks here, wherever the files come
 * from. -ENOENT without a sentence if there is none; a Git LFS pointer is
 * refused.
 */
int source_find_file(const struct source *source, const char *relative,
		     struct file **ret, struct error *err);

/* A directory of which only files are wanted: without tensors, config NULL. */
int source_open_files(const char *directory, const char *label,
		      struct source **ret, struct error *err);

/*
 * A tensor by which the checkpoint shows itself to be quantised (packed
 * weights, scales of blocks, or config.json's quantization_config), or NULL.
 */
const char *source_quantised(const struct source *source);

/*
 * Lists the files that a donor gives to the output beside its weights, sorted
 * by path (strcmp), opened: everything in the directory and below it but
 * weights, weight indexes, config.json and repository noise (.git*, .cache,
 * *.md, images). Links may not leave the directory or the repository's blobs:
 * such a file is left out with a note.
 */
int source_companions(const struct source *source, struct companion **ret,
		      size_t *ret_n, struct notes *notes, struct error *err);
void companions_free(struct companion *companions, size_t n);

#endif
