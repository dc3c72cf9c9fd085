/*
 * Views: whole files mapped for reading, so that tensors are evaluated from the
 * page cache itself.
 *
 * What a signal would say of a mapped file is made an answer here: a page that
 * cannot be brought (the file was cut, the disk fails) reads as zeros, and the
 * view is *torn* from then on. Whoever has evaluated from a view asks
 * afterwards, and reads the file instead.
 *
 * The program's SIGBUS is handled here from the first view on; one that no view
 * caused goes on to the handler before.
 *
 * Every function may be called from any thread.
 */
#ifndef MERGE_SOURCE_VIEW_H
#define MERGE_SOURCE_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct view;

/* Of the first `size` bytes of the file; NULL if that cannot be had. */
struct view *view_new(int fd, uint64_t size);
void view_free(struct view *view);

/* (size,) of view_new(). */
const unsigned char *view_data(const struct view *view);
bool view_torn(const struct view *view);

/*
 * A range is not looked at any more, or not now. The process keeps it mapped
 * until others were let go of after it, view_keep() bytes of all views
 * together, for whoever looks at it again; then its pages are left to the page
 * cache. While it is looked at, up to 2 MiB of the file at either end of it may
 * count as the process's memory, too.
 */
void view_let_go(const struct view *view, uint64_t offset, uint64_t size);

/* How much is kept, of all views; at first nothing. */
void view_keep(uint64_t size);

#endif
