#include "fs/server.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "fs/assembler.h"
#include "fs/backing.h"
#include "fs/header.h"
#include "fs/reads.h"
#include "fs/streams.h"
#include "merge/output/image.h"
#include "merge/output/merge.h"
#include "merge/source/file.h"
#include "util/range.h"

#define FILE_MODE (S_IFREG | 0444)
#define CONTROL_MODE (S_IFREG | 0400)
#define FOLDER_MODE (S_IFDIR | 0555)

/* Ahead of one run of reads: enough for every thread to find its next block. */
#define WINDOW (16 * BLOCK_SIZE)

/* Within a part of the memory that there is. */
static int make_streams(const struct merge_options *options,
			struct streams **ret)
{
	return streams_new(min_u64(WINDOW, options->memory / 8),
			   options->memory / 4, ret);
}

int server_new(const struct server_options *options, struct server **ret)
{
	const struct merge *merge = options->merge;
	AUTO(server) server = calloc(1, sizeof(*server));
	if (!server)
		return -ENOMEM;
	server->merge = merge;
	server->log = options->log;
	server->recipe = options->recipe;
	server->mountpoint = options->mountpoint;
	clock_gettime(CLOCK_MONOTONIC, &server->began);
	server->entries = image_entries(merge->image, &server->n_entries);
	server->time = image_time(merge->image);
	server->uid = getuid();
	server->gid = getgid();
	server->pressure.root = "";

	int r = reads_new(&server->reads);
	if (r < 0)
		return r;
	r = make_streams(&merge->options, &server->streams);
	if (r < 0)
		return r;
	r = backings_new(server->n_entries, &server->backings);
	if (r < 0)
		return r;
	struct assembler_options assembler = {
		.merge = merge,
		.reads = server->reads,
		.backings = server->backings,
		.log = server->log,
	};
	/* Only root may pass files through. */
	if (merge->disk && !options->no_whole && geteuid() == 0)
		r = assembler_new(&assembler, &server->assembler);
	if (r < 0)
		return r;
	*ret = TAKE(server);
	return 0;
}

void server_free(struct server *server)
{
	if (!server)
		return;
	assembler_free(server->assembler);
	reads_free(server->reads);
	streams_free(server->streams);
	backings_free(server->backings);
	free(server);
}

const struct image_entry *server_entry(const struct server *server,
				       uint64_t ino)
{
	return ino >= 1 && ino <= server->n_entries ? &server->entries[ino - 1]
						    : NULL;
}

uint64_t server_ino(const struct server *server,
		    const struct image_entry *entry)
{
	return (uint64_t)(entry - server->entries) + 1;
}

static unsigned count_folders(const struct server *server,
			      const struct image_entry *folder)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < folder->n; i++)
		n += server->entries[folder->first + i].directory;
	return n;
}

uint64_t server_control_ino(const struct server *server)
{
	return (uint64_t)server->n_entries + 1;
}

void server_stat_control(const struct server *server, struct stat *ret)
{
	*ret = (struct stat){
		.st_ino = server_control_ino(server),
		.st_mode = CONTROL_MODE,
		.st_nlink = 1,
		.st_uid = server->uid,
		.st_gid = server->gid,
		.st_atim = server->time,
		.st_mtim = server->time,
		.st_ctim = server->time,
	};
}

int server_find_backing(void *arg, uint32_t entry, bool *ret_close)
{
	const struct server *server = arg;
	const struct file *file = image_copy_of(server->merge->image, entry);

	*ret_close = !file;
	if (!file)
		return server->assembler
			       ? assembler_find(server->assembler, entry)
			       : -ENOENT;
	/* One that has changed gives errors, by the usual road. */
	int r = file_check(file);
	return r < 0 ? r : file->fd;
}

void server_prepare(void *arg, uint32_t entry)
{
	header_store(arg, entry);
}

void server_stat(const struct server *server, const struct image_entry *entry,
		 struct stat *ret)
{
	*ret = (struct stat){
		.st_ino = server_ino(server, entry),
		.st_mode = entry->directory ? FOLDER_MODE : FILE_MODE,
		.st_nlink = 1,
		.st_uid = server->uid,
		.st_gid = server->gid,
		.st_size = (off_t)entry->size,
		.st_blocks = (blkcnt_t)(round_up(entry->size, 512) / 512),
		.st_blksize = BLOCK_SIZE,
		.st_atim = server->time,
		.st_mtim = server->time,
		.st_ctim = server->time,
	};
	if (entry->directory)
		ret->st_nlink = 2 + count_folders(server, entry);
}
