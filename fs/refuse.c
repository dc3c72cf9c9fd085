#include "fs/refuse.h"

#include <errno.h>

#include "util/macros.h"

void refuse_setattr(fuse_req_t req, fuse_ino_t ino UNUSED,
		    struct stat *attr UNUSED, int to_set UNUSED,
		    struct fuse_file_info *fi UNUSED)
{
	fuse_reply_err(req, EROFS);
}

void refuse_mknod(fuse_req_t req, fuse_ino_t parent UNUSED,
		  const char *name UNUSED, mode_t mode UNUSED,
		  dev_t rdev UNUSED)
{
	fuse_reply_err(req, EROFS);
}

void refuse_mkdir(fuse_req_t req, fuse_ino_t parent UNUSED,
		  const char *name UNUSED, mode_t mode UNUSED)
{
	fuse_reply_err(req, EROFS);
}

void refuse_name(fuse_req_t req, fuse_ino_t ino UNUSED, const char *name UNUSED)
{
	fuse_reply_err(req, EROFS);
}

void refuse_symlink(fuse_req_t req, const char *link UNUSED,
		    fuse_ino_t parent UNUSED, const char *name UNUSED)
{
	fuse_reply_err(req, EROFS);
}

void refuse_rename(fuse_req_t req, fuse_ino_t parent UNUSED,
		   const char *name UNUSED, fuse_ino_t new_parent UNUSED,
		   const char *new_name UNUSED, unsigned int flags UNUSED)
{
	fuse_reply_err(req, EROFS);
}

void refuse_link(fuse_req_t req, fuse_ino_t ino UNUSED,
		 fuse_ino_t new_parent UNUSED, const char *new_name UNUSED)
{
	fuse_reply_err(req, EROFS);
}

void refuse_write(fuse_req_t req, fuse_ino_t ino UNUSED,
		  const char *data UNUSED, size_t size UNUSED,
		  off_t offset UNUSED, struct fuse_file_info *fi UNUSED)
{
	fuse_reply_err(req, EROFS);
}

void refuse_setxattr(fuse_req_t req, fuse_ino_t ino UNUSED,
		     const char *name UNUSED, const char *value UNUSED,
		     size_t size UNUSED, int flags UNUSED)
{
	fuse_reply_err(req, EROFS);
}

void refuse_create(fuse_req_t req, fuse_ino_t parent UNUSED,
		   const char *name UNUSED, mode_t mode UNUSED,
		   struct fuse_file_info *fi UNUSED)
{
	fuse_reply_err(req, EROFS);
}

void refuse_fallocate(fuse_req_t req, fuse_ino_t ino UNUSED, int mode UNUSED,
		      off_t offset UNUSED, off_t length UNUSED,
		      struct fuse_file_info *fi UNUSED)
{
	fuse_reply_err(req, EROFS);
}
