/* SPDX-License-Identifier: MIT */
/* Calls of Arena beside a model: a parent, at most three children, the objects and deferred calls
 * of each. The backing allocator fails, or raises, when the input says so. Each object is filled
 * and read again, so that two objects that overlap, or one that is released too early, are seen. */
#include "config.h"

#include <string.h>

#include <core/Arena.h>

#include "fuzz.h"

enum { ARENAS = 4, OBJECTS = 512, MARKS = 16, LARGEST = 70000 };

EXCEPT_DEFINE(Refused, NULL, "the backing allocator refuses");

typedef struct Object {
	unsigned char *bytes;
	size_t n;
	unsigned char fill;
} Object;

typedef struct Model {
	Arena_T arena;
	Object objects[OBJECTS];
	unsigned nobjects;
	unsigned deferred;       /* calls that are to run */
	struct {
		Arena_Mark mark;
		unsigned nobjects, deferred;
	} marks[MARKS];
	unsigned nmarks;
} Model;

static Model models[ARENAS]; /* the first is the parent of the others */
static size_t outstanding;   /* bytes taken from the backing allocator */
static enum { WORKS, FAILS, RAISES } backing;

static void *backing_alloc(size_t nbytes, void *cl)
{
	void *p;

	(void)cl;
	if (backing == RAISES)
		RAISE(Refused);
	p = backing == FAILS ? NULL : malloc(nbytes);
	if (p)
		outstanding += nbytes;
	return p;
}

static void backing_free(void *p, size_t nbytes, void *cl)
{
	(void)cl;
	require(outstanding >= nbytes);
	outstanding -= nbytes;
	free(p);
}

/* A deferred call. Calls run newest first: each finds as many before it as when it was made. */
typedef struct Call {
	Model *model;
	unsigned before;
} Call;

static void count_call(void *cl)
{
	Call *call = cl;

	require(call->model->deferred == call->before + 1);
	call->model->deferred = call->before;
}

static void check_object(const Object *o)
{
	size_t i;

	require(((uintptr_t)o->bytes & (_Alignof(max_align_t) - 1)) == 0);
	for (i = 0; i < o->n; i++)
		require(o->bytes[i] == o->fill);
}

static void check_model(const Model *m)
{
	unsigned i;

	for (i = 0; i < m->nobjects; i++)
		check_object(&m->objects[i]);
}

static void add_object(Model *m, void *p, size_t n, unsigned char fill)
{
	Object *o = &m->objects[m->nobjects++];

	o->bytes = p;
	o->n = n;
	o->fill = fill;
	if (n > 0)
		memset(p, fill, n);
}

static size_t take_size(Input *in)
{
	unsigned a = take(in), b = take(in);

	return a < 200 ? a : a < 250 ? (size_t)(a - 199) * (b + 1) : (size_t)(b + 1) * LARGEST / 256;
}

static void forget(Model *m)
{
	require(m->deferred == 0);
	m->nobjects = m->nmarks = 0;
}

/* A backing allocator that raises is heard here too: clear asks it for one chunk in place of many.
 * All is released then. */
static void release(Model *m, size_t keep)
{
	check_model(m);
	TRY {
		if (keep == (size_t)-1)
			Arena_clear(m->arena);
		else
			Arena_reset(m->arena, keep);
	} FINALLY {
		forget(m);
	} END_TRY;
}

static void dispose(Model *m)
{
	unsigned i;

	if (m == models)
		for (i = 1; i < ARENAS; i++)
			if (models[i].arena)
				check_model(&models[i]);
	check_model(m);
	Arena_dispose(&m->arena);
	require(!m->arena);
	forget(m);
	if (m == models)
		for (i = 1; i < ARENAS; i++) {
			models[i].arena = NULL;
			forget(&models[i]);
		}
}

static void change_object(Model *m, Input *in)
{
	Object *o = &m->objects[take_below(in, m->nobjects)];
	size_t n = take_size(in), kept = n < o->n ? n : o->n, i;
	unsigned char *p;

	check_object(o);
	/* one that an older mark would keep may move behind the mark, and be released with it */
	if (m->nmarks > 0)
		return;
	p = Arena_realloc(m->arena, o->bytes, o->n, n);
	for (i = 0; i < kept; i++)
		require(p[i] == o->fill);
	if (n > 0)
		memset(p, o->fill, n);
	o->bytes = p;
	o->n = n;
}

