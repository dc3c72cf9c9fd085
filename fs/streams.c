#include "fs/streams.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "util/range.h"

#define N_CURSORS 64
#define SLACK ((uint64_t)1 << 20) /* how far out of order reads may come, */
#define SLACK_READS 4		  /* but not by more than so many reads */
#define STEP ((uint64_t)1 << 20)  /* what is fetched ahead ends on these */
#define RUN 3			  /* reads that make a run */
#define RECENT 256 /* a run is over when so many reads were of others */

struct cursor {
	uint32_t file;
	unsigned run;	/* reads; 0: free */
	uint64_t end;	/* of the furthest read of the run */
	uint64_t ahead; /* all before this has been named; at least end */
	uint64_t last;	/* when it was read, by the count of reads */
};

struct streams {
	pthread_mutex_t lock;
	uint64_t window, total;
	uint64_t n_reads;
	struct cursor cursors[N_CURSORS];
};

int streams_new(uint64_t window, uint64_t total, struct streams **ret)
{
	struct streams *streams = calloc(1, sizeof(*streams));
	if (!streams)
		return -ENOMEM;
	pthread_mutex_init(&streams->lock, NULL);
	streams->window = window;
	streams->total = total;
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

static bool matches(const struct cursor *cursor, const struct stream_read *read)
{
	/* Small reads that are near each other by chance are no run. */
	uint64_t slack = min_u64(SLACK, SLACK_READS * read->size);

	return cursor->run && cursor->file == read->file &&
	       read->offset + slack >= cursor->end &&
	       read->offset <= cursor->ahead + slack;
}

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

/* The run that a read goes on with, else NULL. */
static struct cursor *find_cursor(struct streams *streams,
				  const struct stream_read *read)
{
	struct cursor *found = NULL;

	for (unsigned i = 0; i < N_CURSORS; i++) {
		struct cursor *cursor = &streams->cursors[i];
		if (matches(cursor, read) &&
		    (!found || distance(cursor->end, read->offset) <
				       distance(found->end, read->offset)))
			found = cursor;
	}
	return found;
}

/* In place of what was read longest ago. */
static struct cursor *start_cursor(struct streams *streams,
				   const struct stream_read *read)
{
	struct cursor *oldest = &streams->cursors[0];

	for (unsigned i = 1; i < N_CURSORS; i++) {
		struct cursor *cursor = &streams->cursors[i];
		if (cursor->last < oldest->last)
			oldest = cursor;
	}
	*oldest = (struct cursor){
		.file = read->file,
		.end = read->offset,
		.ahead = read->offset,
	};
	return oldest;
}

/* Bytes to be ahead of one of the runs under way. */
static uint64_t window_of_each(const struct streams *streams)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < N_CURSORS; i++) {
		const struct cursor *cursor = &streams->cursors[i];
		n += cursor->run >= RUN &&
		     streams->n_reads - cursor->last < RECENT;
	}
	return min_u64(streams->window, n > 0 ? streams->total / n : 0);
}

static bool advance(struct cursor *cursor, uint64_t until,
		    struct stream_range *ret)
{
	if (cursor->run < RUN || until <= cursor->ahead)
		return false;
	ret->offset = cursor->ahead;
	ret->size = until - cursor->ahead;
	cursor->ahead = until;
	return true;
}

/* With the lock held. */
static bool note(struct streams *streams, const struct stream_read *read,
		 struct stream_range *ret)
{
	uint64_t end = read->offset + read->size;

	struct cursor *cursor = find_cursor(streams, read);
	if (!cursor)
		cursor = start_cursor(streams, read);
	cursor->last = ++streams->n_reads;
	if (cursor->run < RUN)
		cursor->run++;
	if (end > cursor->end)
		cursor->end = end;
	if (cursor->end > cursor->ahead)
		cursor->ahead = cursor->end;
	uint64_t until = (cursor->end + window_of_each(streams)) / STEP * STEP;
	return advance(cursor, until, ret);
}

bool streams_note(struct streams *streams, const struct stream_read *read,
		  struct stream_range *ret)
{
	pthread_mutex_lock(&streams->lock);
	bool found = note(streams, read, ret);
	pthread_mutex_unlock(&streams->lock);
	return found;
}
