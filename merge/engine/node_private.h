/* Between node.c and the kinds of nodes in files of their own. */
#ifndef MERGE_ENGINE_NODE_PRIVATE_H
#define MERGE_ENGINE_NODE_PRIVATE_H

#include "merge/engine/node.h"

/* Part of every digest: a change of any number that a node gives changes it. */
#define ENGINE_VERSION "mkfs-mount engine 2"

struct hasher;

void node_hash_shape(struct hasher *hasher, const struct shape *shape);

#endif
