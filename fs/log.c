#include "fs/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define QUIET_SECONDS 60

void log_init(struct log *log, const char *program, bool to_stderr)
{
	memset(log, 0, sizeof(*log));
	log->program = program;
	log->to_stderr = to_stderr;
	pthread_mutex_init(&log->lock, NULL);
	if (!to_stderr)
		openlog(program, LOG_PID, LOG_DAEMON);
}

void log_done(struct log *log)
{
	if (!log->to_stderr)
		closelog();
	pthread_mutex_destroy(&log->lock);
}

void log_line(struct log *log, int priority, const char *format, ...)
{
	char line[1400];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (log->to_stderr)
		fprintf(stderr, "%s: %s\n", log->program, line);
	else
		syslog(priority, "%s", line);
}

/* The row of a topic, else the one that has been quiet for longest. */
static struct log_topic *find_topic(struct log *log, uint64_t topic)
{
	struct log_topic *oldest = &log->topics[0];

	for (size_t i = 0; i < LOG_TOPICS; i++) {
		struct log_topic *row = &log->topics[i];
		if (row->since && row->topic == topic)
			return row;
		if (row->since < oldest->since)
			oldest = row;
	}
	*oldest = (struct log_topic){.topic = topic};
	return oldest;
}

bool log_due(struct log *log, uint64_t topic, unsigned *ret_skipped)
{
	struct timespec now;
	bool due;

	clock_gettime(CLOCK_MONOTONIC, &now);
	pthread_mutex_lock(&log->lock);
	struct log_topic *row = find_topic(log, topic);
	due = !row->since || now.tv_sec - row->since >= QUIET_SECONDS;
	if (due) {
		*ret_skipped = row->skipped;
		row->skipped = 0;
		row->since = now.tv_sec ? now.tv_sec : 1;
	} else {
		row->skipped++;
	}
	pthread_mutex_unlock(&log->lock);
	return due;
}
