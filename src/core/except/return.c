/* SPDX-License-Identifier: MIT */
/* Except: RETURN. It leaves the links of its function one by one, from the innermost to the
 * outermost TRY, by way of each FINALLY. Then it comes back to where it stands to leave the scopes.
 *
 * The FINALLYs run on the same C frame before it resumes there. clang does not see that control
 * comes back (LLVM issue 196468). It may have laid their locals over the value and over the links
 * that were left. So the value is put back, and the links are marked unlinked again. */

/* The plain longjmp; Except.c says why. */
#undef _FORTIFY_SOURCE
#include "config.h"

#include <string.h>

#include "except/rep.h"

typedef struct Left {
	struct Left *next;
	Except_Link *link;
} Left;

typedef struct Return {
	Left *left;
	void *value;
	size_t size;
	unsigned char bytes[];
} Return;

static void leave_link(Except_Link *link, Return *r)
{
	Left *left = r ? except__take(sizeof *left) : NULL;

	if (left) {
		left->link = link;
		left->next = r->left;
		r->left = left;
	}
	Except__unlink(link);
}

static void resume_return(void *mark, jmp_buf site, const Return *r) EXCEPT__NORETURN;
static void resume_return(void *mark, jmp_buf site, const Return *r)
{
	if (r) {
		const Left *left;

		if (r->size > 0)
			memcpy(r->value, r->bytes, r->size);
		for (left = r->left; left; left = left->next)
			left->link->top = NULL;
	}
	except__cut_back(mark);
	longjmp(site, 1);
}

/* To the clean-up of f. Its env, not needed again, keeps the way back. */
static void go_to_finally(Except_Frame *f, Except_Frame *outermost, jmp_buf site,
	Return *r) EXCEPT__NORETURN;
static void go_to_finally(Except_Frame *f, Except_Frame *outermost, jmp_buf site, Return *r)
{
	jmp_buf env;

	memcpy(&env, &f->env, sizeof env);
	memcpy(&f->env, site, sizeof env);
	f->link.argument = outermost;
	f->record = r;
	f->state = RETURNING;
	longjmp(env, 1);
}

/* Leaves the links one by one, outwards to the outermost TRY of the function. A closed link is a
 * TRY in whose FINALLY the RETURN stands. */
static void return_through(Except_Frame *outermost, jmp_buf site, Return *r) EXCEPT__NORETURN;
static void return_through(Except_Frame *outermost, jmp_buf site, Return *r)
{
	Except_Link *link;

	do {
		link = except__thread.public.top;
		if (except__is_in(link, CATCHING))
			go_to_finally(except__frame_of(link), outermost, site, r);
		leave_link(link, r);
		if (link->run)
			except__run(link);
	} while (link != &outermost->link);
	resume_return(outermost->mark, site, r);
}

void Except__return(Except_Frame *outermost, jmp_buf site, void *value, size_t size)
{
	Return *r = size < RECORDS_SIZE ? except__take(sizeof *r + size) : NULL;

	/* Without memory all stays where it is, which is right but for clang's bug. */
	if (r) {
		r->left = NULL;
		r->value = value;
		r->size = size;
		if (size > 0)
			memcpy(r->bytes, value, size);
	}
	return_through(outermost, site, r);
}

void except__return_on(Except_Frame *f)
{
	Except_Frame *outermost = f->link.argument;

	leave_link(&f->link, f->record);
	if (f != outermost)
		return_through(outermost, f->env, f->record);
	resume_return(f->mark, f->env, f->record);
}
