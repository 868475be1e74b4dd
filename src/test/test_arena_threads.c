/* SPDX-License-Identifier: MIT */
/* Arena: threads and fork. */
#include "config.h"

#include "test_arena.h"

/* ---- threads ---- */

SUITE("Arena");
CASE("threads and fork");

static size_t wrong_objects(const Worker *w)
{
	size_t i, k, wrong = 0;

	for (i = 0; i < OBJECTS; i++)
		for (k = 0; k < w->sizes[i]; k++)
			wrong += w->objects[i][k] != w->id;
	return wrong;
}

static void *fill(void *cl)
{
	Worker *w = cl;
	unsigned random = (unsigned)w->id * 2654435761u;
	size_t i;

	for (i = 0; i < OBJECTS; i++) {
		random = random * 1664525u + 1013904223u;
		w->sizes[i] = random >> 24 ? (random >> 16) % 300 : (random >> 8) % 40000;
		w->objects[i] = i % 3 ? Arena_alloc(w->arena, w->sizes[i])
			: Arena_calloc(w->arena, 1, w->sizes[i]);
		memset(w->objects[i], w->id, w->sizes[i]);
		if (i % 16 == 0 && w->sizes[i]) {
			w->objects[i] = Arena_realloc(w->arena, w->objects[i], w->sizes[i], w->sizes[i] + 50);
			memset(w->objects[i] + w->sizes[i], w->id, 50);
			w->sizes[i] += 50;
		}
	}
	return NULL;
}

TEST(threads_allocate_from_one_arena_without_overlap)
{
	static Worker workers[THREADS];
	Arena_T arena = Arena_new();
	int i, turn;

	for (turn = 0; turn < 2; turn++) {
		on_threads(fill, workers, arena);
		for (i = 0; i < THREADS; i++)
			ck_assert_uint_eq(wrong_objects(&workers[i]), 0);
		Arena_clear(arena);
	}
	Arena_dispose(&arena);
}

static void count_call(void *cl)
{
	++*(int *)cl;
}

static void *use_tree(void *cl)
{
	Worker *w = cl;
	int i;

	for (i = 0; i < 100; i++) {
		Arena_T child = Arena_new_child(w->arena);

		Arena_strdup(child, "text");
		Arena_defer(w->arena, count_call, &w->wrong);
		if (i % 4)
			Arena_dispose(&child);
		else
			Arena_clear(child);
	}
	return NULL;
}

TEST(threads_make_children_and_defer_calls_on_one_arena)
{
	static Worker workers[THREADS];
	size_t before = Arena_debug_live_count();
	Arena_T arena = Arena_new();
	int i;

	on_threads(use_tree, workers, arena);
	ck_assert_uint_eq(Arena_debug_live_count(), before + 1 + THREADS * 25);
	Arena_dispose(&arena);
	for (i = 0; i < THREADS; i++)
		ck_assert_int_eq(workers[i].wrong, 100);
	ck_assert_uint_eq(Arena_debug_live_count(), before);
}

/* Two threads that allocate by turns, neither idle for long: one is the owner, the other is not. */
typedef struct Turns {
	Arena_T arena;
	pthread_barrier_t barrier;
	atomic_size_t requests;
} Turns;

static void *count_alloc(size_t nbytes, void *cl)
{
	((Turns *)cl)->requests++;
	return malloc(nbytes);
}

static void count_free(void *p, size_t nbytes, void *cl)
{
	(void)nbytes;
	(void)cl;
	free(p);
}

enum { CYCLES = 60, STEPS = 20 };

static void take_turns(Turns *t, int clears)
{
	int batch, step, i;

	for (batch = 0; batch < CYCLES; batch++) {
		for (step = 0; step < STEPS; step++) {
			for (i = 0; i < 50; i++)
				Arena_alloc(t->arena, 1000);
			pthread_barrier_wait(&t->barrier);
		}
		if (clears)
			Arena_clear(t->arena);
		pthread_barrier_wait(&t->barrier);
	}
}

static void *take_other_turns(void *cl)
{
	take_turns(cl, 0);
	return NULL;
}

