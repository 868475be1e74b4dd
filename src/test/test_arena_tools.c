/* SPDX-License-Identifier: MIT */
/* Arena: what ASan and Valgrind see. */
#include "config.h"

#include "test_arena.h"

/* ---- what ASan and Valgrind see ---- */

SUITE("Arena");
CASE("ASan and Valgrind");

#if SANITIZED_ADDRESSES || HAVE_VALGRIND_MEMCHECK_H

/* Whether a tool would report an access to *p. */
static int is_poisoned(const char *p)
{
#if SANITIZED_ADDRESSES
	return __asan_address_is_poisoned(p);
#else
	char bits;

	return VALGRIND_GET_VBITS(p, &bits, 1) == 3;
#endif
}

static void check_exact(const char *p, size_t nbytes)
{
	size_t i;

	for (i = 0; i < nbytes && !is_poisoned(p + i); i++)
		;
	ck_assert_msg(i == nbytes, "byte %zu of %zu is poisoned", i, nbytes);
	ck_assert_msg(is_poisoned(p + nbytes), "the byte after %zu is not poisoned", nbytes);
	ck_assert_msg(is_poisoned(p - 1), "the byte before %zu is not poisoned", nbytes);
}

TEST(each_object_is_fenced_to_the_byte)
{
	Arena_T arena = Arena_new();
	size_t n;

	if (is_watched()) {
		for (n = 0; n < 70; n++)
			check_exact(Arena_alloc(arena, n), n);
		for (n = 1; n < 8192; n *= 2)
			check_exact(Arena_alloc_aligned(arena, n, n + 3), n + 3);
		check_exact(Arena_alloc(arena, 3 * MB + 5), 3 * MB + 5);
	}
	Arena_dispose(&arena);
}

TEST(realloc_moves_the_fence)
{
	static const size_t sizes[] = { 0, 1, 100, 37, 38, 8, 5, 0, 3000, 2999, 7, 100000, 20, 19, 3 };
	Arena_T arena = Arena_new();
	char *p = NULL;
	size_t i, old = 0;

	for (i = 0; is_watched() && i < sizeof sizes / sizeof sizes[0]; i++) {
		p = Arena_realloc(arena, p, old, sizes[i]);
		old = sizes[i];
		check_exact(p, old);
	}
	Arena_dispose(&arena);
}

TEST(nothing_of_a_batch_can_be_touched_in_the_next)
{
	Arena_T arena = Arena_new();
	char *p[3];
	int turn, i;

	for (turn = 0; is_watched() && turn < 4; turn++) {
		p[0] = Arena_alloc(arena, 100);
		p[1] = Arena_alloc(arena, 40000);
		p[2] = Arena_alloc(arena, 100000);
		if (turn % 2)
			Arena_clear(arena);
		else
			Arena_reset(arena, turn ? 0 : MB);
		for (i = 0; i < 3; i++)
			ck_assert(is_poisoned(p[i]) && is_poisoned(p[i] + 99));
		check_exact(Arena_alloc(arena, 50000), 50000); /* out of what was kept, and no more of it */
	}
	Arena_dispose(&arena);
}

TEST(rewind_poisons_what_it_forgets_and_nothing_else)
{
	Arena_T arena = Arena_new();
	char *kept = Arena_alloc(arena, 5), *gone[2];
	Arena_Mark mark = Arena_mark(arena);

	gone[0] = Arena_alloc(arena, 50);
	gone[1] = Arena_alloc(arena, 60000);
	Arena_rewind(arena, mark);
	if (is_watched()) {
		check_exact(kept, 5);
		ck_assert(is_poisoned(gone[0]) && is_poisoned(gone[0] + 49));
		ck_assert(is_poisoned(gone[1]) && is_poisoned(gone[1] + 59999));
	}
	Arena_dispose(&arena);
}

TEST(a_fresh_chunk_does_not_show_its_previous_owners_bytes)
{
	Arena_T arena = Arena_new();
	char *p = Arena_alloc(arena, 16);

	if (is_watched())
		ck_assert(is_poisoned(p + 64) && is_poisoned(p + 10000));
	Arena_dispose(&arena);
}

TEST(disposing_of_a_parent_poisons_its_children)
{
	Arena_T parent = Arena_new(), child = Arena_new_child(parent);
	char *p = Arena_alloc(child, 16);

	Arena_dispose(&parent);
	ck_assert(!is_watched() || is_poisoned(p));
}

