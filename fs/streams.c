#include "fs/streams.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define N_CURSORS 8
#define SLACK ((uint64_t)1 << 20) /* how far out of order reads may come */
#define STEP ((uint64_t)1 << 20)  /* what is fetched ahead ends on these */
#define RUN 3			  /* reads that make a run */

struct cursor {
	uint64_t end;	/* of the furthest read of the run */
	uint64_t ahead; /* all before this has been named */
	unsigned run;	/* reads; 0: free */
};

struct file_cursors {
	struct cursor cursors[N_CURSORS];
	unsigned next; /* to be replaced */
};

struct streams {
	pthread_mutex_t lock;
	uint64_t window;
	struct file_cursors files[]; /* (n_files,) */
};

int streams_new(uint32_t n_files, uint64_t window, struct streams **ret)
{
	struct streams *streams = calloc(
		1, sizeof(*streams) + n_files * sizeof(struct file_cursors));
	if (!streams)
		return -ENOMEM;
	pthread_mutex_init(&streams->lock, NULL);
	streams->window = window;
	*ret = streams;
	return 0;
}

void streams_free(struct streams *streams)
{
	if (!streams)
		return;
	pthread_mutex_destroy(&streams->lock);
	free(streams);
}

static struct cursor *find_cursor(struct file_cursors *file, uint64_t offset)
{
	for (unsigned i = 0; i < N_CURSORS; i++) {
		struct cursor *cursor = &file->cursors[i];
		if (cursor->run && offset + SLACK >= cursor->end &&
		    offset <= cursor->end + SLACK)
			return cursor;
	}
	return NULL;
}

static void start_cursor(struct file_cursors *file, uint64_t end)
{
	struct cursor *cursor = &file->cursors[file->next];

	*cursor = (struct cursor){.end = end, .ahead = end, .run = 1};
	file->next = (file->next + 1) % N_CURSORS;
}

static bool advance(struct cursor *cursor, uint64_t end, uint64_t window,
		    struct stream_range *ret)
{
	if (cursor->run < RUN)
		cursor->run++;
	if (end > cursor->end)
		cursor->end = end;
	if (cursor->ahead < cursor->end)
		cursor->ahead = cursor->end;

	uint64_t until = (cursor->end + window) / STEP * STEP;
	if (cursor->run < RUN || until <= cursor->ahead)
		return false;
	ret->offset = cursor->ahead;
	ret->size = until - cursor->ahead;
	cursor->ahead = until;
	return true;
}

bool streams_note(struct streams *streams, uint32_t file, uint64_t offset,
		  uint64_t size, struct stream_range *ret)
{
	struct file_cursors *cursors = &streams->files[file];
	bool found = false;

	pthread_mutex_lock(&streams->lock);
	struct cursor *cursor = find_cursor(cursors, offset);
	if (cursor)
		found = advance(cursor, offset + size, streams->window, ret);
	else
		start_cursor(cursors, offset + size);
	pthread_mutex_unlock(&streams->lock);
	return found;
}
