/*
 * Puts files together whose blocks are all stored, into whole files in the
 * cache (cache/whole.h), so that they can be passed through (backing.h): a
 * thread of low priority that works while nobody reads.
 *
 * A file of copied tensors has no blocks to wait for: it is put together when
 * somebody has opened it. One that is all of a source file is never written a
 * second time. Every function may be called from any thread.
 */
#ifndef FS_ASSEMBLER_H
#define FS_ASSEMBLER_H

#include <stdint.h>

#include "util/macros.h"

struct assembler;
struct backings;
struct log;
struct merge;
struct reads;

struct assembler_options {	   /* all borrowed */
	const struct merge *merge; /* started, with a cache on disk */
	struct reads *reads;	   /* to see whether anybody reads */
	struct backings *backings; /* to see whether whole files are of use */
	struct log *log;
};

int assembler_new(const struct assembler_options *options,
		  struct assembler **ret);

/* Gives up what it is at. */
void assembler_free(struct assembler *assembler);
DEFINE_AUTO(assembler, assembler_free);

/* A descriptor of a whole file, the caller's, or -ENOENT. Opened when it is
 * wanted, so that one that was touched is not used, and the space of one that
 * was removed is not held. */
int assembler_find(struct assembler *assembler, uint32_t entry);

#endif
