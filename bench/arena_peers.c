/* SPDX-License-Identifier: MIT */
/* The other contestants. jemalloc, mimalloc and tcmalloc are opened with dlopen, each in a scope
 * of its own, and called through pointers, as the PLT would: so all take turns in one process,
 * and what is linked against malloc (Arena, APR, talloc, obstacks, GLib) gets the C library's. */
#include "config.h"

#include <dlfcn.h>
#include <obstack.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#if HAVE_APR
#include <apr_pools.h>
#include <apr_strings.h>
#endif
#if HAVE_GLIB
#include <glib.h>
#endif
#if HAVE_TALLOC
#include <talloc.h>
#endif

#include "arena_workloads.h"

/* ---- the limits: pointers that are bumped, with a check of the end, and nothing else ---- */

typedef struct Bump {
	char *avail, *limit, *start;
} Bump;

static void *map(size_t nbytes)
{
	void *p = mmap(NULL, nbytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		abort();
	return p;
}

static void *make_bump(void)
{
	static _Thread_local Bump bump;

	if (!bump.start) {
		bump.start = map(16 << 20);
		bump.limit = bump.start + (16 << 20);
	}
	bump.avail = bump.start;
	return &bump;
}

/* one mapping, in huge pages if there are any */
static void *make_huge(void)
{
	static Bump bump;
	size_t size = (size_t)5 << 28;

	bump.start = map(size);
	bump.limit = bump.start + size;
	bump.start += -(uintptr_t)bump.start & ((2 << 20) - 1);
	bump.avail = bump.start;
	madvise(bump.start, (size_t)(bump.limit - bump.start), MADV_HUGEPAGE);
	return &bump;
}

void touch_machine(void)
{
	Bump *b = make_huge();
	size_t i;

	for (i = 0; i < arena_growth * 5 / 4 << 20 && i < (size_t)(b->limit - b->start); i += 4096)
		b->start[i] = 1;
	munmap(b->start, (size_t)(b->limit - b->start));
}

static void *bump_alloc(void *arena, size_t nbytes)
{
	Bump *b = arena;
	void *p = b->avail;

	nbytes = (nbytes + 15) & ~(size_t)15;
	if (nbytes > (size_t)(b->limit - b->avail))
		abort();
	b->avail += nbytes;
	return p;
}

static void *bump_zeroed(void *arena, size_t nbytes)
{
	return memset(bump_alloc(arena, nbytes), 0, nbytes);
}

static char *bump_copy(void *arena, const char *s)
{
	size_t size = strlen(s) + 1;

	return memcpy(bump_alloc(arena, size), s, size);
}

static void bump_clear(void *arena)
{
	Bump *b = arena;

	b->avail = b->start;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *locked_alloc(void *arena, size_t nbytes)
{
	void *p;

	pthread_mutex_lock(&lock);
	p = bump_alloc(arena, nbytes);
	pthread_mutex_unlock(&lock);
	return p;
}

static const Allocator bump = { make_bump, bump_alloc, bump_zeroed, bump_copy, bump_clear,
	bump_clear, NULL };
static const Allocator huge = { make_huge, bump_alloc, bump_zeroed, bump_copy, bump_clear,
	bump_clear, NULL };
static const Allocator locked = { make_bump, locked_alloc, bump_zeroed, bump_copy, bump_clear,
	bump_clear, NULL };
CONTESTANT(bump, "inline bump: the limit");
CONTESTANT(huge, "bump in huge pages: the limit");
CONTESTANT(locked, "bump under a mutex");

/* ---- mallocs ---- */

static void *libc_alloc(void *arena, size_t nbytes) { (void)arena; return malloc(nbytes); }
static void *libc_zeroed(void *arena, size_t nbytes) { (void)arena; return calloc(1, nbytes); }
static char *libc_copy(void *arena, const char *s) { (void)arena; return strdup(s); }
static const Allocator libc = { NULL, libc_alloc, libc_zeroed, libc_copy, NULL, NULL, free };
CONTESTANT(libc, "malloc");

typedef struct Malloc {
	void *(*malloc)(size_t);
	void *(*calloc)(size_t, size_t);
	void (*free)(void *);
} Malloc;

#define MALLOC(id, title)                                                                          \
	static Malloc id##_calls;                                                                      \
	static void *id##_alloc(void *a, size_t n) { (void)a; return id##_calls.malloc(n); }           \
	static void *id##_zeroed_alloc(void *a, size_t n) { (void)a; return id##_calls.calloc(1, n); } \
	static void id##_free(void *p) { id##_calls.free(p); }                                         \
	static char *id##_copy(void *a, const char *s)                                                 \
	{                                                                                              \
		size_t size = strlen(s) + 1;                                                               \
                                                                                                   \
		(void)a;                                                                                   \
		return memcpy(id##_calls.malloc(size), s, size);                                           \
	}                                                                                              \
	static const Allocator id = {                                                                  \
		NULL, id##_alloc, id##_zeroed_alloc, id##_copy, NULL, NULL, id##_free                      \
	};                                                                                             \
	CONTESTANT(id, title)

MALLOC(jemalloc, "jemalloc");
MALLOC(mimalloc, "mimalloc");
MALLOC(tcmalloc, "tcmalloc");

static int open_malloc(const char *library, Malloc *calls)
{
	void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);

	if (!handle) {
		printf("not measured: %s\n", dlerror());
		return 0;
	}
	*(void **)&calls->malloc = dlsym(handle, "malloc");
	*(void **)&calls->calloc = dlsym(handle, "calloc");
	*(void **)&calls->free = dlsym(handle, "free");
	return calls->malloc && calls->calloc && calls->free;
}

/* ---- arenas ---- */

#if HAVE_APR
static void *make_pool(void)
{
	apr_pool_t *pool;

	if (apr_pool_create(&pool, NULL) != APR_SUCCESS)
		abort();
	return pool;
}

static void *pool_alloc(void *pool, size_t nbytes) { return apr_palloc(pool, nbytes); }
static void *pool_zeroed(void *pool, size_t nbytes) { return apr_pcalloc(pool, nbytes); }
static char *pool_copy(void *pool, const char *s) { return apr_pstrdup(pool, s); }
static void pool_clear(void *pool) { apr_pool_clear(pool); }
static void pool_destroy(void *pool) { apr_pool_destroy(pool); }
static const Allocator apr = { make_pool, pool_alloc, pool_zeroed, pool_copy, pool_clear,
	pool_destroy, NULL };
CONTESTANT(apr, "APR pool");
#endif

#if HAVE_TALLOC
static void *make_talloc(void) { return talloc_pool(NULL, 16384); }
static void *take_talloc(void *pool, size_t nbytes) { return talloc_size(pool, nbytes); }
static void *zeroed_talloc(void *pool, size_t nbytes) { return talloc_zero_size(pool, nbytes); }
static char *copy_talloc(void *pool, const char *s) { return talloc_strdup(pool, s); }
static void clear_talloc(void *pool) { talloc_free_children(pool); }
static void free_talloc(void *pool) { talloc_free(pool); }
static const Allocator samba = { make_talloc, take_talloc, zeroed_talloc, copy_talloc,
	clear_talloc, free_talloc, NULL };
CONTESTANT(samba, "talloc pool of 16 KiB");
#endif

#define obstack_chunk_alloc malloc
#define obstack_chunk_free free

typedef struct Stack {
	struct obstack obstack;
	void *first;
} Stack;

static void *make_obstack(void)
{
	Stack *s = malloc(sizeof *s);

	obstack_init(&s->obstack);
	obstack_alignment_mask(&s->obstack) = 15;
	s->first = obstack_alloc(&s->obstack, 1);
	return s;
}

static void *stack_alloc(void *s, size_t nbytes)
{
	struct obstack *o = s;

	return obstack_alloc(o, nbytes);
}

static void *stack_zeroed(void *s, size_t nbytes)
{
	return memset(stack_alloc(s, nbytes), 0, nbytes);
}

static char *stack_copy(void *s, const char *text)
{
	struct obstack *o = s;

	return obstack_copy0(o, text, strlen(text));
}

static void stack_clear(void *p)
{
	Stack *s = p;

	obstack_free(&s->obstack, s->first);
	s->first = obstack_alloc(&s->obstack, 1);
}

static void stack_dispose(void *p)
{
	struct obstack *o = p;

	obstack_free(o, NULL);
	free(p);
}

static const Allocator stack = { make_obstack, stack_alloc, stack_zeroed, stack_copy, stack_clear,
	stack_dispose, NULL };
CONTESTANT(stack, "obstack (inline)");

/* All that GLib has left: GMemChunk is gone, and its slices are malloc. */
#if HAVE_GLIB
static void *make_chunk(void) { return g_string_chunk_new(16384); }
/* never called */
static void *chunk_alloc(void *c, size_t nbytes) { (void)c; return malloc(nbytes); }
static char *chunk_copy(void *c, const char *s) { return g_string_chunk_insert(c, s); }
static void chunk_clear(void *c) { g_string_chunk_clear(c); }
static void chunk_free(void *c) { g_string_chunk_free(c); }
static const Allocator glib = { make_chunk, chunk_alloc, chunk_alloc, chunk_copy, chunk_clear,
	chunk_free, NULL };
CONTESTANT(glib, "GStringChunk");
#endif

/* ---- which of them are here ---- */

const Contestant *malloc_peers[MOST_PEERS + 1], *arena_peers[MOST_PEERS + 1];

static void add_malloc(const char *library, Malloc *calls, const Contestant *c)
{
	size_t i = 0;

	while (malloc_peers[i])
		i++;
	if (open_malloc(library, calls))
		malloc_peers[i] = c;
}

void find_peers(void)
{
	size_t n = 0;

	malloc_peers[0] = &contestant_libc;
	add_malloc("libjemalloc.so.2", &jemalloc_calls, &contestant_jemalloc);
	add_malloc("libmimalloc.so.2", &mimalloc_calls, &contestant_mimalloc);
	add_malloc("libtcmalloc_minimal.so.4", &tcmalloc_calls, &contestant_tcmalloc);
	arena_peers[n++] = &contestant_stack;
#if HAVE_APR
	apr_initialize();
	arena_peers[n++] = &contestant_apr;
#else
	puts("not measured: APR, which configure has not found");
#endif
#if HAVE_TALLOC
	arena_peers[n++] = &contestant_samba;
#else
	puts("not measured: talloc, which configure has not found");
#endif
}
