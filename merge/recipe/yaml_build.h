/*
 * From libyaml's events to the tree: what yaml.c, yaml_build.c and yaml_check.c
 * say to one another.
 */
#ifndef MERGE_RECIPE_YAML_BUILD_H
#define MERGE_RECIPE_YAML_BUILD_H

#include <yaml.h>

#include "merge/recipe/yaml.h"

/* Builds the documents of a file that has its path, text and size. */
int yaml_build(struct yaml_file *file, struct error *err);

/* libyaml's complaint as our sentence. Returns -EINVAL or -ENOMEM. */
int yaml_syntax_error(const yaml_parser_t *parser, const struct yaml_file *file,
		      struct error *err);

/*
 * Makes keys unique: of the pairs with one key the first counts, since those
 * written in the map (the first n_own) stand before those merged into it. Two
 * written ones are an error.
 */
int yaml_settle_keys(struct yaml *map, size_t n_own, const char *path,
		     struct error *err);

#endif
