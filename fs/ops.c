#include "fs/ops.h"

#include <errno.h>
#include <pthread.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "fs/answer.h"
#include "fs/backing.h"
#include "fs/control.h"
#include "fs/reads.h"
#include "fs/refuse.h"
#include "fs/server.h"
#include "merge/output/image.h"
#include "merge/output/merge.h"
#include "util/macros.h"
#include "util/range.h"

#define FOREVER 1e9 /* seconds that the kernel may keep what never changes */

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct server *server = userdata;
	const unsigned wanted =
		FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO |
		FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_READDIRPLUS |
		FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_EXPLICIT_INVAL_DATA;
	const unsigned unwanted = FUSE_CAP_AUTO_INVAL_DATA |
				  FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE |
				  FUSE_CAP_SPLICE_MOVE;

	conn->want |= conn->capable & wanted;
	conn->want &= ~unwanted;
	/* The number of pages in a READ comes from max_write. */
	conn->max_read = REQUEST_SIZE;
	conn->max_write = REQUEST_SIZE;
	conn->max_background = 64;
	conn->congestion_threshold = 48;
	atomic_store(&server->ready, true);
}

static void fill_entry(const struct server *server,
		       const struct image_entry *entry,
		       struct fuse_entry_param *ret)
{
	*ret = (struct fuse_entry_param){
		.attr_timeout = FOREVER,
		.entry_timeout = FOREVER,
	};
	if (!entry) /* a name that is not there may be kept, too */
		return;
	ret->ino = server_ino(server, entry);
	server_stat(server, entry, &ret->attr);
}

/* "." and ".." are asked for when the mount is exported by NFS. */
static const struct image_entry *find_name(const struct server *server,
					   const struct image_entry *folder,
					   const char *name)
{
	if (strcmp(name, ".") == 0)
		return folder;
	if (strcmp(name, "..") == 0)
		return &server->entries[folder->parent];
	return image_lookup(server->merge->image,
			    (uint32_t)(folder - server->entries), name);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	const struct server *server = fuse_req_userdata(req);
	const struct image_entry *folder = server_entry(server, parent);
	struct fuse_entry_param found;

	if (!folder || !folder->directory) {
		fuse_reply_err(req, folder ? ENOTDIR : ESTALE);
		return;
	}
	if (strlen(name) > NAME_MAX) {
		fuse_reply_err(req, ENAMETOOLONG);
		return;
	}
	const struct image_entry *entry = find_name(server, folder, name);
	fill_entry(server, entry, &found);
	if (!entry && parent == FUSE_ROOT_ID &&
	    strcmp(name, CONTROL_NAME) == 0) {
		found.ino = server_control_ino(server);
		server_stat_control(server, &found.attr);
	}
	fuse_reply_entry(req, &found);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino,
		       struct fuse_file_info *fi UNUSED)
{
	const struct server *server = fuse_req_userdata(req);
	const struct image_entry *entry = server_entry(server, ino);
	struct stat st;

	if (ino == server_control_ino(server)) {
		server_stat_control(server, &st);
	} else if (entry) {
		server_stat(server, entry, &st);
	} else {
		fuse_reply_err(req, ESTALE);
		return;
	}
	fuse_reply_attr(req, &st, FOREVER);
}

/* The kernel judges by mode and owner; this is for when it does not. */
static bool may_control(const struct server *server, fuse_req_t req)
{
	uid_t uid = fuse_req_ctx(req)->uid;

	return uid == 0 || uid == server->uid;
}

/* What the control file says, while it is open. */
struct control_text {
	/* The kernel releases it after the last reply only; but that is an
	 * order which tools that look for races cannot see. */
	pthread_mutex_t lock;
	size_t length;
	char *text; /* owned */
};

static void control_text_free(struct control_text *control)
{
	if (!control)
		return;
	pthread_mutex_lock(&control->lock);
	pthread_mutex_unlock(&control->lock);
	pthread_mutex_destroy(&control->lock);
	free(control->text);
	free(control);
}

