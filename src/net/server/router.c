/* SPDX-License-Identifier: MIT */
/* Routes: a tree of path segments. Under each node are literal segments, at most one parameter and
 * at most one rest, and they are tried in this order. If the way down ends at a node that does not
 * have the method, the search goes back. So "/users/me" with only GET does not hide "/users/:id"
 * with POST. The names of parameters are in the route, because two patterns may give the same
 * segment two names.
 *
 * A path was decoded before it comes here, except %2F and %5C, which stay in their segment. */
#include "config.h"

#include <ctype.h>
#include <string.h>

#include "server/rep.h"

enum { METHODS = 32 }; /* in an Allow */

typedef struct Search {
	const char *method, *fallback; /* HEAD falls back to GET; NULL: nothing does */
	HTTPSlice values[PARAMS];
	const char *path;
	const char *allowed[METHODS];
	int nallowed;
} Search;

/* ---- making ---- */

static Node *make_node(Arena_T arena, const char *text, size_t n)
{
	Node *node;

	NEW0(arena, node);
	node->text = Arena_strndup(arena, text, n);
	node->length = n;
	return node;
}

static Node *find_literal(const Node *node, const char *text, size_t n)
{
	Node *child;

	for (child = node->literals; child; child = child->next)
		if (child->length == n && memcmp(child->text, text, n) == 0)
			break;
	return child;
}

static Node *provide_node(Arena_T arena, Node *node, const char *segment, size_t n)
{
	Node **place = *segment == ':' ? &node->parameter : *segment == '*' ? &node->rest : NULL;
	Node *child;

	if (place) {
		if (!*place)
			*place = make_node(arena, segment, n);
		return *place;
	}
	child = find_literal(node, segment, n);
	if (!child) {
		child = make_node(arena, segment, n);
		child->next = node->literals;
		node->literals = child;
	}
	return child;
}

/* The path of a request is decoded: a pattern with text that decoding removes would never match. */
static void check_bytes(const char *pattern)
{
	const char *s = pattern + strcspn(pattern, "?#\\");

	CHECK(!*s, "HTTPServer_route: \"%s\" has a '%c', and no path has one", pattern, *s);
	for (s = pattern; (s = strchr(s, '%')) != NULL; s++)
		CHECK(!isxdigit((unsigned char)s[1]) || !isxdigit((unsigned char)s[2]),
			"HTTPServer_route: \"%s\" has the escape %.3s, "
			"and paths are decoded before they are matched", pattern, s);
}

static void check_segment(const char *pattern, const char *s, size_t n)
{
	CHECK(n > 0 || !s[n],
		"HTTPServer_route: \"%s\" has an empty segment, and no path has one", pattern);
	CHECK(!httpparser__is_dots(s, n),
		"HTTPServer_route: \"%s\" has the segment \"%.*s\", and no path has one",
		pattern, (int)n, s);
	CHECK(*s != ':' || n > 1, "HTTPServer_route: a parameter of \"%s\" has no name", pattern);
	CHECK(*s != '*' || !s[n], "HTTPServer_route: \"%s\" goes on after its rest", pattern);
}

/* Returns how many parameters were counted, one more if the segment is one. */
static int count_parameter(const char *pattern, HTTPSlice *names, int n, const char *s,
	size_t length)
{
	int i;

	if (*s != ':' && *s != '*')
		return n;
	CHECK(n < PARAMS, "HTTPServer_route: \"%s\" has more than %d parameters", pattern, PARAMS);
	names[n] = (HTTPSlice){ (size_t)(s + (length > 1) - pattern), length > 1 ? length - 1 : 1 };
	for (i = 0; i < n; i++)
		CHECK(names[i].length != names[n].length
				|| memcmp(pattern + names[i].at, pattern + names[n].at, names[n].length) != 0,
			"HTTPServer_route: \"%s\" has two parameters \"%.*s\"", pattern, (int)names[n].length,
			pattern + names[n].at);
	return n + 1;
}

