#include "merge/methods/method.h"

#include <string.h>

#include "merge/kernels/isa.h"

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

size_t method_param_count(const struct method *method)
{
	size_t n = 0;

	while (method->params[n].name)
		n++;
	return n;
}

int method_param_find(const struct method *method, const char *name)
{
	for (int i = 0; method->params[i].name; i++)
		if (strcmp(method->params[i].name, name) == 0)
			return i;
	return -1;
}

bool method_knows_param(const char *name)
{
	for (const struct method *const *at = method_all(); *at; at++)
		if (method_param_find(*at, name) >= 0)
			return true;
	return false;
}
