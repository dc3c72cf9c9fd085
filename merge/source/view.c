#include "merge/source/view.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

/* The kernel may map as much as lies in one piece of such a size, in one piece,
 * where a page was missing. */
#define PIECE ((uint64_t)2 << 20)

/*
 * Views are found by the handler, which may not lock: they are linked once and
 * never freed, and those that are closed serve again.
 */
struct view {
	atomic_uintptr_t data; /* 0: closed */
	atomic_uintptr_t size;
	atomic_bool torn;
	struct piece *pieces; /* (size / PIECE, rounded up) */
	struct view *next;
};

/*
 * What was let go of stays mapped for a while, as many methods come back to an
 * input: to map a page again costs nearly as much as to read it. Such pieces
 * are in a ring, the one that was let go of last just before its head.
 */
struct piece {
	struct piece *before, *after; /* NULL: not in the ring */
	const struct view *view;
};

static _Atomic(struct view *) views;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the ring, too */
static struct piece ring = {&ring, &ring, NULL};
static uint64_t kept_size, most_kept;

/* Held for reading by who unmaps pieces of any view, without the lock. */
static pthread_rwlock_t closing = PTHREAD_RWLOCK_INITIALIZER;

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

static void unlink_piece(struct piece *piece)
{
	if (!piece->before)
		return;
	piece->before->after = piece->after;
	piece->after->before = piece->before;
	piece->before = piece->after = NULL;
	kept_size -= PIECE;
}

static void link_piece(struct piece *piece)
{
	piece->before = ring.before;
	piece->after = &ring;
	piece->before->after = piece;
	ring.before = piece;
	kept_size += PIECE;
}

static size_t count_pieces(uint64_t size)
{
	return (size + PIECE - 1) / PIECE;
}

static void open_view(struct view *view, void *data, uint64_t size,
		      struct piece *pieces)
{
	for (size_t i = 0; i < count_pieces(size); i++)
		pieces[i].view = view;
	view->pieces = pieces;
	atomic_store(&view->torn, false);
	atomic_store(&view->size, size);
	atomic_store(&view->data, (uintptr_t)data);
}

/* Where address space is counted, it is for what there is no way around. */
static bool is_space_scarce(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_AS, &limit) == 0 &&
	       limit.rlim_cur != RLIM_INFINITY;
}

struct view *view_new(int fd, uint64_t size)
{
	if (is_space_scarce())
		return NULL;

	struct view *view = NULL;
	struct piece *pieces = calloc(count_pieces(size), sizeof(*pieces));
	void *data = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);

	if (pieces && data != MAP_FAILED) {
		pthread_mutex_lock(&lock);
		if (handle_bus_errors() == 0)
			view = take_view();
		if (view)
			open_view(view, data, size, pieces);
		pthread_mutex_unlock(&lock);
	}
	if (!view) {
		free(pieces);
		if (data != MAP_FAILED)
			munmap(data, size);
	}
	return view;
}

void view_free(struct view *view)
{
	if (!view)
		return;
	void *data = (void *)atomic_load(&view->data);
	size_t size = atomic_load(&view->size);

	pthread_rwlock_wrlock(&closing);
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < count_pieces(size); i++)
		unlink_piece(&view->pieces[i]);
	free(view->pieces);
	atomic_store(&view->data, 0);
	pthread_mutex_unlock(&lock);
	munmap(data, size);
	pthread_rwlock_unlock(&closing);
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

void view_keep(uint64_t size)
{
	pthread_mutex_lock(&lock);
	most_kept = size;
	pthread_mutex_unlock(&lock);
}

static void unmap_piece(const struct piece *piece)
{
	const struct view *view = piece->view;
	uint64_t begin = (uint64_t)(piece - view->pieces) * PIECE;
	uint64_t left = atomic_load(&view->size) - begin;

	madvise((char *)view_data(view) + begin, left < PIECE ? left : PIECE,
		MADV_DONTNEED);
}

/* The piece that was let go of longest ago, if too many are kept. */
static const struct piece *take_oldest(void)
{
	struct piece *piece = NULL;

	pthread_mutex_lock(&lock);
	if (kept_size > most_kept) {
		piece = ring.after;
		unlink_piece(piece);
	}
	pthread_mutex_unlock(&lock);
	return piece;
}

void view_let_go(const struct view *view, uint64_t offset, uint64_t size)
{
	const struct piece *oldest;

	pthread_rwlock_rdlock(&closing);
	pthread_mutex_lock(&lock);
	for (size_t i = offset / PIECE; i < count_pieces(offset + size); i++) {
		unlink_piece(&view->pieces[i]);
		link_piece(&view->pieces[i]);
	}
	pthread_mutex_unlock(&lock);
	while ((oldest = take_oldest()))
		unmap_piece(oldest);
	pthread_rwlock_unlock(&closing);
}
