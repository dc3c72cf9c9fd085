/*
 * The ceiling of any cold read through FUSE on this machine: a daemon that
 * serves one file of a given size from memory, with the settings of the real
 * one. Usage: nullfs MOUNTPOINT SIZE; ends when it is unmounted.
 */
#define FUSE_USE_VERSION 314

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))
#define REQUEST_SIZE ((size_t)1 << 20)
#define MEMORY ((size_t)64 << 20) /* the file is this, over and over */
#define FILE_NAME "file"
#define FILE_INO 2
#define FOREVER 1e9
#define READAHEAD_KIB 8192

struct null {
	uint64_t size;
	char *memory; /* (MEMORY + REQUEST_SIZE,) */
};

static void fill_stat(const struct null *null, fuse_ino_t ino, struct stat *st)
{
	*st = (struct stat){.st_ino = ino, .st_mode = S_IFDIR | 0555};
	st->st_nlink = 2;
	if (ino == FILE_INO) {
		st->st_mode = S_IFREG | 0444;
		st->st_nlink = 1;
		st->st_size = (off_t)null->size;
	}
}

static void op_init(void *userdata UNUSED, struct fuse_conn_info *conn)
{
	conn->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE |
				  FUSE_CAP_SPLICE_MOVE);
	conn->max_read = REQUEST_SIZE;
	conn->max_write = REQUEST_SIZE;
	conn->max_background = 64;
	conn->congestion_threshold = 48;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent UNUSED,
		      const char *name)
{
	struct fuse_entry_param entry = {
		.ino = FILE_INO,
		.attr_timeout = FOREVER,
		.entry_timeout = FOREVER,
	};
	if (strcmp(name, FILE_NAME) != 0) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	fill_stat(fuse_req_userdata(req), FILE_INO, &entry.attr);
	fuse_reply_entry(req, &entry);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino,
		       struct fuse_file_info *fi UNUSED)
{
	struct stat st;

	fill_stat(fuse_req_userdata(req), ino, &st);
	fuse_reply_attr(req, &st, FOREVER);
}

static void op_open(fuse_req_t req, fuse_ino_t ino UNUSED,
		    struct fuse_file_info *fi)
{
	fi->keep_cache = 1;
	fuse_reply_open(req, fi);
}

static void op_read(fuse_req_t req, fuse_ino_t ino UNUSED, size_t size,
		    off_t offset, struct fuse_file_info *fi UNUSED)
{
	const struct null *null = fuse_req_userdata(req);

	if ((uint64_t)offset >= null->size)
		size = 0;
	else if (size > null->size - (uint64_t)offset)
		size = null->size - (uint64_t)offset;
	fuse_reply_buf(req, null->memory + (size_t)offset % MEMORY, size);
}

static const struct fuse_lowlevel_ops ops = {
	.init = op_init,
	.lookup = op_lookup,
	.getattr = op_getattr,
	.open = op_open,
	.read = op_read,
};

/* As the real daemon does where it may. */
static void raise_readahead(const char *mountpoint)
{
	char path[64];
	struct stat st;
	if (stat(mountpoint, &st) < 0)
		return;
	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb",
		 major(st.st_dev), minor(st.st_dev));
	FILE *out = fopen(path, "w");
	if (!out)
		return;
	fprintf(out, "%d", READAHEAD_KIB);
	fclose(out);
}

static int serve(struct fuse_session *session, const char *mountpoint)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	fuse_loop_cfg_set_max_threads(config, 4);
	if (fuse_session_mount(session, mountpoint) != 0)
		return 1;
	pid_t child = fork();
	if (child == 0) {
		raise_readahead(mountpoint);
		_exit(0);
	}
	int r = fuse_session_loop_mt(session, config);
	fuse_session_unmount(session);
	fuse_loop_cfg_destroy(config);
	return r != 0;
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "Usage: nullfs MOUNTPOINT SIZE\n");
		return 2;
	}
	struct null null = {.size = strtoull(argv[2], NULL, 10)};
	null.memory = mmap(NULL, MEMORY + REQUEST_SIZE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (null.memory == MAP_FAILED)
		return 1;
	memset(null.memory, 'x', MEMORY + REQUEST_SIZE);

	char *arguments[] = {argv[0], "-o",
			     "ro,max_read=1048576,subtype=nullfs,fsname=null"};
	struct fuse_args args = FUSE_ARGS_INIT(3, arguments);
	struct fuse_session *session =
		fuse_session_new(&args, &ops, sizeof(ops), &null);
	if (!session)
		return 1;
	fuse_set_signal_handlers(session);
	int status = serve(session, argv[1]);
	fuse_session_destroy(session);
	fuse_opt_free_args(&args);
	return status;
}
