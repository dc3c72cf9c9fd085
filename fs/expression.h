/*
 * Expressions (merge/engine/describe.h) as text for people. A parameter with a
 * list of values is printed as where they start, turn and end: "0.3 -> 0.7".
 */
#ifndef FS_EXPRESSION_H
#define FS_EXPRESSION_H

#include <stdbool.h>
#include <stdio.h>

#include "util/json.h"

struct expression_style {
	bool formulas;
	const char *tensor; /* that is meant where no other name stands */
};

/* Indented by `indent` columns. */
void expression_print(const cJSON *expression,
		      const struct expression_style *style, int indent,
		      FILE *out);

#endif