static struct control_text *control_text_new(struct server *server)
{
	struct control_text *control = calloc(1, sizeof(*control));

	if (!control)
		return NULL;
	pthread_mutex_init(&control->lock, NULL);
	control->text = answer_status(server);
	if (!control->text) {
		control_text_free(control);
		return NULL;
	}
	control->length = strlen(control->text);
	return control;
}

static void open_control(struct server *server, fuse_req_t req,
			 struct fuse_file_info *fi)
{
	struct control_text *control =
		may_control(server, req) ? control_text_new(server) : NULL;

	if (!control) {
		fuse_reply_err(req, may_control(server, req) ? ENOMEM : EACCES);
		return;
	}
	fi->fh = (uintptr_t)control;
	fi->direct_io = 1; /* its size is not known */
	if (fuse_reply_open(req, fi) == -ENOENT)
		control_text_free(control);
}

static void read_control(fuse_req_t req, size_t size, off_t offset,
			 const struct fuse_file_info *fi)
{
	struct control_text *control = (struct control_text *)(uintptr_t)fi->fh;

	pthread_mutex_lock(&control->lock);
	size_t from = min_u64((uint64_t)offset, control->length);
	size_t n = min_u64(size, control->length - from);
	AUTO_FREE char *copy = malloc(n + 1);
	if (copy)
		memcpy(copy, control->text + from, n);
	pthread_mutex_unlock(&control->lock);
	if (copy)
		fuse_reply_buf(req, copy, n);
	else
		fuse_reply_err(req, ENOMEM);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct server *server = fuse_req_userdata(req);
	const struct image_entry *entry = server_entry(server, ino);

	if (ino == server_control_ino(server)) {
		open_control(server, req, fi);
		return;
	}
	if (!entry || entry->directory) {
		fuse_reply_err(req, entry ? EISDIR : ESTALE);
		return;
	}
	if ((fi->flags & O_ACCMODE) != O_RDONLY || fi->flags & O_TRUNC) {
		fuse_reply_err(req, EROFS);
		return;
	}
	fi->keep_cache = 1;
	fi->noflush = 1;
	backings_open(server->backings, req, (uint32_t)(ino - 1), fi,
		      server_find_backing, server_prepare, server);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		    struct fuse_file_info *fi)
{
	struct server *server = fuse_req_userdata(req);
	const struct image_entry *entry = server_entry(server, ino);

	if (ino == server_control_ino(server) && offset >= 0) {
		read_control(req, size, offset, fi);
		return;
	}
	if (!entry || entry->directory || offset < 0) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	if (size == 0 || (uint64_t)offset >= entry->size) {
		fuse_reply_buf(req, NULL, 0);
		return;
	}
	size = min_u64(size, entry->size - (uint64_t)offset);
	reads_start(server, req, (uint32_t)(ino - 1), (uint64_t)offset, size);
}

static void op_release(fuse_req_t req, fuse_ino_t ino,
		       struct fuse_file_info *fi)
{
	const struct server *server = fuse_req_userdata(req);

	if (ino == server_control_ino(server))
		control_text_free((struct control_text *)(uintptr_t)fi->fh);
	else if (server_entry(server, ino))
		backings_release(server->backings, (uint32_t)(ino - 1));
	fuse_reply_err(req, 0);
}

static void op_releasedir(fuse_req_t req, fuse_ino_t ino UNUSED,
			  struct fuse_file_info *fi UNUSED)
{
	fuse_reply_err(req, 0);
}

static void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned command,
		     void *arg UNUSED, struct fuse_file_info *fi UNUSED,
		     unsigned flags UNUSED, const void *data, size_t size,
		     size_t room UNUSED)
{
	struct server *server = fuse_req_userdata(req);

	if (ino == server_control_ino(server) && command == CONTROL_WARM)
		answer_warm(server, req, data, size);
	else
		fuse_reply_err(req, ENOTTY);
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino,
		       struct fuse_file_info *fi)
{
	const struct server *server = fuse_req_userdata(req);
	const struct image_entry *entry = server_entry(server, ino);

