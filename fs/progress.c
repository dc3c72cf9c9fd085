#include "fs/progress.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "util/text.h"

#define BAR 24
#define INTERVAL 0.1 /* seconds */

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

void progress_begin(struct progress *progress, uint64_t total)
{
	*progress = (struct progress){
		.shown = isatty(STDERR_FILENO),
		.total = total,
		.began = now(),
	};
}

void progress_format(const struct progress *progress, double seconds,
		     char *line, size_t room)
{
	double part = progress->total
			      ? (double)progress->done / (double)progress->total
			      : 1;
	double rate = seconds > 0 ? (double)progress->done / seconds : 0;
	uint64_t left = rate > 0 ? (uint64_t)((double)(progress->total -
						       progress->done) /
					      rate)
				 : 0;
	char done[16], total[16], speed[16], bar[BAR + 1];

	memset(bar, ' ', BAR);
	memset(bar, '#', (size_t)(part * BAR));
	bar[BAR] = '\0';
	snprintf(line, room, "%3d%% [%s] %s of %s  %s/s  %u:%02u left",
		 (int)(part * 100), bar, text_format_size(progress->done, done),
		 text_format_size(progress->total, total),
		 text_format_size((unsigned long long)rate, speed),
		 (unsigned)(left / 60), (unsigned)(left % 60));
}

void progress_add(struct progress *progress, uint64_t size)
{
	char line[160];
	double time;

	progress->done += size;
	if (!progress->shown)
		return;
	time = now();
	if (time - progress->drawn < INTERVAL)
		return;
	progress->drawn = time;
	progress_format(progress, time - progress->began, line, sizeof(line));
	fprintf(stderr, "\r%s\033[K", line);
	fflush(stderr);
}

void progress_end(struct progress *progress)
{
	if (progress->shown)
		fputs("\r\033[K", stderr);
}
