#include "merge/source/view.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* The kernel may map as much as lies in one piece of such a size, in one piece,
 * where a page was missing. */
#define PIECE_MOST ((uint64_t)2 << 20)

/*
 * Views are found by the handler, which may not lock: they are linked once and
 * never freed, and those that are closed serve again.
 */
struct view {
	atomic_uintptr_t data; /* 0: closed */
	atomic_uintptr_t size;
	atomic_bool torn;
	struct view *next;
};

static _Atomic(struct view *) views;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of new views */
static struct sigaction before;
static uintptr_t page_size;

static struct view *find_view(uintptr_t address)
{
	struct view *view = atomic_load(&views);

	for (; view; view = view->next) {
		uintptr_t data = atomic_load(&view->data);
		if (data && address - data < atomic_load(&view->size))
			return view;
	}
	return NULL;
}

/* Lays a page of zeros where the file has none, so that the read goes on. */
static void on_bus_error(int signal, siginfo_t *info, void *context)
{
	int kept = errno;
	uintptr_t address = (uintptr_t)info->si_addr;
	struct view *view = find_view(address);
	void *page = (void *)(address & ~(page_size - 1));
	(void)signal;
	(void)context;

	if (view)
		atomic_store(&view->torn, true);
	/* If not ours, the same instruction fails again, into what was there.
	 */
	if (!view ||
	    mmap(page, page_size, PROT_READ,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		sigaction(SIGBUS, &before, NULL);
	errno = kept;
}

static int handle_bus_errors(void)
{
	struct sigaction action = {
		.sa_sigaction = on_bus_error,
		.sa_flags = SA_SIGINFO | SA_RESTART,
	};

	if (page_size > 0)
		return 0;
	sigemptyset(&action.sa_mask);
	if (sigaction(SIGBUS, &action, &before) < 0)
		return -errno;
	page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
	return 0;
}

/* With the lock held: a view that is closed, or a new one. */
static struct view *take_view(void)
{
	struct view *view = atomic_load(&views);

	while (view && atomic_load(&view->data))
		view = view->next;
	if (view)
		return view;
	view = calloc(1, sizeof(*view));
	if (view) {
		view->next = atomic_load(&views);
		atomic_store(&views, view);
	}
	return view;
}

struct view *view_new(int fd, uint64_t size)
{
	struct view *view = NULL;
	void *data = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (data == MAP_FAILED)
		return NULL;

	pthread_mutex_lock(&lock);
	if (handle_bus_errors() == 0)
		view = take_view();
	if (view) {
		atomic_store(&view->torn, false);
		atomic_store(&view->size, size);
		atomic_store(&view->data, (uintptr_t)data);
	} else {
		munmap(data, size);
	}
	pthread_mutex_unlock(&lock);
	return view;
}

void view_free(struct view *view)
{
	if (!view)
		return;
	void *data = (void *)atomic_load(&view->data);
	size_t size = atomic_load(&view->size);

	atomic_store(&view->data, 0);
	munmap(data, size);
}

const unsigned char *view_data(const struct view *view)
{
	return (const unsigned char *)atomic_load_explicit(
		&view->data, memory_order_relaxed);
}

bool view_torn(const struct view *view)
{
	return atomic_load(&view->torn);
}

void view_drop(const struct view *view, uint64_t offset, uint64_t size)
{
	uint64_t begin = offset / PIECE_MOST * PIECE_MOST;
	uint64_t end = offset + size + PIECE_MOST - 1;
	uint64_t most = atomic_load_explicit(&view->size, memory_order_relaxed);
	end = end / PIECE_MOST * PIECE_MOST;

	madvise((char *)view_data(view) + begin,
		(end < most ? end : most) - begin, MADV_DONTNEED);
}
