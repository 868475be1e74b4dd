// SPDX-License-Identifier: MIT
// The C++ contestants of bench_hashtable, inlined into its loops: the standard library's table,
// Abseil's and Boost's, and Boost's once more through boost_so.cc. The others are measured by the
// first of each sort of keys.
#include <unordered_map>
#include <absl/container/flat_hash_map.h>
#include <boost/unordered/unordered_flat_map.hpp>

#include "hashtable_strings.hh"
#include "hashtable_subjects.h"

namespace {

template <class Map> struct Loops {
	static void *make(size_t hint)
	{
		Map *t = new Map;

		if (hint)
			t->reserve(hint);
		return t;
	}

	static auto key(const Keys *keys, size_t i)
	{
		if constexpr (std::is_same_v<typename Map::key_type, uint64_t>)
			return keys->numbers[i];
		else
			return keys->strings[i];
	}

	static void insert(void *table, const Keys *keys, size_t n)
	{
		Map &t = *static_cast<Map *>(table);

		for (size_t i = 0; i < n; i++)
			t[key(keys, i)] = VALUE_OF(i);
	}

	static uintptr_t find(void *table, const Keys *keys, const uint32_t *order, size_t n)
	{
		Map &t = *static_cast<Map *>(table);
		uintptr_t sum = 0;

		for (size_t i = 0; i < n; i++) {
			auto found = t.find(key(keys, order[i]));

			if (found != t.end())
				sum += reinterpret_cast<uintptr_t>(found->second);
		}
		return sum;
	}

	static void churn(void *table, const Keys *keys, const uint32_t *order, size_t n)
	{
		Map &t = *static_cast<Map *>(table);

		for (size_t i = 0; i < n; i++) {
			t.erase(key(keys, order[i]));
			t[key(keys, order[i])] = VALUE_OF(order[i]);
		}
	}

	static uintptr_t iterate(void *table)
	{
		uintptr_t sum = 0;

		for (const auto &entry : *static_cast<Map *>(table))
			sum += reinterpret_cast<uintptr_t>(entry.second);
		return sum;
	}

	static void drop(void *table) { delete static_cast<Map *>(table); }

	static Subject subject(const char *name)
	{
		return { name, !std::is_same_v<typename Map::key_type, uint64_t>, 0, make, insert, find,
			churn, iterate, drop };
	}
};

template <class Key> void add(Key, void *value, void *cl)
{
	*static_cast<uintptr_t *>(cl) += reinterpret_cast<uintptr_t>(value);
}

void *so_u64_make(size_t hint) { return boost_u64_new(hint); }
void so_u64_drop(void *t) { boost_u64_free(static_cast<Boost_u64 *>(t)); }
uintptr_t so_u64_iterate(void *t)
{
	uintptr_t sum = 0;

	boost_u64_map(static_cast<Boost_u64 *>(t), add<uint64_t>, &sum);
	return sum;
}
LOOPS(so_u64, numbers, uint64_t, Boost_u64 *, boost_u64_put(t, k, v), boost_u64_get(t, k),
	boost_u64_remove(t, k))

void *so_str_make(size_t hint) { return boost_str_new(hint); }
void so_str_drop(void *t) { boost_str_free(static_cast<Boost_str *>(t)); }
uintptr_t so_str_iterate(void *t)
{
	uintptr_t sum = 0;

	boost_str_map(static_cast<Boost_str *>(t), add<const char *>, &sum);
	return sum;
}
LOOPS(so_str, strings, const char *, Boost_str *, boost_str_put(t, k, v), boost_str_get(t, k),
	boost_str_remove(t, k))

using Text = const char *;
const Subject boost_u64 =
	Loops<boost::unordered_flat_map<uint64_t, void *>>::subject("boost inline");
const Subject absl_u64 = Loops<absl::flat_hash_map<uint64_t, void *>>::subject("absl inline");
const Subject std_u64 = Loops<std::unordered_map<uint64_t, void *>>::subject("std::unordered_map");
const Subject boost_str =
	Loops<boost::unordered_flat_map<Text, void *, Text_Hash, Text_Equal>>::subject("boost inline");
const Subject absl_str =
	Loops<absl::flat_hash_map<Text, void *, Text_Hash, Text_Equal>>::subject("absl inline");
const Subject std_str =
	Loops<std::unordered_map<Text, void *, Text_Hash, Text_Equal>>::subject("std::unordered_map");
const Subject so_u64 = { "boost-so", 0, 0, so_u64_make, so_u64_insert, so_u64_find, so_u64_churn,
	so_u64_iterate, so_u64_drop };
const Subject so_str = { "boost-so", 1, 0, so_str_make, so_str_insert, so_str_find, so_str_churn,
	so_str_iterate, so_str_drop };
}

const Subject *const cxx_subjects[] = {
	&so_u64, &boost_u64, &absl_u64, &std_u64, &boost_str, &so_str, &absl_str, &std_str, nullptr
};
