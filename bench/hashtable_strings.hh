/* SPDX-License-Identifier: MIT */
/* C strings as keys of C++ tables: pointers, hashed and compared as text, with the fast hash of
 * Abseil. */
#ifndef HASHTABLE_STRINGS_INCLUDED
#define HASHTABLE_STRINGS_INCLUDED
#include <cstring>
#include <string_view>
#include <absl/hash/hash.h>

struct Text_Hash {
	using is_avalanching = void;
	std::size_t operator()(const char *s) const { return absl::Hash<std::string_view>()(s); }
};

struct Text_Equal {
	bool operator()(const char *x, const char *y) const { return std::strcmp(x, y) == 0; }
};

#endif