TEST(a_buffer_is_the_callers_again_after_dispose)
{
	_Alignas(max_align_t) char buffer[4 * KB];
	Arena_T arena = Arena_new_in(buffer + 3, sizeof buffer - 8);
	char *p = Arena_alloc(arena, 10);
	size_t i;

	if (is_watched())
		check_exact(p, 10);
	Arena_dispose(&arena);
	for (i = 0; i < sizeof buffer && !(is_watched() && is_poisoned(buffer + i)); i++)
		;
	ck_assert_uint_eq(i, sizeof buffer);
}

static char slab[64 * KB] __attribute__((aligned(16)));

static void *alloc_slab(size_t nbytes, void *cl)
{
	(void)cl;
	return nbytes <= sizeof slab ? slab : NULL;
}

static void free_slab(void *p, size_t nbytes, void *cl)
{
	(void)cl;
	memset(p, 0, nbytes);
}

TEST(the_backing_allocator_gets_its_memory_back_touchable)
{
	Arena_T arena = Arena_new_with(&(Arena_Options){ .alloc = alloc_slab, .free = free_slab });

	Arena_alloc(arena, 100);
	Arena_dispose(&arena);
	memset(slab, 1, sizeof slab);
}
#endif

#if SANITIZED_ADDRESSES
static volatile char *bad_access;

static void use_after_clear(Arena_T arena)
{
	bad_access = Arena_alloc(arena, 100);
	Arena_clear(arena);
	bad_access[50] = 1;
}

static void use_after_rewind(Arena_T arena)
{
	Arena_Mark mark = Arena_mark(arena);

	bad_access = Arena_alloc(arena, 100);
	Arena_rewind(arena, mark);
	bad_access[0] = 1;
}

static void use_after_dispose(Arena_T arena)
{
	bad_access = Arena_alloc(arena, 100);
	Arena_dispose(&arena);
	bad_access[99] = 1;
}

static void use_after_the_parents_dispose(Arena_T arena)
{
	bad_access = Arena_alloc(Arena_new_child(arena), 100);
	Arena_dispose(&arena);
	bad_access[0] = 1;
}

static void use_of_a_disposed_arena(Arena_T arena)
{
	Arena_T copy = arena;

	Arena_dispose(&arena);
	Arena_alloc(copy, 1);
}

static void overflow_into_a_neighbour(Arena_T arena)
{
	bad_access = Arena_alloc(arena, 100);
	Arena_alloc(arena, 100);
	bad_access[100] = 1;
}

static void underflow(Arena_T arena)
{
	Arena_alloc(arena, 100);
	bad_access = Arena_alloc(arena, 100);
	bad_access[-1] = 1;
}

static void use_after_shrinking(Arena_T arena)
{
	bad_access = Arena_realloc(arena, Arena_alloc(arena, 100), 100, 10);
	bad_access[10] = 1;
}

static const struct {
	void (*fn)(Arena_T);
	const char *report;
} misuses[] = {
	{ use_after_clear, "use-after-poison" },
	{ use_after_rewind, "use-after-poison" },
	{ use_after_dispose, "heap-use-after-free" },
	{ use_after_the_parents_dispose, "heap-use-after-free" },
	{ use_of_a_disposed_arena, "heap-use-after-free" },
	{ overflow_into_a_neighbour, "use-after-poison" },
	{ underflow, "use-after-poison" },
	{ use_after_shrinking, "use-after-poison" }
};
enum { MISUSES = sizeof misuses / sizeof misuses[0] };

TEST(asan_reports_misuse, .to = MISUSES)
{
	char said[64 * KB];
	int ends[2], status;
	size_t n = 0;
	ssize_t got;
	pid_t pid;

	ck_assert_int_eq(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		dup2(ends[1], STDERR_FILENO);
		close(ends[0]);
		misuses[_i].fn(Arena_new());
		_exit(0);
	}
	close(ends[1]);
	while (n < sizeof said - 1 && (got = read(ends[0], said + n, sizeof said - 1 - n)) > 0)
		n += (size_t)got;
	said[n] = '\0';
	close(ends[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(status != 0, "misuse %d was not reported", _i);
	ck_assert_msg(strstr(said, misuses[_i].report) != NULL, "no %s in: %s", misuses[_i].report,
		said);
}
#endif