static void check_pattern(const char *pattern)
{
	HTTPSlice names[PARAMS];
	const char *s = pattern;
	int nparams = 0;

	CHECK(*pattern == '/',
		"HTTPServer_route: the pattern \"%s\" does not start with a slash", pattern);
	check_bytes(pattern);
	while (*s) {
		size_t n = strcspn(++s, "/");

		check_segment(pattern, s, n);
		nparams = count_parameter(pattern, names, nparams, s, n);
		s += n;
	}
}

static void check_method(const char *method)
{
	CHECK(httpparser__is_token(method, strlen(method)),
		"HTTPServer_route: \"%s\" is not a method", method);
	CHECK(strcmp(method, "CONNECT") != 0,
		"HTTPServer_route: \"%s\" has no path that could be routed", method);
}

/* The node of the pattern; the names of its parameters go to names. */
static Node *plant_pattern(HTTPServer_T server, const char *pattern, const char **names)
{
	Node *node = &server->root;
	const char *s = pattern;

	while (s) {
		const char *segment = s + 1, *end;
		size_t n;

		end = strchr(segment, '/');
		n = end ? (size_t)(end - segment) : strlen(segment);
		if (*segment == ':' || *segment == '*')
			*names++ = n == 1 ? "*" : Arena_strndup(server->arena, segment + 1, n - 1);
		node = provide_node(server->arena, node, segment, n);
		s = end;
	}
	return node;
}

static int lists_method(const char *methods, const char *method)
{
	size_t n = strlen(method);
	const char *s;

	for (s = methods; s && (s = strstr(s, method)) != NULL; s += n)
		if ((s == methods || s[-1] == ' ') && (s[n] == ',' || !s[n]))
			return 1;
	return 0;
}

static void note_method(HTTPServer_T server, const char *method)
{
	if (!method)
		server->takes_any = 1;
	else if (!lists_method(server->methods, method))
		server->methods = Arena_sprintf(server->arena, "%s, %s", server->methods, method);
	if (method && strcmp(method, "GET") == 0)
		note_method(server, "HEAD");
}

int httpserver__has_method(HTTPServer_T server, const char *method)
{
	return server->takes_any || lists_method(server->methods, method);
}

static int same_method(const char *x, const char *y)
{
	return x == y || (x && y && strcmp(x, y) == 0);
}

void HTTPServer_route_with(HTTPServer_T server, const HTTPServer_Route *given)
{
	Route *route, **end;
	Node *node;

	CHECK(server && given, "HTTPServer_route: the %s is NULL", server ? "route" : "server");
	CHECK(given->pattern && given->handler,
		"HTTPServer_route: the %s is NULL", given->pattern ? "handler" : "pattern");
	CHECK(!__atomic_load_n(&server->running, __ATOMIC_ACQUIRE),
		"HTTPServer_route: \"%s\" comes too late: the server runs", given->pattern);
	if (given->method)
		check_method(given->method);
	check_pattern(given->pattern);
	NEW0(server->arena, route);
	route->is = *given;
	route->is.pattern = Arena_strdup(server->arena, given->pattern);
	route->method = given->method ? Arena_strdup(server->arena, given->method) : NULL;
	node = plant_pattern(server, given->pattern, route->names);
	for (end = &node->routes; *end; end = &(*end)->next)
		CHECK(!same_method((*end)->method, route->method),
			"HTTPServer_route: %s \"%s\" has a route already",
			route->method ? route->method : "every method of", given->pattern);
	note_method(server, route->method);
	*end = route;
	server->streams |= given->body != NULL;
	server->blocks |= given->blocks != 0;
}

void HTTPServer_route(HTTPServer_T server, const char *method, const char *pattern,
	HTTPServer_Handler *handler, void *cl)
{
	HTTPServer_Route route = { .method = method, .pattern = pattern, .handler = handler, .cl = cl };

	HTTPServer_route_with(server, &route);
}

