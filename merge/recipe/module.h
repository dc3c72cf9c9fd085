/*
 * Reading what is merged: models:, slices: and modules: as a list of modules.
 */
#ifndef MERGE_RECIPE_MODULE_H
#define MERGE_RECIPE_MODULE_H

struct form;
struct recipe;
struct recipe_module;
struct yaml;

/* Fills the recipe's modules from its document. */
int modules_read(const struct form *form, const struct yaml *document,
		 struct recipe *recipe);
void module_done(struct recipe_module *module);

#endif