TEST(equal_batches_of_two_threads_take_memory_only_at_first)
{
	Turns t = { .requests = 0 };
	pthread_t other;
	size_t before = 0;
	int half;

	t.arena = Arena_new_with(&(Arena_Options){ .alloc = count_alloc, .free = count_free,
		.cl = &t });
	ck_assert_int_eq(pthread_barrier_init(&t.barrier, NULL, 2), 0);
	for (half = 0; half < 2; half++) {
		before = t.requests;
		ck_assert_int_eq(pthread_create(&other, NULL, take_other_turns, &t), 0);
		take_turns(&t, 1);
		pthread_join(other, NULL);
	}
	ck_assert_uint_eq(t.requests, before);
	pthread_barrier_destroy(&t.barrier);
	Arena_dispose(&t.arena);
}

enum { CROWD = 16, A_FEW = 10 };

static void *allocate_a_few_each_cycle(void *cl)
{
	Turns *t = cl;
	int cycle, i;

	for (cycle = 0; cycle < CYCLES; cycle++) {
		for (i = 0; i < A_FEW; i++)
			Arena_alloc(t->arena, 96);
		pthread_barrier_wait(&t->barrier); /* all of them have, before it is cleared */
		pthread_barrier_wait(&t->barrier);
	}
	return NULL;
}

TEST(a_crowd_of_threads_takes_memory_only_at_first_and_uses_what_it_allocates,
	.unless = has_fences())
{
	Turns t = { .requests = 0 };
	pthread_t crowd[CROWD];
	size_t at_half = 0;
	int i;

	t.arena = Arena_new_with(&(Arena_Options){ .alloc = count_alloc, .free = count_free,
		.cl = &t });
	ck_assert_int_eq(pthread_barrier_init(&t.barrier, NULL, CROWD + 1), 0);
	for (i = 0; i < CROWD; i++)
		ck_assert_int_eq(pthread_create(&crowd[i], NULL, allocate_a_few_each_cycle, &t), 0);
	for (i = 0; i < CYCLES; i++) {
		pthread_barrier_wait(&t.barrier);
		Arena_clear(t.arena);
		if (i == CYCLES / 2)
			at_half = t.requests;
		pthread_barrier_wait(&t.barrier);
	}
	for (i = 0; i < CROWD; i++)
		pthread_join(crowd[i], NULL);
	ck_assert_uint_eq(t.requests, at_half);
	ck_assert_uint_ge(Arena_peak(t.arena), CROWD * A_FEW * 96);
	ck_assert_uint_le(Arena_peak(t.arena), CROWD * A_FEW * (96 + 16)); /* red zones */
	pthread_barrier_destroy(&t.barrier);
	Arena_dispose(&t.arena);
}

/* Threads that allocate in each cycle, each another part of it in each, until one thread clears. */
typedef struct Sharing {
	Arena_T arena;
	pthread_barrier_t barrier;
	int threads;
	size_t bytes; /* of a cycle */
	atomic_int next;
} Sharing;

enum { SHARING_CYCLES = 40, MOST_SHARING = 64 };

static void *allocate_a_share(void *cl)
{
	Sharing *s = cl;
	int self = s->next++, cycle;

	for (cycle = 0; cycle < SHARING_CYCLES; cycle++) {
		size_t part = s->bytes / (size_t)s->threads / 2 * (size_t)(1 + (self + cycle) % 3), n;

		for (n = 0; n < part; n += 96)
			memset(Arena_alloc(s->arena, 96), self, 96);
		pthread_barrier_wait(&s->barrier);
		pthread_barrier_wait(&s->barrier);
	}
	return NULL;
}

