#include "fs/header.h"

#include <fuse_lowlevel.h>
#include <unistd.h>

#include "fs/server.h"
#include "merge/output/image.h"
#include "merge/output/merge.h"

void header_store(struct server *server, uint32_t entry)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t size;

	const char *data = image_header(server->merge->image, entry, &size);
	/* The kernel keeps whole pages only. */
	size -= size % page;
	if (size == 0)
		return;
	struct fuse_bufvec pages = FUSE_BUFVEC_INIT(size);
	pages.buf[0].mem = (char *)data;
	int r = fuse_lowlevel_notify_store(
		server->fuse, server_ino(server, &server->entries[entry]), 0,
		&pages, FUSE_BUF_NO_SPLICE);
	if (r == 0)
		atomic_fetch_add(&server->n_pushed, size);
}