	if (!entry || !entry->directory) {
		fuse_reply_err(req, entry ? ENOTDIR : ESTALE);
		return;
	}
	fi->keep_cache = 1;
	fi->cache_readdir = 1;
	fuse_reply_open(req, fi);
}

/* A folder's entries in order: itself, its parent, its children. */
static const struct image_entry *nth_entry(const struct server *server,
					   const struct image_entry *folder,
					   uint64_t n, const char **ret_name)
{
	const struct image_entry *entry;

	if (n >= 2 + (uint64_t)folder->n)
		return NULL;
	if (n < 2) {
		*ret_name = n == 0 ? "." : "..";
		return n == 0 ? folder : &server->entries[folder->parent];
	}
	entry = &server->entries[folder->first + n - 2];
	*ret_name = entry->name;
	return entry;
}

static size_t add_entry(fuse_req_t req, const struct image_entry *entry,
			const char *name, bool plus, off_t next, char *data,
			size_t room)
{
	const struct server *server = fuse_req_userdata(req);
	struct fuse_entry_param param;

	fill_entry(server, entry, &param);
	if (!plus)
		return fuse_add_direntry(req, data, room, name, &param.attr,
					 next);
	/* Inode 0: an entry of the list, not a lookup. */
	if (next <= 2)
		param.ino = 0;
	return fuse_add_direntry_plus(req, data, room, name, &param, next);
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		 bool plus)
{
	const struct server *server = fuse_req_userdata(req);
	const struct image_entry *folder = server_entry(server, ino);
	AUTO_FREE char *data = malloc(size);
	size_t used = 0;

	if (!folder || !folder->directory || !data) {
		fuse_reply_err(req, data ? ENOTDIR : ENOMEM);
		return;
	}
	for (uint64_t n = (uint64_t)offset;; n++) {
		const char *name;
		const struct image_entry *entry =
			nth_entry(server, folder, n, &name);
		if (!entry)
			break;
		size_t length =
			add_entry(req, entry, name, plus, (off_t)(n + 1),
				  data + used, size - used);
		if (length > size - used)
			break;
		used += length;
	}
	fuse_reply_buf(req, data, used);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size,
		       off_t offset, struct fuse_file_info *fi UNUSED)
{
	list(req, ino, size, offset, false);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size,
			   off_t offset, struct fuse_file_info *fi UNUSED)
{
	list(req, ino, size, offset, true);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino UNUSED)
{
	const struct server *server = fuse_req_userdata(req);
	const uint64_t unit = 4096;
	struct statvfs st = {
		.f_bsize = unit,
		.f_frsize = unit,
		.f_blocks =
			round_up(image_size(server->merge->image), unit) / unit,
		.f_files = server->n_entries,
		.f_namemax = NAME_MAX,
	};

	fuse_reply_statfs(req, &st);
}

static void op_getxattr(fuse_req_t req, fuse_ino_t ino UNUSED,
			const char *name UNUSED, size_t size UNUSED)
{
	fuse_reply_err(req, ENODATA);
}

static void op_listxattr(fuse_req_t req, fuse_ino_t ino UNUSED, size_t size)
{
	if (size == 0)
		fuse_reply_xattr(req, 0);
	else
		fuse_reply_buf(req, NULL, 0);
}

const struct fuse_lowlevel_ops server_ops = {
	.init = op_init,
	.lookup = op_lookup,
	.getattr = op_getattr,
	.open = op_open,
	.read = op_read,
	.release = op_release,
	.ioctl = op_ioctl,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.releasedir = op_releasedir,
	.statfs = op_statfs,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.setattr = refuse_setattr,
	.mknod = refuse_mknod,
	.mkdir = refuse_mkdir,
	.unlink = refuse_name,
	.rmdir = refuse_name,
	.symlink = refuse_symlink,
	.rename = refuse_rename,
	.link = refuse_link,
	.write = refuse_write,
	.setxattr = refuse_setxattr,
	.removexattr = refuse_name,
	.create = refuse_create,
	.fallocate = refuse_fallocate,
};
