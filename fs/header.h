/*
 * Headers of weights in the page cache before anybody reads them.
 *
 * A loader reads the header of every shard first. The kernel would read on into
 * the first tensor, and the loader wait for that to be scanned and computed.
 */
#ifndef FS_HEADER_H
#define FS_HEADER_H

#include <stdint.h>

struct server;

/*
 * Stores the pages of a file that are known without computing, if others come
 * behind them. Blocks while the kernel has one of these pages locked, which a
 * read in flight does: so only before a file that nobody has open is opened.
 * On failure they are read as all others are.
 */
void header_store(struct server *server, uint32_t entry);

#endif
