/* SPDX-License-Identifier: MIT */
/* How a thread takes memory from an arena that it owns, without a call. Included by Arena.h alone.
 * Everything in this file is frozen ABI: programs carry these layouts and these few lines in their
 * code.
 *
 * Word 0 of an arena is its owner: the record of the one thread that may bump it like this. A
 * thread calls the library whenever word 0 is not its own record. If the library leaves the word 0,
 * it gets every call, and no program is recompiled. It does so under sanitizers and in guard mode.
 * A later version may do so because it represents arenas in another way.
 *
 * Word 0 of a thread's record says which arena the thread is allocating from. Whoever takes the
 * ownership away waits until it is not this arena. docs/design.md has the whole protocol and the
 * meaning of the tags. */
#if !defined ARENA_INCLUDED
#error "include <core/Arena.h>"
#endif

typedef struct Arena__Thread {
	struct Arena *busy;
} Arena__Thread;

/* Is never NULL: until a thread has its own record, this is a common one that owns nothing. */
extern CORE_API CORE_PER_THREAD Arena__Thread *Arena__self;

enum { Arena__LINE = 64, Arena__ALIGN = 16 };

/* The start of every arena. may_alias: the library knows these bytes under other names. */
typedef struct __attribute__((may_alias)) Arena__Head {
	Arena__Thread *owner;
	char read_by_all[Arena__LINE - sizeof(void *)];
	char *avail, *limit; /* multiples of Arena__ALIGN; written by the owner only */
} Arena__Head;

#define ARENA__LOAD(place, order)         __atomic_load_n(&(place), __ATOMIC_##order)
#define ARENA__STORE(place, value, order) __atomic_store_n(&(place), (value), __ATOMIC_##order)

#define ARENA__OFTEN(condition)           __builtin_expect(!!(condition), 1)

/* Returns NULL if the library must be asked. It is asked for 0 bytes, too: nbytes - 1 then wraps,
 * and is larger than any room. */
static inline void *Arena__bump(Arena_T arena, size_t nbytes)
{
	Arena__Head *head = (Arena__Head *)(void *)arena;
	Arena__Thread *self = Arena__self;

	if (!ARENA__OFTEN(head))
		return NULL;
	ARENA__STORE(self->busy, arena, RELAXED);                /* [own-1] */
	/* [own-2] the revoker's membarrier does the rest */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (ARENA__OFTEN(ARENA__LOAD(head->owner, ACQUIRE) == self)) { /* [own-3] */
		char *p = head->avail;

		if (ARENA__OFTEN(nbytes - 1 < (size_t)(head->limit - p))) {
			size_t step = (nbytes + Arena__ALIGN - 1) & ~(size_t)(Arena__ALIGN - 1);

			if (!p)
				__builtin_unreachable();
			ARENA__STORE(head->avail, p + step, RELAXED);            /* [own-4] */
			ARENA__STORE(self->busy, (struct Arena *)NULL, RELEASE); /* [own-5] */
			return p;
		}
	}
	ARENA__STORE(self->busy, (struct Arena *)NULL, RELEASE); /* [own-5] */
	return NULL;
}

/* Returns p, set by one instruction. If two places set a value, gcc warns (-Wclobbered) in a
 * function that has a TRY. */
static inline void *Arena__one(void *p)
{
#if defined __x86_64__ || defined __i386__
	void *q;

	__asm__("{mov %1, %0|mov %0, %1}" : "=r"(q) : "r"(p));
	return q;
#elif defined __aarch64__
	void *q;

	__asm__("mov %0, %1" : "=r"(q) : "r"(p));
	return q;
#else
	return p;
#endif
}

static inline void *Arena__quick(Arena_T arena, size_t nbytes)
{
	void *p = Arena__bump(arena, nbytes);

	return Arena__one(ARENA__OFTEN(p) ? p : Arena_alloc(arena, nbytes));
}

static inline void *Arena__quick_at(Arena_T arena, size_t nbytes, const char *file,
	const char *function, int line)
{
	void *p = Arena__bump(arena, nbytes);

	return Arena__one(ARENA__OFTEN(p) ? p : Arena__alloc(arena, nbytes, file, function, line));
}

#undef ARENA__OFTEN
#undef ARENA__LOAD
#undef ARENA__STORE
#define Arena_alloc(arena, nbytes) Arena__quick((arena), (nbytes))
#define ARENA_ALLOC(arena, nbytes) Arena__quick_at((arena), (nbytes), __FILE__, __func__, __LINE__)
