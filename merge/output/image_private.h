/*
 * What image.c shows to read.c.
 */
#ifndef MERGE_OUTPUT_IMAGE_PRIVATE_H
#define MERGE_OUTPUT_IMAGE_PRIVATE_H

#include <stdint.h>

#include "merge/output/extent.h"

struct image;

const struct extents *image_extents(const struct image *image, uint32_t entry);

#endif
