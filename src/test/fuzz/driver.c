/* SPDX-License-Identifier: MIT */
/* Runs a fuzz target without libFuzzer:
 *
 *   TARGET [-runs=N] [-seed=N] [FILE or DIRECTORY ...]
 *
 * Every file is one input. After them come N changed copies (none by default): bytes are replaced,
 * removed, inserted or taken from another file. The seed and the run's number reproduce an
 * input. */
#include "config.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

enum { FILES = 4096, LONGEST = 4096 };

typedef struct File {
	uint8_t *bytes;
	size_t n;
} File;

static File files[FILES];
static unsigned nfiles;
static uint64_t state;

/* xorshift64* (Vigna, 2016) */
static unsigned below(unsigned n)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (unsigned)((state * 0x2545f4914f6cdd1du >> 32) * n >> 32);
}

static void *get_memory(void *p, size_t n)
{
	p = realloc(p, n);
	if (!p) {
		fputs("out of memory\n", stderr);
		exit(1);
	}
	return p;
}

static void load_file(const char *name)
{
	FILE *f = fopen(name, "rb");
	File *file = &files[nfiles];

	if (!f) {
		perror(name);
		exit(1);
	}
	file->bytes = get_memory(NULL, LONGEST);
	file->n = fread(file->bytes, 1, LONGEST, f);
	fclose(f);
	nfiles++;
}

static void load(const char *name)
{
	DIR *directory = opendir(name);
	struct dirent *entry;
	char path[4096];

	if (!directory) {
		load_file(name);
		return;
	}
	while ((entry = readdir(directory)) && nfiles < FILES)
		if (entry->d_name[0] != '.') {
			snprintf(path, sizeof path, "%s/%s", name, entry->d_name);
			load_file(path);
		}
	closedir(directory);
}

/* Writes a changed copy of some file to bytes, which has room for LONGEST. Returns its length. */
static size_t mutate(uint8_t *bytes)
{
	const File *from = &files[below(nfiles)], *other = &files[below(nfiles)];
	size_t n = from->n, at, length;
	unsigned changes = 1 + below(8);

	if (n > 0)
		memcpy(bytes, from->bytes, n);
	while (changes-- > 0) {
		at = below((unsigned)n + 1);
		switch (below(4)) {
		case 0:
			if (at < n)
				bytes[at] = (uint8_t)below(256);
			break;
		case 1:
			length = below((unsigned)(n - at) + 1) % 16;
			memmove(bytes + at, bytes + at + length, n - at - length);
			n -= length;
			break;
		case 2:
			if (n < LONGEST) {
				memmove(bytes + at + 1, bytes + at, n - at);
				bytes[at] = (uint8_t)below(256);
				n++;
			}
			break;
		default:
			length = other->n;
			if (length > LONGEST - at)
				length = LONGEST - at;
			if (length > 0)
				memcpy(bytes + at, other->bytes, length);
			n = at + length;
		}
	}
	return n;
}

int main(int argc, char **argv)
{
	unsigned long run, runs = 0, seed = 1;
	int i;

	for (i = 1; i < argc; i++)
		if (sscanf(argv[i], "-runs=%lu", &runs) != 1 && sscanf(argv[i], "-seed=%lu", &seed) != 1)
			load(argv[i]);
	if (nfiles == 0) {
		files[0].bytes = get_memory(NULL, 1);
		nfiles = 1;
	}
	for (i = 0; i < (int)nfiles; i++)
		LLVMFuzzerTestOneInput(files[i].bytes, files[i].n);
	for (run = 1; run <= runs; run++) {
		uint8_t bytes[LONGEST], *input;
		size_t n;

		state = (seed << 32 ^ run) * 0x9e3779b97f4a7c15u | 1;
		n = mutate(bytes);
		input = get_memory(NULL, n + 1); /* as long as the input, for the sanitizers */
		memcpy(input, bytes, n);
		input = get_memory(input, n > 0 ? n : 1);
		LLVMFuzzerTestOneInput(input, n);
		free(input);
	}
	for (i = 0; i < (int)nfiles; i++)
		free(files[i].bytes);
	printf("%u files, %lu changed copies\n", nfiles, runs);
	return 0;
}
