/* SPDX-License-Identifier: MIT */
/* zlib on an arena: deflate and inflate take their memory from a scratch arena, which is disposed
 * of however they end. No exception may pass zlib, so its allocator returns NULL, and the caller
 * raises.
 *
 *   cc with-zlib.c -o with-zlib $(pkg-config --cflags --libs libcore zlib)
 *   ./with-zlib */
#include <stdint.h>
#include <string.h>
#include <zlib.h>

#include <core/core.h>

EXCEPT_DEFINE(Zip_Failed, NULL, "zlib failed");

typedef struct Bytes {
	unsigned char *data;
	size_t length;
} Bytes;

static void *arena_zalloc(void *arena, uInt count, uInt nbytes)
{
	if (nbytes && count > SIZE_MAX / nbytes)
		return Z_NULL;
	return Arena_try_alloc(arena, (size_t)count * nbytes);
}

static void arena_zfree(void *arena, void *p)
{
	(void)arena;
	(void)p;
}

static z_stream stream_on(Arena_T scratch, Bytes in, Bytes out)
{
	z_stream z = { 0 };

	z.zalloc = arena_zalloc;
	z.zfree = arena_zfree;
	z.opaque = scratch;
	z.next_in = in.data;
	z.avail_in = (uInt)in.length;
	z.next_out = out.data;
	z.avail_out = (uInt)out.length;
	return z;
}

static void check(int status, int wanted, const z_stream *z)
{
	if (status != wanted)
		RAISE_MSG(Zip_Failed, "zlib: %s", z->msg ? z->msg : zError(status));
}

static Bytes compressed(Arena_T arena, Bytes in, Arena_T scratch)
{
	Bytes out = { NULL, compressBound((uLong)in.length) };
	z_stream z;

	out.data = ALLOC(arena, out.length);
	z = stream_on(scratch, in, out);
	check(deflateInit(&z, Z_BEST_COMPRESSION), Z_OK, &z);
	check(deflate(&z, Z_FINISH), Z_STREAM_END, &z);
	return (Bytes){ out.data, z.total_out }; /* no deflateEnd: there is nothing that it would do */
}

/* At most so many bytes: a small input can hold a large text. */
static Bytes uncompressed(Arena_T arena, Bytes in, size_t most, Arena_T scratch)
{
	Bytes out = { ALLOC(arena, most), most };
	z_stream z = stream_on(scratch, in, out);

	check(inflateInit(&z), Z_OK, &z);
	check(inflate(&z, Z_FINISH), Z_STREAM_END, &z);
	return (Bytes){ out.data, z.total_out };
}

static Bytes verses(Arena_T arena)
{
	enum { BOTTLES = 99, LINE = 64 };
	char *text = ALLOC(arena, BOTTLES * LINE);
	size_t length = 0;
	int n;

	for (n = BOTTLES; n > 0; n--)
		length += (size_t)snprintf(text + length, LINE,
			"%d bottles of beer on the wall, %d bottles of beer.\n", n, n);
	return (Bytes){ (unsigned char *)text, length };
}

static void there_and_back(size_t limit)
{
	AUTO(Arena_T, arena, Arena_dispose) = Arena_new();
	Bytes text = verses(arena), packed, again;
	Arena_T scratch = Arena_new_child(arena);

	Arena_set_limit(scratch, limit);
	packed = compressed(arena, text, scratch);
	Arena_clear(scratch);
	again = uncompressed(arena, packed, text.length, scratch);
	printf("%zu bytes to %zu bytes and back: %s\n", text.length, packed.length,
		again.length == text.length && memcmp(again.data, text.data, text.length) == 0
			? "the same"
			: "not the same");
	packed.data[packed.length - 1] ^= 1; /* of the checksum */
	uncompressed(arena, packed, text.length, scratch);
}

static void try(size_t limit)
{
	TRY {
		there_and_back(limit);
	} EXCEPT(Zip_Failed) {
		puts(Except_message());
	} END_TRY;
}

int main(void)
{
	try(0);         /* ends at the damaged checksum */
	try(64 * 1024); /* deflate needs four times that */
	printf("live arenas: %zu\n", Arena_debug_live_count());
	return 0;
}
