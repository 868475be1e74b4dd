/* SPDX-License-Identifier: MIT */
/* load LIBRARY: loads libcore by dlopen, as an interpreter's extension would, and allocates from
 * an arena. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char *argv[])
{
	void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;
	void *(*make)(void), *(*allocate)(void *, size_t);

	if (!library) {
		fprintf(stderr, "%s\n", argc > 1 ? dlerror() : "load LIBRARY");
		return 1;
	}
	*(void **)&make = dlsym(library, "Arena_new");
	*(void **)&allocate = dlsym(library, "Arena_alloc");
	return !make || !allocate || !memset(allocate(make(), 100), 1, 100);
}