/* ---- finding ---- */

static void note_allowed(Search *search, const char *method)
{
	int i;

	for (i = 0; i < search->nallowed; i++)
		if (strcmp(search->allowed[i], method) == 0)
			return;
	if (search->nallowed < METHODS)
		search->allowed[search->nallowed++] = method;
}

/* A route for the method itself goes before GET for HEAD, and that before one for every method. */
static const Route *route_at(const Node *node, Search *search)
{
	const Route *r, *any = NULL, *fallback = NULL;

	for (r = node->routes; r; r = r->next) {
		if (!r->method)
			any = r;
		else if (strcmp(r->method, search->method) == 0)
			return r;
		else if (search->fallback && strcmp(r->method, search->fallback) == 0)
			fallback = r;
		else
			note_allowed(search, r->method);
	}
	return fallback ? fallback : any;
}

static void note_value(Search *search, int n, size_t at, size_t length)
{
	search->values[n].at = at;
	search->values[n].length = length;
}

/* Finds the route under node for the path from `at` on, which is behind a slash; values before
 * nvalues are taken. */
static const Route *find_route(const Node *node, Search *search, size_t at, int nvalues)
{
	const char *s = search->path + at, *end = strchr(s, '/');
	size_t n = end ? (size_t)(end - s) : strlen(s);
	const Node *child = find_literal(node, s, n);
	const Route *r = NULL;

	if (child)
		r = end ? find_route(child, search, at + n + 1, nvalues) : route_at(child, search);
	if (!r && node->parameter && n > 0) {
		note_value(search, nvalues, at, n);
		r = end ? find_route(node->parameter, search, at + n + 1, nvalues + 1)
			: route_at(node->parameter, search);
	}
	if (!r && node->rest) {
		note_value(search, nvalues, at, strlen(s));
		r = route_at(node->rest, search);
	}
	return r;
}

static __attribute__((noinline)) void take_params(Exchange *x, const Search *search)
{
	const char *const *names = x->route->names;
	const char **params;
	size_t n = 0, i;

	while (n < PARAMS && names[n])
		n++;
	params = Arena_alloc(x->arena, 2 * n * sizeof *params);
	for (i = 0; i < n; i++) {
		/* set by find, which went down through as many as there are names */
		const HTTPSlice *value = &search->values[i];

		params[2 * i] = names[i];
		/* NOLINT(clang-analyzer-core.UndefinedBinaryOperatorResult) */
		params[2 * i + 1] = httprequest__segment(x->request, value->at, value->length);
	}
	x->request->params = params;
	x->request->nparams = n;
}

/* RFC 9110, 10.2.1 */
static __attribute__((noinline)) const char *make_allow(Arena_T arena, Search *search)
{
	const char *text;
	int i;

	for (i = 0; i < search->nallowed; i++)
		if (strcmp(search->allowed[i], "GET") == 0)
			note_allowed(search, "HEAD");
	note_allowed(search, "OPTIONS");
	text = search->allowed[0];
	for (i = 1; i < search->nallowed; i++)
		text = Arena_sprintf(arena, "%s, %s", text, search->allowed[i]);
	return text;
}

void httpserver__match(HTTPServer_T server, Exchange *x)
{
	Search search;

	if (*x->request->path == '*') {
		x->allow = server->methods;
		return;
	}
	search.method = x->request->method;
	search.fallback = x->reader.parser.flags & HTTPParser_IS_HEAD ? "GET" : NULL;
	search.path = x->request->path;
	search.nallowed = 0;
	x->route = find_route(&server->root, &search, 1, 0);
	if (x->route) {
		x->request->route = x->route->is.pattern;
		if (x->route->names[0])
			take_params(x, &search);
	} else if (search.nallowed > 0)
		x->allow = make_allow(x->arena, &search);
}
