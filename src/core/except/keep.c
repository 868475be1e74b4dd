/* SPDX-License-Identifier: MIT */
/* Except: what a record needs to outlive the module that raised. A clean-up that an exception
 * passes may dlclose the plugin that raised it. Then the strings of __FILE__ and __func__, and
 * perhaps the exception object, no longer exist. So they are copied into the stack of records
 * before the first clean-up. Strings in the program or in this library are not copied: such a raise
 * costs two comparisons. */
#include "config.h"

#include <stdint.h>
#include <string.h>
#if HAVE_DL_ITERATE_PHDR
#include <link.h>
#endif

#include "except/rep.h"

/* The memory of the modules that are never unloaded: the program and this library. */
static struct {
	uintptr_t start, size;
} permanent[2];

static inline int is_permanent(const void *p)
{
	uintptr_t s = (uintptr_t)p;

	return s - permanent[0].start < permanent[0].size || s - permanent[1].start < permanent[1].size;
}

#if HAVE_DL_ITERATE_PHDR
static int note_module(struct dl_phdr_info *module, size_t size, void *cl)
{
	uintptr_t start = UINTPTR_MAX, end = 0, here = (uintptr_t)permanent;
	int *is_first = cl, i;

	(void)size;
	for (i = 0; i < module->dlpi_phnum; i++)
		if (module->dlpi_phdr[i].p_type == PT_LOAD) {
			uintptr_t p = module->dlpi_addr + module->dlpi_phdr[i].p_vaddr;

			if (p < start)
				start = p;
			if (p + module->dlpi_phdr[i].p_memsz > end)
				end = p + module->dlpi_phdr[i].p_memsz;
		}
	if (*is_first || (here >= start && here < end)) {
		permanent[!*is_first].start = start;
		permanent[!*is_first].size = end - start;
	}
	*is_first = 0;
	return 0;
}
#endif

void except__find_permanent(void)
{
#if HAVE_DL_ITERATE_PHDR
	int is_first = 1;

	dl_iterate_phdr(note_module, &is_first);
#endif
}

/* These return what they are given if there is no room. */

static const char *copy_string(const char *s)
{
	size_t n = strlen(s) + 1;
	char *copy = n < RECORDS_SIZE ? except__take(n) : NULL;

	return copy ? memcpy(copy, s, n) : s;
}

static inline const char *keep_string(const char *s)
{
	return !s || is_permanent(s) ? s : copy_string(s);
}

static const Except_T *copy_exception(const Except_T *e);

static inline const Except_T *keep_exception(const Except_T *e)
{
	return !e || is_permanent(e) ? e : copy_exception(e);
}

static const Except_T *copy_exception(const Except_T *e)
{
	Except_T *copy = except__take(sizeof *copy);

	if (!copy)
		return e;
	copy->reason = keep_string(e->reason);
	copy->parent = keep_exception(e->parent);
	copy->self = e->self ? e->self : e;
	return copy;
}

void except__keep(Record *r)
{
	for (; r; r = r->cause) {
		if (r->flags & RECORD_IS_KEPT)
			continue;
		r->file = keep_string(r->file);
		r->function = keep_string(r->function);
		r->kept = keep_exception(r->exception);
		r->flags |= RECORD_IS_KEPT;
	}
}
