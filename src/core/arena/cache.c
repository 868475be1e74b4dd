/* SPDX-License-Identifier: MIT */
/* Arena, continued: what a thread keeps in store, so that a loop that makes and disposes of arenas costs
 * neither malloc nor page faults. Shells are first chunks with the struct of a disposed arena, still in the
 * registry, its lock made; the others are plain chunks, found by size. Only what the default backing allocator
 * gave is kept, and none of it counts as held by any arena.
 *
 * Invariant: shells[0..nshells) are DEAD and nobody's; chunk_bytes is the sum of chunks[0..nchunks).
 *
 * The store is touched by its thread alone, without a lock, amid a "turnover": whoever walks the registry
 * (report, fork) closes the gate, passes the barrier and waits for the turnovers that had begun, as revokers
 * do (arena/threads.c). So a child is forked with every store in order.
 *
 * It decays: of what was not needed in the last TICKS disposals, half goes. */
#include "config.h"

#include <pthread.h>
#include <string.h>

#include <core/Arena.h>
#include "arena/rep.h"

#define T Arena_T

enum {
	TICKS = 64,
	BYTES_KEPT = 2 * 1024 * 1024, /* and SHELLS * CHUNK_FIRST */
	CHUNK_KEPT = BYTES_KEPT / 2
};

int arena__begin_turnover(Thread *t)
{
	STORE(t->turnover, 1);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (!arena__registry_is_walked())
		return 1;
	arena__end_turnover(t);
	return 0;
}

/* ---- shells ---- */

static void free_shell(T a)
{
	Chunk *c = a->home;

	arena__remove_live(a);
	pthread_mutex_destroy(&a->lock);
	arena__default_backing.free(c, c->size, NULL);
}

T arena__take_shell(Thread *t)
{
	if (t->nshells == 0 || !arena__begin_turnover(t))
		return NULL;
	if (--t->nshells < t->shells_low)
		t->shells_low = t->nshells;
	return t->shells[t->nshells];
}

/* The turnover has begun: it ends here if the shell is kept. */
int arena__keep_shell(Thread *t, T a)
{
	if (t->nshells == SHELLS)
		return 0;
	t->shells[t->nshells++] = a;
	t->ticks++;
	return 1;
}

/* ---- chunks ---- */

static Chunk *remove_chunk(Thread *t, int i)
{
	Chunk *c = t->chunks[i];

	t->chunk_bytes -= c->size;
	t->nchunks--;
	memmove(&t->chunks[i], &t->chunks[i + 1], (size_t)(t->nchunks - i) * sizeof t->chunks[0]);
	if (t->nchunks < t->chunks_low)
		t->chunks_low = t->nchunks;
	return c;
}

Chunk *arena__take_cached(size_t least, size_t most)
{
	Thread *t = record_now();
	Chunk *c = NULL;
	int i;

	if (!t || t->nchunks == 0 || !arena__begin_turnover(t))
		return NULL;
	for (i = t->nchunks - 1; i >= 0 && !c; i--)
		if (t->chunks[i]->size >= least && t->chunks[i]->size <= most)
			c = remove_chunk(t, i);
	arena__end_turnover(t);
	if (c)
		c->own = 0;
	return c;
}

int arena__keep_chunk(Chunk *c)
{
	Thread *t = record_now();
	int kept;

	if (!t || c->size == 0 || c->size > CHUNK_KEPT || !arena__begin_turnover(t))
		return 0;
	kept = t->nchunks < CHUNKS_CACHED && t->chunk_bytes + c->size <= BYTES_KEPT;
	if (kept) {
		c->older = NULL;
		t->chunks[t->nchunks++] = c;
		t->chunk_bytes += c->size;
		t->ticks++;
	}
	arena__end_turnover(t);
	return kept;
}

/* ---- decay ---- */

static int drop_shells(Thread *t, int n)
{
	T dropped[SHELLS];
	int i;

	if (n == 0 || !arena__begin_turnover(t))
		return 0;
	memcpy(dropped, t->shells, (size_t)n * sizeof dropped[0]); /* the oldest */
	t->nshells -= n;
	memmove(t->shells, t->shells + n, (size_t)t->nshells * sizeof dropped[0]);
	t->shells_low = t->nshells;
	arena__end_turnover(t);
	for (i = 0; i < n; i++)
		free_shell(dropped[i]);
	return n;
}

static void drop_chunks(Thread *t, int n)
{
	Chunk *dropped[CHUNKS_CACHED];
	int i;

	if (n == 0 || !arena__begin_turnover(t))
		return;
	for (i = 0; i < n; i++)
		dropped[i] = remove_chunk(t, 0);
	t->chunks_low = t->nchunks;
	arena__end_turnover(t);
	for (i = 0; i < n; i++)
		arena__default_backing.free(dropped[i], dropped[i]->size, NULL);
}

/* Half of what was never needed since the last time. */
void arena__decay(Thread *t)
{
	if (t->ticks < TICKS)
		return;
	t->ticks = 0;
	drop_shells(t, (t->shells_low + 1) / 2);
	drop_chunks(t, (t->chunks_low + 1) / 2);
	t->shells_low = t->nshells;
	t->chunks_low = t->nchunks;
}

void arena__empty_store(Thread *t)
{
	while (t->nshells && drop_shells(t, t->nshells))
		;
	drop_chunks(t, t->nchunks);
}
