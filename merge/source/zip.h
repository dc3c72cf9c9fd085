/*
 * Archives of the zip format, as torch.save writes them: entries stored as they
 * are, sizes of 64 bits. Compressed or encrypted entries, and archives with a
 * comment or in parts, are refused.
 */
#ifndef MERGE_SOURCE_ZIP_H
#define MERGE_SOURCE_ZIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

struct file;

struct zip_entry {
	const char *name; /* (length,) no NUL behind it; borrowed from the zip
			   */
	size_t length;
	uint64_t header; /* where its own header begins */
	uint64_t size;	 /* bytes of its data */
};

struct zip {
	const struct file *file;   /* borrowed */
	unsigned char *directory;  /* owned */
	struct zip_entry *entries; /* (n_entries,) by name; owned */
	size_t n_entries;
};

/* Does the file begin as an archive does? */
bool zip_looks_like(const struct file *file);

int zip_open(const struct file *file, struct zip *ret, struct error *err);
void zip_done(struct zip *zip);

/* The entry whose name is `folder`, (length,), and `name` behind it; or NULL.
 */
const struct zip_entry *zip_find(const struct zip *zip, const char *folder,
				 size_t length, const char *name);

/* Where the entry's data begin in the file, all of which lie in it. */
int zip_place(const struct zip *zip, const struct zip_entry *entry,
	      uint64_t *ret, struct error *err);

#endif
