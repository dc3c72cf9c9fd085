/*
 * model.safetensors.index.json: which tensor is in which shard.
 */
#ifndef MERGE_SOURCE_INDEX_H
#define MERGE_SOURCE_INDEX_H

#include <stddef.h>

#include "util/error.h"

struct file;

struct index_entry {
	char *tensor; /* owned */
	size_t shard; /* place in shards */
};

struct index {
	char **shards; /* (n_shards,) file names, each once; owned */
	size_t n_shards;
	struct index_entry *entries; /* (n_entries,) owned */
	size_t n_entries;
};

/* -EINVAL with a sentence that names the index and what is wrong. */
int index_read(const struct file *file, struct index *ret, struct error *err);

/* The same from memory; path is for sentences only. */
int index_parse(const char *text, size_t size, const char *path,
		struct index *ret, struct error *err);
void index_done(struct index *index);

#endif
