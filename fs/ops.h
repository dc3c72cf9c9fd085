/*
 * The kernel-facing surface: one function for each FUSE request.
 *
 * Userdata is a struct server. Every callback replies exactly once, at once,
 * but for READ, which reads.h answers. What would change the tree is EROFS.
 */
#ifndef FS_OPS_H
#define FS_OPS_H

#include <fuse_lowlevel.h>

#define REQUEST_SIZE (1u << 20) /* largest READ, in bytes */

extern const struct fuse_lowlevel_ops server_ops;

#endif
