/*
 * What a recipe says of a model: "path[@revision][+lora[@revision]]", or the
 * mapping form. Where that is to be found is not judged here.
 */
#ifndef MERGE_RECIPE_MODEL_REF_H
#define MERGE_RECIPE_MODEL_REF_H

#include <stdbool.h>

struct form;
struct yaml;

struct model_ref {
	char *path;		    /* NULL: no model given */
	char *revision;		    /* or NULL */
	char *lora, *lora_revision; /* or NULL */
	char *architecture;	    /* override_architecture, or NULL */
	unsigned line;
};

/* All fields equal, lines aside. */
bool model_ref_equal(const struct model_ref *a, const struct model_ref *b);

/*
 * Fills *ret, which is zeroed; what: "base_model". On failure, too, the caller
 * releases it.
 */
int model_ref_read(const struct form *form, const struct yaml *node,
		   const char *what, struct model_ref *ret);
void model_ref_done(struct model_ref *ref);

#endif