static void allocate(Model *m, Input *in)
{
	size_t n = take_size(in), alignment, i;
	unsigned char fill = (unsigned char)take(in), *p;

	switch (take_below(in, 5)) {
	case 0:
		p = Arena_calloc(m->arena, 1 + n % 7, n / 7);
		n = (1 + n % 7) * (n / 7);
		for (i = 0; i < n; i++)
			require(p[i] == 0);
		break;
	case 1:
		alignment = (size_t)16 << take_below(in, 9);
		p = Arena_alloc_aligned(m->arena, alignment, n);
		require(((uintptr_t)p & (alignment - 1)) == 0);
		break;
	case 2:
		p = Arena_try_alloc(m->arena, n);
		if (!p)
			return;
		break;
	case 3:
		p = ALLOC(m->arena, n);
		break;
	default:
		p = Arena_alloc(m->arena, n);
	}
	require(p);
	add_object(m, p, n, fill);
}

static void defer(Model *m)
{
	Call *call = NEW(m->arena, call);

	call->model = m;
	call->before = m->deferred;
	Arena_defer(m->arena, count_call, call);
	m->deferred++;
}

static void make_child(Model *m)
{
	if (m != models && !m->arena)
		m->arena = Arena_new_child(models->arena);
}

static void rewind_to_mark(Model *m)
{
	if (m->nmarks == 0)
		return;
	check_model(m);
	m->nmarks--;
	TRY {
		Arena_rewind(m->arena, m->marks[m->nmarks].mark);
	} FINALLY { /* as in release: it may ask for one chunk in place of many */
		require(m->deferred == m->marks[m->nmarks].deferred);
		m->nobjects = m->marks[m->nmarks].nobjects;
		check_model(m);
	} END_TRY;
}

static void step(Model *m, Input *in)
{
	switch (take_below(in, 16)) {
	case 0:
		backing = take_below(in, 3);
		break;
	case 1:
		backing = WORKS;
		break;
	case 2:
		if (m->nmarks < MARKS) {
			m->marks[m->nmarks].mark = Arena_mark(m->arena);
			m->marks[m->nmarks].nobjects = m->nobjects;
			m->marks[m->nmarks++].deferred = m->deferred;
		}
		break;
	case 3:
		rewind_to_mark(m);
		break;
	case 4:
		release(m, (size_t)-1);
		break;
	case 5:
		release(m, take_size(in));
		break;
	case 6:
		if (m != models)
			dispose(m);
		break;
	case 7:
		defer(m);
		break;
	case 8:
		if (m->nobjects > 0)
			change_object(m, in);
		break;
	case 9:
		Arena_set_limit(m->arena, take_below(in, 4) ? 0 : 20000 + take_size(in));
		break;
	case 10:
		check_model(m);
		require(Arena_used(m->arena) <= Arena_peak(m->arena));
		break;
	default:
		allocate(m, in);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static Input in; /* static, because it changes in a TRY */
	Arena_Options options = { .alloc = backing_alloc, .free = backing_free };
	size_t live = Arena_debug_live_count();

	in = (Input){ data, data + n };
	options.chunk = 1 + take(&in) * 16;
	backing = WORKS;
	models->arena = Arena_new_with(&options);
	while (in.next < in.end) {
		Model *m = &models[take_below(&in, ARENAS)];

		TRY {
			make_child(m);
			if (m->arena && m->nobjects < OBJECTS)
				step(m, &in);
			else if (m->arena)
				rewind_to_mark(m);
		} EXCEPT(Arena_Failed) {
			require(Except_message()[0] != '\0');
		} EXCEPT(Refused) {
			require(backing == RAISES);
		} END_TRY;
	}
	dispose(models);
	require(outstanding == 0);
	require(Arena_debug_live_count() == live);
	return 0;
}
