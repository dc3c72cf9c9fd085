/*
 * Single values as numbers and truth values, by MergeKit's coercions.
 *
 * 1e-1, '0.5' and true are numbers; yes, off, 1 are truth values; 3.0 is whole.
 * What YAML 1.1 would silently make into another number than a person reads
 * (010 = 8, 1_0 = 10, 1:30 = 90, bare yes = 1) is refused.
 */
#ifndef MERGE_RECIPE_SCALAR_H
#define MERGE_RECIPE_SCALAR_H

#include <stdbool.h>

struct form;
struct method_param;
struct yaml;

enum scalar_kind { /* what YAML 1.1 takes a scalar for */
		   SCALAR_TEXT,
		   SCALAR_NUMBER,   /* plain decimal */
		   SCALAR_INFINITE, /* .inf or .nan, also without the point */
		   SCALAR_ODD, /* octal, hexadecimal, base 60, with underscores
				*/
		   SCALAR_TRUTH,  /* true or false */
		   SCALAR_SWITCH, /* yes, no, on, off */
};

enum scalar_kind scalar_kind(const char *text, bool quoted);

/*
 * The value of a scalar as one of param's type and range; truth values are 0
 * and 1. param NULL: any number or truth value, of which *ret is 0. `what`
 * begins the sentence: "parameter 'weight'".
 */
int scalar_value(const struct form *form, const struct yaml *node,
		 const struct method_param *param, const char *what,
		 double *ret);

#endif
