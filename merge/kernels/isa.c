#include "merge/kernels/isa.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* ISA_ROW(name, can this machine run it), written by the build. */
#define ISA_ROW(name, runs) extern const struct isa isa_##name;
#include "merge/kernels/isa-list.def"
#undef ISA_ROW

#define ISA_ROW(name, runs) &isa_##name,
static const struct isa *const all[] = {
#include "merge/kernels/isa-list.def"
	NULL,
};
#undef ISA_ROW

static bool can_run(const struct isa *isa)
{
#define ISA_ROW(name, runs)     \
	if (isa == &isa_##name) \
		return runs;
#include "merge/kernels/isa-list.def"
#undef ISA_ROW
	return false;
}

const struct isa *isa_find(const char *name)
{
	for (size_t i = 0; all[i]; i++)
		if (strcmp(all[i]->name, name) == 0)
			return can_run(all[i]) ? all[i] : NULL;
	return NULL;
}

const struct isa *isa_best(void)
{
	const char *wanted = getenv("MKFS_MOUNT_ISA");
	const struct isa *best = wanted ? isa_find(wanted) : NULL;
	if (best)
		return best;

	for (size_t i = 0; all[i]; i++)
		if (can_run(all[i]))
			best = all[i];
	return best;
}

const struct isa *const *isa_all(void)
{
	return all;
}
