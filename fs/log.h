/*
 * What the daemon has to say once nobody looks at a terminal: one line for one
 * event, to syslog, or to stderr in the foreground.
 *
 * Every function may be called from any thread.
 */
#ifndef FS_LOG_H
#define FS_LOG_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <syslog.h>
#include <time.h>

#include "util/macros.h"

#define LOG_TOPICS 64

struct log_topic {
	uint64_t topic;
	time_t since; /* monotonic; of the last line; 0: none */
	unsigned skipped;
};

struct log {
	const char *program;
	bool to_stderr;
	pthread_mutex_t lock;
	struct log_topic topics[LOG_TOPICS];
};

void log_init(struct log *log, const char *program, bool to_stderr);
void log_done(struct log *log);

/* priority is syslog's: LOG_ERR, LOG_WARNING, LOG_INFO. */
void log_line(struct log *log, int priority, const char *format, ...)
	PRINTF(3, 4);

/*
 * Is a line about this topic due? Not if there was one within the last minute.
 * *ret_skipped is how many were not due since then.
 */
bool log_due(struct log *log, uint64_t topic, unsigned *ret_skipped);

#endif
