#include "fs/reads.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "fs/failure.h"
#include "fs/log.h"
#include "fs/server.h"
#include "fs/streams.h"
#include "merge/output/image.h"
#include "merge/output/merge.h"

#define N_SPARE 64 /* as many as the kernel has in flight in the background */

struct read_request {
	struct image_read read;
	struct server *server;
	fuse_req_t req;
	bool answered; /* with data */
	struct read_request *next;
};

struct reads {
	pthread_mutex_t lock;
	pthread_cond_t idle;
	struct read_counters counters;
	unsigned n_others;	    /* in flight, and not reads */
	struct read_request *spare; /* owned */
	unsigned n_spare;
};

int reads_new(struct reads **ret)
{
	struct reads *reads = calloc(1, sizeof(*reads));
	pthread_condattr_t attr;

	if (!reads)
		return -ENOMEM;
	pthread_mutex_init(&reads->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&reads->idle, &attr);
	pthread_condattr_destroy(&attr);
	*ret = reads;
	return 0;
}

void reads_free(struct reads *reads)
{
	if (!reads)
		return;
	while (reads->spare) {
		struct read_request *request = reads->spare;
		reads->spare = request->next;
		free(request);
	}
	pthread_cond_destroy(&reads->idle);
	pthread_mutex_destroy(&reads->lock);
	free(reads);
}

static struct read_request *get_request(struct reads *reads)
{
	pthread_mutex_lock(&reads->lock);
	struct read_request *request = reads->spare;
	if (request) {
		reads->spare = request->next;
		reads->n_spare--;
	}
	reads->counters.n_flying++;
	pthread_mutex_unlock(&reads->lock);
	return request ? request : malloc(sizeof(*request));
}

/* With the lock held. */
static bool is_idle(const struct reads *reads)
{
	return reads->counters.n_flying == 0 && reads->n_others == 0;
}

static void tell_idle(struct reads *reads)
{
	if (is_idle(reads))
		pthread_cond_broadcast(&reads->idle);
}

static void count(struct read_counters *counters, const struct image_read *read)
{
	counters->n++;
	counters->bytes += read->size;
	counters->roads.literal += read->roads.literal;
	counters->roads.copied += read->roads.copied;
	counters->roads.memory += read->roads.memory;
	counters->roads.waited += read->roads.waited;
}

static void put_request(struct reads *reads, struct read_request *request)
{
	pthread_mutex_lock(&reads->lock);
	if (request && request->answered)
		count(&reads->counters, &request->read);
	if (request && reads->n_spare < N_SPARE) {
		request->next = reads->spare;
		reads->spare = request;
		reads->n_spare++;
		request = NULL;
	}
	reads->counters.n_flying--;
	tell_idle(reads);
	pthread_mutex_unlock(&reads->lock);
	free(request);
}

void reads_enter(struct reads *reads)
{
	pthread_mutex_lock(&reads->lock);
	reads->n_others++;
	pthread_mutex_unlock(&reads->lock);
}

void reads_leave(struct reads *reads)
{
	pthread_mutex_lock(&reads->lock);
	reads->n_others--;
	tell_idle(reads);
	pthread_mutex_unlock(&reads->lock);
}

int reads_wait(struct reads *reads, unsigned seconds)
{
	struct timespec deadline;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += seconds;
	pthread_mutex_lock(&reads->lock);
	while (!is_idle(reads) && r == 0)
		r = pthread_cond_timedwait(&reads->idle, &reads->lock,
					   &deadline);
	r = is_idle(reads) ? 0 : -ETIMEDOUT;
	pthread_mutex_unlock(&reads->lock);
	return r;
}

void reads_counters(struct reads *reads, struct read_counters *ret)
{
	pthread_mutex_lock(&reads->lock);
	*ret = reads->counters;
	pthread_mutex_unlock(&reads->lock);
}

static void report(const struct read_request *request, int r)
{
	const struct server *server = request->server;
	const struct image_read *read = &request->read;
	uint64_t topic = (uint64_t)read->entry << 32 | (uint32_t)-r;
	unsigned skipped;
	struct error err;

	/* The kernel asks again for what it read ahead, page by page. */
	if (!log_due(server->log, topic, &skipped))
		return;
	failure_describe(server->merge, read->entry, read->offset, read->size,
			 r, &err);
	if (skipped > 0)
		log_line(server->log, LOG_ERR,
			 "%s (and %u more such failures before)", err.text,
			 skipped);
	else
		log_line(server->log, LOG_ERR, "%s", err.text);
}

/* ESTALE would make the kernel look the file up again. */
static int reader_error(int r)
{
	return r == -ENOMEM ? ENOMEM : EIO;
}

/* More pieces than one writev() takes: many tiny tensors. */
static int reply_copy(const struct read_request *request)
{
	const struct image_read *read = &request->read;
	AUTO_FREE char *copy = malloc(read->size);
	size_t at = 0;

	if (!copy)
		return fuse_reply_err(request->req, ENOMEM);
	for (size_t i = 0; i < read->n_iov; i++) {
		memcpy(copy + at, read->iov[i].iov_base, read->iov[i].iov_len);
		at += read->iov[i].iov_len;
	}
	return fuse_reply_buf(request->req, copy, at);
}

static void finish(struct image_read *read, int r)
{
	struct read_request *request =
		CONTAINER_OF(read, struct read_request, read);

	/* A reply that fails has lost its reader, which is no error. */
	if (r < 0) {
		report(request, r);
		fuse_reply_err(request->req, reader_error(r));
	} else if (read->n_iov < IOV_MAX) {
		fuse_reply_iov(request->req, read->iov, (int)read->n_iov);
	} else {
		reply_copy(request);
	}
	request->answered = r == 0;
	image_read_done(read);
	put_request(request->server->reads, request);
}

static void fetch_ahead(struct server *server, uint32_t entry, uint64_t offset,
			uint64_t size)
{
	const struct merge *merge = server->merge;
	struct stream_read read = {entry, offset, size};
	struct stream_range ahead;

	if (streams_note(server->streams, &read, &ahead) &&
	    !pressure_is_short(&server->pressure))
		image_prefetch(merge->image, merge->engine, entry, ahead.offset,
			       ahead.size);
}

void reads_start(struct server *server, fuse_req_t req, uint32_t entry,
		 uint64_t offset, size_t size)
{
	const struct merge *merge = server->merge;

	struct read_request *request = get_request(server->reads);
	if (!request) {
		fuse_reply_err(req, ENOMEM);
		put_request(server->reads, NULL);
		return;
	}
	*request = (struct read_request){
		.read =
			{
				.engine = merge->engine,
				.entry = entry,
				.offset = offset,
				.size = size,
				.done = finish,
			},
		.server = server,
		.req = req,
	};
	image_read(merge->image, &request->read);
	fetch_ahead(server, entry, offset, size);
}
