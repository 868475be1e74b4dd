# SPDX-License-Identifier: MIT
# The examples, built here only to be tested; a user builds them through pkg-config. A part of
# Makefile.am.

EXAMPLES = $(PLAIN_EXAMPLES)
PLAIN_EXAMPLES = \
	examples/chat \
	examples/connection-pool \
	examples/event-loop \
	examples/events \
	examples/gateway \
	examples/hello \
	examples/request-server \
	examples/thread-per-request \
	examples/with-postgres \
	examples/with-redis \
	examples/wf \
	examples/worker-queue

if HAVE_PMR
EXAMPLES += examples/pmr
examples_pmr_SOURCES = examples/pmr.cc
endif

# those for other libraries, where these are installed
if HAVE_ZLIB
EXAMPLES += examples/with-zlib
endif
if HAVE_EXPAT
EXAMPLES += examples/with-expat
endif
if HAVE_PCRE2
EXAMPLES += examples/with-pcre2
endif
if HAVE_CJSON
EXAMPLES += examples/with-cjson
endif
if HAVE_CARES
EXAMPLES += examples/with-cares
endif
if HAVE_CURL
EXAMPLES += examples/with-curl-multi
endif
if HAVE_LIBPQ
EXAMPLES += examples/with-libpq
endif
if HAVE_WSLAY
EXAMPLES += examples/websocket
endif
examples_websocket_LDADD = $(SHARED) -lwslay
examples_with_zlib_CFLAGS = $(AM_CFLAGS) $(ZLIB_CFLAGS)
examples_with_zlib_LDADD = $(SHARED) $(ZLIB_LIBS)
examples_with_expat_CFLAGS = $(AM_CFLAGS) $(EXPAT_CFLAGS)
examples_with_expat_LDADD = $(SHARED) $(EXPAT_LIBS)
examples_with_pcre2_CFLAGS = $(AM_CFLAGS) $(PCRE2_CFLAGS)
examples_with_pcre2_LDADD = $(SHARED) $(PCRE2_LIBS)
examples_with_cjson_CFLAGS = $(AM_CFLAGS) $(CJSON_CFLAGS)
examples_with_cjson_LDADD = $(SHARED) $(CJSON_LIBS)
examples_with_cares_CFLAGS = $(AM_CFLAGS) $(CARES_CFLAGS)
examples_with_cares_LDADD = $(SHARED) $(CARES_LIBS)
examples_with_curl_multi_CFLAGS = $(AM_CFLAGS) $(CURL_CFLAGS)
examples_with_curl_multi_LDADD = $(SHARED) $(CURL_LIBS)
examples_with_libpq_CFLAGS = $(AM_CFLAGS) $(LIBPQ_CFLAGS)
examples_with_libpq_LDADD = $(SHARED) $(LIBPQ_LIBS)
