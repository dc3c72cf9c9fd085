/*
 * The kernel reads ahead 128 KiB from a FUSE mount unless somebody tells it
 * better, too little for a merge to be computed by several threads.
 */
#ifndef FS_READAHEAD_H
#define FS_READAHEAD_H

#include <stdint.h>

#define READAHEAD_KB 8192

/*
 * Raises the readahead of a mount to READAHEAD_KB, which only root may do. path
 * is resolved. 0, or negative errno; then ret_setting, if it could be found, is
 * the file to be written to (else "").
 */
int readahead_raise(const char *path, char ret_setting[64]);

#endif
