/* SPDX-License-Identifier: MIT */
/* Places in code; see place.h. */
#include "config.h"

#include <stdint.h>
#include <string.h>
#if HAVE_EXECINFO_H
#include <execinfo.h>
#endif
#if HAVE_DLADDR
#include <dlfcn.h>
#if HAVE_DLADDR1
#include <link.h>
#endif
#endif

#include "base/place.h"
#include "base/text.h"

#if HAVE_EXECINFO_H
enum { OWN_FRAMES = 8 };

int place__capture(void **frames, int n, const void *first)
{
	void *all[PLACE_FRAMES + OWN_FRAMES];
	int count = backtrace(all, n + OWN_FRAMES), skip = 0;

	while (skip < count && skip < OWN_FRAMES && all[skip] != first)
		skip++;
	if (skip == count || all[skip] != first)
		skip = 0;
	if (n > count - skip)
		n = count - skip;
	memcpy(frames, all + skip, (size_t)n * sizeof all[0]);
	return n;
}

void place__prepare(void)
{
	void *one[1];

	backtrace(one, 1);
}
#else
int place__capture(void **frames, int n, const void *first)
{
	(void)frames;
	(void)n;
	(void)first;
	return 0;
}

void place__prepare(void)
{
}
#endif

#if HAVE_DLADDR
/* Returns how far the module was moved from the addresses in its file, which addr2line takes. */
static uintptr_t load_bias(const void *address, const Dl_info *info)
{
#if HAVE_DLADDR1
	Dl_info again;
	struct link_map *map = NULL;

	if (dladdr1(address, &again, (void **)&map, RTLD_DL_LINKMAP) && map)
		return (uintptr_t)map->l_addr;
#else
	(void)address;
#endif
	return (uintptr_t)info->dli_fbase;
}

size_t place__format(char *to, size_t size, const void *frame, Place_Style style)
{
	/* one byte back: a call that does not return may be the last thing of its function */
	const char *call = (const char *)frame - 1;
	Dl_info info;

	to[0] = '\0';
	if (!dladdr(call, &info))
		return 0;
	if (info.dli_sname && style == PLACE_FUNCTION)
		return text__format(to, size, "%s", info.dli_sname);
	if (info.dli_sname && style == PLACE_OFFSET)
		return text__format(to, size, "%s+%#lx", info.dli_sname,
			(unsigned long)((uintptr_t)frame - (uintptr_t)info.dli_saddr));
	if (!info.dli_fname)
		return 0;
	return text__format(to, size, "%s+%#lx", info.dli_fname,
		(unsigned long)((uintptr_t)call - load_bias(call, &info)));
}
#else
size_t place__format(char *to, size_t size, const void *frame, Place_Style style)
{
	(void)size;
	(void)frame;
	(void)style;
	to[0] = '\0';
	return 0;
}
#endif
