// SPDX-License-Identifier: MIT
// boost::unordered_flat_map behind an opaque C interface; see hashtable_subjects.h.
#include <boost/unordered/unordered_flat_map.hpp>

#include "hashtable_strings.hh"
#include "hashtable_subjects.h"

struct Boost_u64 {
	boost::unordered_flat_map<uint64_t, void *> map;
};

struct Boost_str {
	boost::unordered_flat_map<const char *, void *, Text_Hash, Text_Equal> map;
};

template <class Table> static Table *make(size_t hint)
{
	Table *t = new Table;

	if (hint)
		t->map.reserve(hint);
	return t;
}

template <class Table, class Key> static void *get(const Table *t, Key key)
{
	auto i = t->map.find(key);

	return i == t->map.end() ? nullptr : i->second;
}

Boost_u64 *boost_u64_new(size_t hint) { return make<Boost_u64>(hint); }
void boost_u64_put(Boost_u64 *t, uint64_t key, void *value) { t->map[key] = value; }
void *boost_u64_get(const Boost_u64 *t, uint64_t key) { return get(t, key); }
void boost_u64_remove(Boost_u64 *t, uint64_t key) { t->map.erase(key); }
void boost_u64_free(Boost_u64 *t) { delete t; }
void boost_u64_map(const Boost_u64 *t, void (*apply)(uint64_t, void *, void *), void *cl)
{
	for (const auto &entry : t->map)
		apply(entry.first, entry.second, cl);
}

Boost_str *boost_str_new(size_t hint) { return make<Boost_str>(hint); }
void boost_str_put(Boost_str *t, const char *key, void *value) { t->map[key] = value; }
void *boost_str_get(const Boost_str *t, const char *key) { return get(t, key); }
void boost_str_remove(Boost_str *t, const char *key) { t->map.erase(key); }
void boost_str_free(Boost_str *t) { delete t; }
void boost_str_map(const Boost_str *t, void (*apply)(const char *, void *, void *), void *cl)
{
	for (const auto &entry : t->map)
		apply(entry.first, entry.second, cl);
}
