/*
 * Which tokenizer files a model with an adapter has: the adapter's directory
 * comes first.
 *
 * A directory with a vocabulary of its own gives all tokenizer files, so that
 * two tokenizers are never mixed; a chat template of the base stays only where
 * the adapter has none.
 */
#ifndef MERGE_SOURCE_OVERLAY_H
#define MERGE_SOURCE_OVERLAY_H

#include <stdbool.h>

struct source;

enum overlay_place {
	OVERLAY_BASE,	 /* the base's file, if it has it */
	OVERLAY_ADAPTER, /* the adapter's */
	OVERLAY_NOWHERE, /* neither's: the base's would not fit */
};

/* NULL-ended: the files that are of a tokenizer. */
extern const char *const overlay_files[];

/* Is it one of those, or one of a template's? */
bool overlay_is_tokenizer(const char *relative);

enum overlay_place overlay_find(const struct source *adapter,
				const char *relative);

#endif