static void share(Sharing *s)
{
	pthread_t threads[MOST_SHARING];
	size_t most = 0;
	int i;

	s->arena = Arena_new();
	s->next = 0;
	ck_assert_int_eq(pthread_barrier_init(&s->barrier, NULL, (unsigned)s->threads + 1), 0);
	for (i = 0; i < s->threads; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, allocate_a_share, s), 0);
	for (i = 0; i < SHARING_CYCLES; i++) {
		pthread_barrier_wait(&s->barrier);
		if (Arena_used(s->arena) > most)
			most = Arena_used(s->arena);
		Arena_clear(s->arena);
		ck_assert_msg(Arena_capacity(s->arena) <= 2 * most,
			"%d threads: after cycle %d %zu bytes are held for %zu",
			s->threads, i, Arena_capacity(s->arena), most);
		pthread_barrier_wait(&s->barrier);
	}
	for (i = 0; i < s->threads; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&s->barrier);
	Arena_dispose(&s->arena);
}

static const int crowds[] = { 1, 2, 3, 4, 8, 16, MOST_SHARING };

TEST(an_arena_that_threads_share_holds_at_most_twice_what_a_cycle_used,
	.to = (int)(sizeof crowds / sizeof crowds[0]))
{
	static const size_t sizes[] = { 30 * KB, 400 * KB, 3 * MB };
	size_t i;

	for (i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
		share(&(Sharing){ .threads = crowds[_i], .bytes = sizes[i] });
}

static void *fill_to_limit(void *cl)
{
	Worker *w = cl;

	while (Arena_try_alloc(w->arena, 2000))
		if (Arena_capacity(w->arena) > 8 * MB)
			w->wrong++;
	return NULL;
}

TEST(threads_together_never_pass_the_limit)
{
	static Worker workers[THREADS];
	Arena_T arena = limited_arena(8 * MB);
	int i;

	on_threads(fill_to_limit, workers, arena);
	for (i = 0; i < THREADS; i++)
		ck_assert_int_eq(workers[i].wrong, 0);
	ck_assert_uint_gt(Arena_used(arena), 6 * MB);
	Arena_dispose(&arena);
}

static void *use_own_arena(void *cl)
{
	Worker *w = cl;
	int turn;

	for (turn = 0; turn < 20; turn++) {
		Arena_T arena = Arena_new();

		w->arena = arena;
		small_batch(arena);
		Arena_clear(arena);
		mixed_batch(arena);
		if (turn % 8 == 0) {
			FILE *out = fopen("/dev/null", "w");

			Arena_debug_report(out);
			fclose(out);
		}
		Arena_dispose(&arena);
	}
	return NULL;
}

TEST(each_thread_has_arenas_of_its_own_while_others_report)
{
	static Worker workers[THREADS];
	size_t before = Arena_debug_live_count();

	on_threads(use_own_arena, workers, NULL);
	ck_assert_uint_eq(Arena_debug_live_count(), before);
}

static void *new_arena(void *cl)
{
	Worker *w = cl;

	w->arena = Arena_new();
	memset(Arena_alloc(w->arena, 100), w->id, 100);
	return NULL;
}

TEST(an_arena_may_be_handed_to_another_thread)
{
	static Worker workers[THREADS];
	int i;

	on_threads(new_arena, workers, NULL);
	for (i = 0; i < THREADS; i++)
		Arena_dispose(&workers[i].arena);
}

/* While others allocate: what is asked first can't be more than what is asked after it. */
static int is_accounted_for(Arena_T arena)
{
	size_t used = Arena_used(arena);

	return Arena_capacity(arena) >= used && Arena_peak(arena) >= used;
}

/* Bursts by one thread after the other: the ownership wanders, and now and then two meet. */
static pthread_mutex_t turn_lock = PTHREAD_MUTEX_INITIALIZER;

static void *fill_in_bursts(void *cl)
{
	Worker *w = cl;
	size_t i = 0, k;

	while (i < OBJECTS) {
		int alone = i / 100 % 2 == 0;

		if (alone)
			pthread_mutex_lock(&turn_lock);
		for (k = 0; k < 100 && i < OBJECTS; k++, i++) {
			w->sizes[i] = (i * 37 + (size_t)w->id) % 500;
			w->objects[i] = i % 7 ? Arena_alloc(w->arena, w->sizes[i])
				: Arena_alloc_aligned(w->arena, 64, w->sizes[i]);
			memset(w->objects[i], w->id, w->sizes[i]);
			if (i % 50 == 0)
				w->wrong += !is_accounted_for(w->arena);
		}
		if (alone)
			pthread_mutex_unlock(&turn_lock);
	}
	return NULL;
}

TEST(ownership_wanders_between_threads_without_overlap)
{
	static Worker workers[THREADS];
	Arena_T arena = Arena_new();
	int i, turn;

	for (turn = 0; turn < 20; turn++) {
		on_threads(fill_in_bursts, workers, arena);
		for (i = 0; i < THREADS; i++) {
			ck_assert_uint_eq(wrong_objects(&workers[i]), 0);
			ck_assert_int_eq(workers[i].wrong, 0);
		}
		Arena_clear(arena);
		ck_assert_uint_eq(Arena_used(arena), 0);
	}
	Arena_dispose(&arena);
}

static void *allocate_untouched(void *cl)
{
	Worker *w = cl;
	size_t i;

	for (i = 0; i < 50000; i++) {
		w->wrong += (uintptr_t)Arena_alloc(w->arena, i % 200) % 16 != 0;
		if (i % 1000 == 0)
			w->wrong += Arena_alloc(w->arena, 100 * KB) == NULL;
	}
	return NULL;
}

static void *release_meanwhile(void *cl)
{
	Worker *w = cl;
	int i;

	for (i = 0; i < 2000; i++) {
		Arena_Mark mark;

		if (i % 3 == 0)
			Arena_clear(w->arena);
		else if (i % 3 == 1)
			Arena_reset(w->arena, (size_t)i * 100);
		mark = Arena_mark(w->arena);
		Arena_alloc(w->arena, 10);
		Arena_rewind(w->arena, mark);
		w->wrong += !is_accounted_for(w->arena);
	}
	return NULL;
}

#if CORE_DEBUG
static void *allocate_until_told(void *cl)
{
	Worker *w = cl;
	const char *volatile told = NULL;

	while (!told)
		TRY {
			w->wrong += Arena_alloc(w->arena, 1000) == NULL;
		} EXCEPT(Assert_Failed) {
			told = Except_message();
			w->wrong += !strstr(told, "while another disposes of it")
				&& !strstr(told, "is not a live arena");
		} END_TRY;
	return NULL;
}

static void *dispose_meanwhile(void *cl)
{
	Worker *w = cl;

	while (Arena_used(w->arena) < 1000 * KB)
		sched_yield();
	Arena_dispose(&w->arena);
	return NULL;
}

static void *allocate_or_dispose(void *cl)
{
	return ((Worker *)cl)->id == 1 ? dispose_meanwhile(cl) : allocate_until_told(cl);
}

TEST(dispose_amid_allocations_is_told_in_debug_builds)
{
	static Worker workers[THREADS];
	int turn, i;

	for (turn = 0; !is_watched() && turn < 20; turn++) {
		on_threads(allocate_or_dispose, workers, Arena_new());
		for (i = 0; i < THREADS; i++)
			ck_assert_int_eq(workers[i].wrong, 0);
	}
	ck_assert_uint_eq(Arena_debug_live_count(), 0);
}
#endif

static void *allocate_or_release(void *cl)
{
	return ((Worker *)cl)->id == 1 ? release_meanwhile(cl) : allocate_untouched(cl);
}

/* The others' objects are forgotten while they use them, which is the program's fault. The arena
 * must stay sound. */
TEST(clear_and_rewind_amid_allocations_leave_the_arena_sound, .unless = has_fences())
{
	static Worker workers[THREADS];
	Arena_T arena = Arena_new_with(&(Arena_Options){ .name = "trampled" });
	int i;

	on_threads(allocate_or_release, workers, arena);
	for (i = 0; i < THREADS; i++)
		ck_assert_int_eq(workers[i].wrong, 0);
	Arena_clear(arena);
	on_threads(fill, workers, arena);
	for (i = 0; i < THREADS; i++)
		ck_assert_uint_eq(wrong_objects(&workers[i]), 0);
	Arena_reset(arena, 0);
	ck_assert_uint_le(Arena_capacity(arena), 16 * KB);
	Arena_dispose(&arena);
}

static void *use_and_dispose(void *cl)
{
	Worker *w = cl;
	Arena_T arena = __atomic_exchange_n(&w->arena, NULL, __ATOMIC_ACQ_REL);
	size_t i;

	for (i = 0; i < 100; i++)
		memset(Arena_alloc(arena, i * 10), w->id, i * 10);
	Arena_clear(arena);
	Arena_strdup(arena, "again");
	Arena_dispose(&arena);
	return NULL;
}

TEST(a_worker_may_use_clear_and_dispose_of_what_an_acceptor_made)
{
	size_t before = Arena_debug_live_count();
	int turn, i;

	for (turn = 0; turn < 200; turn++) {
		Worker w[4];

		for (i = 0; i < 4; i++) {
			w[i].id = i;
			w[i].arena = Arena_new();
			Arena_strdup(w[i].arena, "accepted");
			ck_assert_int_eq(pthread_create(&w[i].thread, NULL, use_and_dispose, &w[i]), 0);
		}
		for (i = 0; i < 4; i++)
			pthread_join(w[i].thread, NULL);
	}
	ck_assert_uint_eq(Arena_debug_live_count(), before);
}

static void *many_arenas(void *cl)
{
	Worker *w = cl;
	Arena_T arenas[20];
	int turn, i;

	for (turn = 0; turn < 50; turn++) { /* more arenas than a thread knows lanes of */
		for (i = 0; i < 20; i++)
			memset(Arena_alloc(w->arena, 24), w->id, 24);
		for (i = 0; i < 20; i++)
			arenas[i] = Arena_new();
		for (i = 0; i < 20; i++)
			small_batch(arenas[i]);
		for (i = 0; i < 20; i++)
			Arena_dispose(&arenas[i]);
	}
	return NULL;
}

TEST(threads_use_many_arenas_each_and_one_together)
{
	static Worker workers[THREADS];
	size_t before = Arena_debug_live_count();
	Arena_T arena = Arena_new();

	on_threads(many_arenas, workers, arena);
	ck_assert_uint_ge(Arena_used(arena), THREADS * 50 * 20 * 24);
	Arena_dispose(&arena);
	ck_assert_uint_eq(Arena_debug_live_count(), before);
}

/* ---- fork; not under TSan, which allows a thread no more than 64 locks at once ---- */

#if !SANITIZED_THREADS
static volatile int stop;

/* Keeps the lock of an arena busy, and those of the registry. */
static void *hammer(void *cl)
{
	_Alignas(max_align_t) char buffer[2048];
	Arena_T shared = cl;
	int n;

	for (n = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); n++) {
		int i;

		for (i = 0; i < 100; i++)
			Arena_peak(shared);
		if (n < 20000)
			Arena_alloc(shared, 24);
		for (i = 0; i < 20; i++) {
			Arena_T own = Arena_new_in(buffer, sizeof buffer);

			Arena_dispose(&own);
		}
	}
	return NULL;
}

static void use_after_fork(Arena_T shared)
{
	Arena_T own;

	alarm(10); /* ends the test if a lock is never released */
	own = mapped_arena(NULL);
	Arena_alloc(own, 100 * KB);
	Arena_alloc(shared, 100 * KB);
	mapped_arena(shared);
	Arena_clear(shared);
	Arena_dispose(&own);
	Arena_dispose(&shared);
	_exit(0);
}

TEST(a_child_forked_amid_allocating_threads_can_use_every_arena)
{
	Arena_T shared = mapped_arena(NULL), many[100];
	pthread_t threads[3];
	int i, status;

	for (i = 0; i < 100; i++) /* more than the 64 locks that TSan can stand */
		many[i] = mapped_arena(NULL);
	__atomic_store_n(&stop, 0, __ATOMIC_RELAXED);
	for (i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, hammer, shared);
	for (i = 0; i < 30; i++) {
		pid_t pid = fork();

		if (pid == 0)
			use_after_fork(shared);
		ck_assert_int_gt(pid, 0);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with %#x",
			(unsigned)status);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	for (i = 0; i < 100; i++)
		Arena_dispose(&many[i]);
	Arena_dispose(&shared);
}
#endif
