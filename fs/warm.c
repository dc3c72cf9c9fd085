#include "fs/warm.h"

#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

#include "cache/block.h"
#include "cache/counters.h"
#include "fs/attach.h"
#include "fs/control.h"
#include "fs/progress.h"
#include "fs/signals.h"
#include "merge/output/merge.h"
#include "merge/output/warm.h"
#include "util/macros.h"

#define PAUSE 20 /* milliseconds, where there is nothing to be done yet */

int warm_parse_part(const char *text, struct warm_options *ret,
		    struct error *err)
{
	unsigned part, n_parts;
	int length = -1;

	if (sscanf(text, "%9u/%9u%n", &part, &n_parts, &length) != 2 ||
	    length < 0 || text[length] || part < 1 || part > n_parts)
		return error_set(err, -EINVAL,
				 "--part '%s': should be like 1/3: the first "
				 "of three parts",
				 text);
	ret->part = part;
	ret->n_parts = n_parts;
	return 0;
}

/* Somebody who makes steps; command->busy when there was nothing to do. */
struct warmer {
	int (*step)(struct warmer *warmer, struct control_warm *command,
		    struct error *err);
	const struct merge *merge; /* of our own */
	sem_t done;
	int r;
	int fd; /* of a mount's control file */
	const char *path;
};

static int pause_for(int signals, int milliseconds)
{
	struct pollfd fd = {.fd = signals, .events = POLLIN};

	return poll(&fd, 1, milliseconds) > 0 ? -EINTR : 0;
}

static int run_steps(struct warmer *warmer, struct control_warm *command,
		     struct progress *progress, struct error *err)
{
	AUTO_CLOSE int signals = signals_open();
	if (signals < 0)
		return error_set(err, signals, "no descriptors: %s",
				 strerror(-signals));

	for (bool begun = false;; begun = true) {
		command->busy = 0;
		int r = warmer->step(warmer, command, err);
		if (r < 0)
			return r;
		if (command->busy) {
			r = pause_for(signals, PAUSE);
		} else {
			if (!begun)
				progress_begin(progress, command->total);
			progress_add(progress,
				     command->next - command->position);
			command->position = command->next;
			bool ended = command->position >= command->total;
			/* What is not stored by our end may be lost. */
			if (ended && command->waiting == 0)
				return 0;
			r = pause_for(signals, ended ? PAUSE : 0);
		}
		if (r < 0)
			return r;
	}
}

static int run_warmer(struct warmer *warmer, const struct warm_options *options,
		      struct error *err)
{
	struct control_warm command = {
		.part = options->part ? options->part : 1,
		.n_parts = options->n_parts ? options->n_parts : 1,
	};
	struct progress progress = {0};

	if (options->pattern) {
		if (strlen(options->pattern) >= sizeof(command.pattern))
			return error_set(err, -EINVAL,
					 "--tensors: the pattern is too long");
		strcpy(command.pattern, options->pattern);
	}
	int r = run_steps(warmer, &command, &progress, err);
	progress_end(&progress);
	if (r == 0 && command.total == 0 && options->pattern &&
	    command.n_parts == 1)
		return error_set(err, -ENOENT,
				 "--tensors '%s': no tensor that is computed "
				 "has such a name",
				 options->pattern);
	return r;
}

struct own_step {
	struct warm_step step;
	struct warmer *warmer;
};

static void step_done(struct warm_step *step, int r)
{
	struct warmer *warmer =
		CONTAINER_OF(step, struct own_step, step)->warmer;

	warmer->r = r;
	sem_post(&warmer->done);
}

static uint64_t waiting(const struct merge *merge)
{
	struct cache_counters counters;

	block_cache_counters(merge->cache, &counters);
	return counters.waiting;
}

static int step_self(struct warmer *warmer, struct control_warm *command,
		     struct error *err)
{
	/* More would find no place to wait in. */
	if (waiting(warmer->merge) > 0) {
		command->busy = 1;
		return 0;
	}
	struct own_step own = {
		.step =
			{
				.image = warmer->merge->image,
				.engine = warmer->merge->engine,
				.choice =
					{
						.pattern =
							*command->pattern
								? command->pattern
								: NULL,
						.part = command->part,
						.n_parts = command->n_parts,
					},
				.position = command->position,
				.done = step_done,
			},
		.warmer = warmer,
	};
	warm_step(&own.step);
	while (sem_wait(&warmer->done) < 0)
		;
	command->next = own.step.next;
	command->total = own.step.total;
	command->waiting = waiting(warmer->merge);
	if (warmer->r < 0)
		return error_set(err, warmer->r,
				 "a tensor cannot be computed: %s",
				 strerror(-warmer->r));
	return 0;
}

int warm_merge(const struct merge *merge, const struct warm_options *options,
	       struct error *err)
{
	struct warmer warmer = {.step = step_self, .merge = merge};

	if (!merge->disk)
		return error_set(err, -ENODEV,
				 "there is no cache on disk to be filled; name "
				 "one by --cache");
	sem_init(&warmer.done, 0, 0);
	int r = run_warmer(&warmer, options, err);
	sem_destroy(&warmer.done);
	return r;
}

static int step_mount(struct warmer *warmer, struct control_warm *command,
		      struct error *err)
{
	int r = ioctl(warmer->fd, CONTROL_WARM, command) < 0 ? -errno
							     : command->error;

	if (r == -ENODEV)
		return error_set(err, r, "%s: has no cache on disk",
				 warmer->path);
	if (r < 0)
		return error_set(err, r,
				 "%s: a tensor cannot be computed: %s; the "
				 "mount's log says more",
				 warmer->path, strerror(-r));
	return 0;
}

int warm_mount(const char *path, const struct warm_options *options,
	       struct error *err)
{
	AUTO_CLOSE int fd = -1;

	int r = attach_open(path, &fd, err);
	if (r < 0)
		return r;
	struct warmer warmer = {.step = step_mount, .fd = fd, .path = path};
	return run_warmer(&warmer, options, err);
}
