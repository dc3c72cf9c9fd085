/*
 * Callbacks for what a read-only tree cannot do: EROFS. The kernel refuses
 * most of it by itself, but not after a remount.
 */
#ifndef FS_REFUSE_H
#define FS_REFUSE_H

#include <fuse_lowlevel.h>

void refuse_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr,
		    int to_set, struct fuse_file_info *fi);
void refuse_mknod(fuse_req_t req, fuse_ino_t parent, const char *name,
		  mode_t mode, dev_t rdev);
void refuse_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name,
		  mode_t mode);
void refuse_name(fuse_req_t req, fuse_ino_t ino, const char *name);
void refuse_symlink(fuse_req_t req, const char *link, fuse_ino_t parent,
		    const char *name);
void refuse_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
		   fuse_ino_t new_parent, const char *new_name,
		   unsigned int flags);
void refuse_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent,
		 const char *new_name);
void refuse_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size,
		  off_t offset, struct fuse_file_info *fi);
void refuse_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
		     const char *value, size_t size, int flags);
void refuse_create(fuse_req_t req, fuse_ino_t parent, const char *name,
		   mode_t mode, struct fuse_file_info *fi);
void refuse_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset,
		      off_t length, struct fuse_file_info *fi);

#endif
