/*
 * From a model's name in a recipe to a directory.
 *
 * In this order: as a path relative to the recipe's directory, then to the
 * working directory, then as org/name in the Hugging Face cache (HF_HUB_CACHE,
 * HUGGINGFACE_HUB_CACHE, HF_HOME/hub, XDG_CACHE_HOME/huggingface/hub,
 * ~/.cache/huggingface/hub): refs/REVISION (default main) names the commit, a
 * 40-digit revision is one itself, and snapshots/COMMIT is the directory.
 * Nothing is downloaded.
 */
#ifndef MERGE_SOURCE_LOCATE_H
#define MERGE_SOURCE_LOCATE_H

#include "util/error.h"

/*
 * recipe_directory may be NULL; revision may be NULL. *ret is malloc'ed.
 * -ENOENT with a sentence that lists the places tried, and for an org/name the
 * command that would download it.
 */
int locate_model(const char *path, const char *revision,
		 const char *recipe_directory, char **ret, struct error *err);

#endif
