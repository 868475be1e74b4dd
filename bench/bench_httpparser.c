/* SPDX-License-Identifier: MIT */
/* The parser on the head of a browser, of 703 bytes, and on a small one. Each contestant leaves
 * the fields as pointers and lengths. Peers: picohttpparser, as it lies in libh2o, opened with
 * dlopen; llhttp, from the sources that configure found. Neither is as strict as we are:
 * picohttpparser gives no field a meaning, so that framing, Host and the form of the target are
 * for its caller to check. */
#include "config.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if HAVE_LLHTTP
#include <llhttp.h>
#endif

#include <core/core.h>
#include "bench.h"
#include "http/parser.h"

static const char browser[] =
	"GET /wp-content/uploads/2010/03/a-picture-of-a-cat-in-a-box-in-the-garden.jpg HTTP/1.1\r\n"
	"Host: www.example.org\r\n"
	"User-Agent: Mozilla/5.0 (Macintosh; U; Intel Mac OS X 10.6; ja-JP-mac; rv:1.9.2.3) "
	"Gecko/20100401 Firefox/3.6.3\r\n"
	"Accept: image/png,image/*;q=0.8,*/*;q=0.5\r\n"
	"Accept-Language: ja,en-us;q=0.7,en;q=0.3\r\n"
	"Accept-Encoding: gzip,deflate\r\n"
	"Accept-Charset: Shift_JIS,utf-8;q=0.7,*;q=0.7\r\n"
	"Keep-Alive: 115\r\n"
	"Connection: keep-alive\r\n"
	"Cookie: visits=2; visit_lasttime=1268409940; "
	"__utma=161330821.1270462386.1268406904.1268406904.1268409940.2; "
	"__utmz=161330821.1268406904.1.1.utmccn=(referral)|utmcsr=example.net|"
	"utmcct=/reader/|utmcmd=referral; "
	"session=0123456789abcdef0123456789abcdef; theme=light; x=471\r\n\r\n";
static const char small[] = "GET / HTTP/1.1\r\nHost: example.org\r\nAccept: */*\r\n\r\n";
_Static_assert(sizeof browser - 1 == 703, "the head of the goal has 703 bytes");

typedef struct Head {
	const char *bytes;
	size_t length;
} Head;

enum { FIELDS = 32 };

typedef struct Field {
	const char *name;
	size_t name_length;
	const char *value;
	size_t value_length;
} Field;

static Field fields[FIELDS];

static void wrong(const char *what)
{
	fprintf(stderr, "bench_httpparser: %s did not parse the head\n", what);
	exit(1);
}

/* ---- ours ---- */

static void parse_ours(void *cl, size_t n)
{
	static const HTTP_Limits limits = { 8192, 32768, 100, 1024 * 1024, 1, 1 };
	const Head *head = cl;

	for (; n > 0; n--) {
		HTTPParser p;
		HTTPParser_Event event;
		size_t i = 0;

		httpparser__init(&p, &limits);
		while ((event = httpparser__next(&p, head->bytes, head->length)) != HTTPParser_HEAD)
			if (event == HTTPParser_FIELD)
				fields[i++] = (Field){ head->bytes + p.name.at, p.name.length,
					head->bytes + p.value.at, p.value.length };
			else if (event != HTTPParser_LINE)
				wrong("libcore");
		bench_use(fields);
	}
}

/* ---- picohttpparser ---- */

static int (*phr_parse_request)(const char *, size_t, const char **, size_t *, const char **,
	size_t *, int *, Field *, size_t *, size_t);

static void parse_pico(void *cl, size_t n)
{
	const Head *head = cl;

	for (; n > 0; n--) {
		const char *method, *path;
		size_t method_length, path_length, count = FIELDS;
		int minor;

		if (phr_parse_request(head->bytes, head->length, &method, &method_length, &path,
				&path_length, &minor, fields, &count, 0)
			!= (int)head->length)
			wrong("picohttpparser");
		bench_use(fields);
	}
}

/* ---- llhttp ---- */

#if HAVE_LLHTTP
static size_t at;

static int ll_name(llhttp_t *p, const char *s, size_t n)
{
	(void)p;
	fields[at].name = s;
	fields[at].name_length = n;
	return 0;
}

static int ll_value(llhttp_t *p, const char *s, size_t n)
{
	(void)p;
	fields[at].value = s;
	fields[at++].value_length = n;
	return 0;
}

static void parse_llhttp(void *cl, size_t n)
{
	const Head *head = cl;
	llhttp_settings_t settings;

	llhttp_settings_init(&settings);
	settings.on_header_field = ll_name;
	settings.on_header_value = ll_value;
	for (; n > 0; n--) {
		llhttp_t p;

		at = 0;
		llhttp_init(&p, HTTP_REQUEST, &settings);
		if (llhttp_execute(&p, head->bytes, head->length) != HPE_OK)
			wrong("llhttp");
		bench_use(fields);
	}
}
#endif

/* ---- the workloads ---- */

static void *peer(const char *library, const char *name)
{
	void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	void *function = handle ? dlsym(handle, name) : NULL;

	if (!function)
		fprintf(stderr, "bench_httpparser: %s is not installed\n", library);
	return function;
}

static void add(const char *workload, const Head *head, double goal)
{
	if (phr_parse_request)
		bench_add(&(Bench_Case){ .workload = workload,
			.name = "picohttpparser",
			.run = parse_pico,
			.cl = (void *)head });
	bench_add(&(Bench_Case){ .workload = workload,
		.name = "libcore",
		.run = parse_ours,
		.cl = (void *)head,
		.goal = goal });
#if HAVE_LLHTTP
	bench_add(&(Bench_Case){
		.workload = workload, .name = "llhttp", .run = parse_llhttp, .cl = (void *)head });
#endif
}

int main(int argc, char *argv[])
{
	static const Head large_head = { browser, sizeof browser - 1 },
		small_head = { small, sizeof small - 1 };
	void *function;

	bench_start("httpparser", &argc, argv);
	function = peer("libh2o.so.0.13", "phr_parse_request");
	memcpy(&phr_parse_request, &function, sizeof function);
	add("parse the head of a browser, 703 bytes", &large_head, 1);
	add("parse a small head, 50 bytes", &small_head, 0);
	bench_run();
	return bench_end();
}
