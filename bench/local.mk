# SPDX-License-Identifier: MIT
# Benchmarks: built and run by hand, never by a test. A part of Makefile.am.

EXTRA_PROGRAMS = bench/bench_arena bench/bench_hashtable bench/bench_httpparser
if HAVE_EPOLL
EXTRA_PROGRAMS += bench/bench_http bench/bench_httpcall bench/bench_httplater \
	bench/bench_socketpool
endif
if HAVE_CXX
EXTRA_PROGRAMS += bench/bench_except bench/bench_except_static
endif
BENCH_CPPFLAGS = $(AM_CPPFLAGS) -DBENCH_CFLAGS='"$(CFLAGS)"'
BENCH_SOURCES = bench/bench.c bench/bench.h
bench_bench_arena_SOURCES = $(BENCH_SOURCES) bench/arena_core.c bench/arena_exported.c \
	bench/arena_peers.c bench/arena_workloads.h \
	bench/bench_arena.c
bench_bench_arena_CPPFLAGS = $(BENCH_CPPFLAGS)
bench_bench_arena_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS) $(APR_CFLAGS) $(TALLOC_CFLAGS)
bench_bench_arena_LDADD = $(SHARED) $(GLIB_LIBS) $(APR_LIBS) $(TALLOC_LIBS)
bench_bench_except_SOURCES = $(BENCH_SOURCES) bench/bench_except.c bench/bench_except.h \
	bench/bench_except_cxx.cc
bench_bench_except_CPPFLAGS = $(BENCH_CPPFLAGS) -DBENCH_NAME='"except"'
bench_bench_except_static_SOURCES = $(bench_bench_except_SOURCES)
bench_bench_except_static_CPPFLAGS = $(BENCH_CPPFLAGS) -DBENCH_NAME='"except, static"'
bench_bench_except_static_LDADD = $(INTERNAL)
bench_bench_httpparser_SOURCES = $(BENCH_SOURCES) bench/bench_httpparser.c \
	src/test/peer_llhttp.c src/test/peer_llhttp_api.c
bench_bench_httpparser_CPPFLAGS = $(BENCH_CPPFLAGS) $(LLHTTP_CPPFLAGS)
bench_bench_httpparser_LDADD = $(INTERNAL)
bench_bench_http_SOURCES = $(BENCH_SOURCES) bench/bench_http.c bench/http_servers.c \
	bench/http_servers.h
bench_bench_http_CPPFLAGS = $(BENCH_CPPFLAGS)
bench_bench_httpcall_SOURCES = $(BENCH_SOURCES) bench/bench_httpcall.c bench/http_servers.c \
	bench/http_servers.h
bench_bench_httpcall_CPPFLAGS = $(BENCH_CPPFLAGS)
bench_bench_httpcall_LDADD = $(INTERNAL)
bench_bench_httplater_SOURCES = $(BENCH_SOURCES) bench/bench_httplater.c
bench_bench_httplater_CPPFLAGS = $(BENCH_CPPFLAGS)
bench_bench_socketpool_SOURCES = $(BENCH_SOURCES) bench/bench_socketpool.c
bench_bench_socketpool_CPPFLAGS = $(BENCH_CPPFLAGS)
bench_bench_socketpool_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS) $(APR_UTIL_CFLAGS)
bench_bench_socketpool_LDADD = $(SHARED) $(GLIB_LIBS) $(APR_UTIL_LIBS)
bench_bench_hashtable_SOURCES = $(BENCH_SOURCES) bench/bench_hashtable.c \
	bench/hashtable_subjects.h
bench_bench_hashtable_CPPFLAGS = $(BENCH_CPPFLAGS)
bench_bench_hashtable_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS) $(APR_CFLAGS)
bench_bench_hashtable_LDADD = $(SHARED) $(GLIB_LIBS) $(APR_LIBS)
if HAVE_CXX_TABLES
bench_bench_hashtable_SOURCES += bench/hashtable_peers.cc bench/hashtable_strings.hh
bench_bench_hashtable_LDADD += bench/libboostso.la $(ABSL_LIBS)
EXTRA_LTLIBRARIES = bench/libboostso.la
bench_libboostso_la_SOURCES = bench/boost_so.cc bench/hashtable_strings.hh \
	bench/hashtable_subjects.h
bench_libboostso_la_LIBADD = $(ABSL_LIBS)
bench_libboostso_la_LDFLAGS = -avoid-version -rpath $(abs_builddir)
endif
## bench                all benchmarks in one run, which can be stopped and goes on the next time
bench: $(EXTRA_PROGRAMS)
	@BENCH_VERSION='$(VERSION)' sh $(srcdir)/bench/run $(EXTRA_PROGRAMS)
## bench-clean          forgets them
bench-clean:
	rm -rf bench-results bench-report.*
## bench-report         a page of them
bench-report:
	@python3 $(srcdir)/bench/report bench-results >bench-report.tmp && \
		mv bench-report.tmp bench-report.html && echo bench-report.html
## bench-performance    the tables of docs/performance.md
bench-performance:
	python3 $(srcdir)/bench/report --update $(srcdir)/docs/performance.md bench-results
## bench-arena, bench-except, bench-except_static, bench-hashtable, bench-http, bench-httpcall, bench-httplater, bench-httpparser, bench-socketpool   one
BENCHMARKS = bench-arena bench-except bench-except_static bench-hashtable bench-http \
	bench-httpcall bench-httplater bench-httpparser bench-socketpool
bench-except: bench-except_static
$(BENCHMARKS):
	@$(MAKE) $(AM_MAKEFLAGS) $(@:bench-%=bench/bench_%) && $(@:bench-%=bench/bench_%) $(BENCH_ARGS)
