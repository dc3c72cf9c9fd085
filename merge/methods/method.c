#include "merge/methods/method.h"

#include <string.h>

#include "merge/kernels/isa.h"

#define METHOD(name)
#define PLANNED(name) #name,
static const char *const planned[] = {
#include "merge/methods/methods.def"
	NULL,
};

/* Of the methods that are built and of those that are planned. */
static const char *const param_names[] = {
	"alpha",
	"density",
	"eps",
	"epsilon",
	"filter_wise",
	"gamma",
	"int8_mask",
	"lambda",
	"max_iter",
	"normalize",
	"normalize_weights",
	"nuslerp_flatten",
	"nuslerp_row_wise",
	"r",
	"rescale",
	"scale",
	"select_topk",
	"t",
	"tol",
	"weight",
	NULL,
};

const struct method *const *method_all(void)
{
	return isa_all()[0]->methods;
}

const struct method *method_find(const char *name)
{
	for (const struct method *const *at = method_all(); *at; at++)
		if (strcmp((*at)->name, name) == 0)
			return *at;
	return NULL;
}

int method_param_find(const struct method *method, const char *name)
{
	for (int i = 0; method->params[i].name; i++)
		if (strcmp(method->params[i].name, name) == 0)
			return i;
	return -1;
}

const char *const *method_planned(void)
{
	return planned;
}

bool method_knows_param(const char *name)
{
	for (size_t i = 0; param_names[i]; i++)
		if (strcmp(param_names[i], name) == 0)
			return true;
	return false;
}

const char *const *method_param_names(void)
{
	return param_names;
}
