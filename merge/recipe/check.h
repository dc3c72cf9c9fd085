/*
 * What a recipe that is read can be judged for without its models: bases,
 * number of inputs, lengths of ranges, required parameters, weights.
 */
#ifndef MERGE_RECIPE_CHECK_H
#define MERGE_RECIPE_CHECK_H

struct form;
struct recipe;

int recipe_check(const struct form *form, const struct recipe *recipe);

#endif
