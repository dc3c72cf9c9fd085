/*
 * Attributes and ownership: a local that owns is declared with its release.
 */
#ifndef UTIL_MACROS_H
#define UTIL_MACROS_H

#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define UNUSED __attribute__((unused))

#define PRINTF(at, first) __attribute__((format(printf, at, first)))

#define CONTAINER_OF(p, type, member) \
	((type *)((char *)(p)-offsetof(type, member)))

/* Hands out what an AUTO local owns, and leaves the local empty. */
#define TAKE(p)                            \
	({                                 \
		__typeof__(p) take_ = (p); \
		(p) = NULL;                \
		take_;                     \
	})

static inline void auto_free(void *p)
{
	free(*(void **)p);
}

static inline void auto_close(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#define AUTO_FREE __attribute__((cleanup(auto_free)))
#define AUTO_CLOSE __attribute__((cleanup(auto_close)))

/*
 * DEFINE_AUTO(noun, release) once beside the noun's prototypes, then
 * AUTO(noun) local = NULL; releases it at the end of its block.
 */
#define DEFINE_AUTO(noun, release)                      \
	static inline void auto_##noun(struct noun **p) \
	{                                               \
		release(*p);                            \
	}                                               \
	struct noun
#define AUTO(noun) __attribute__((cleanup(auto_##noun))) struct noun *

#endif
