/* SPDX-License-Identifier: MIT */
/* The exceptions of HTTP and the status codes that go with them. */
#include "config.h"

#include <string.h>

#include <core/HTTP.h>
#include "base/checked.h"
#include "http/parser.h"
#include "http/rep.h"

EXCEPT_DEFINE(HTTP_Failed, NULL, "HTTP failed");
EXCEPT_DEFINE(HTTP_Closed, &HTTP_Failed, "HTTP connection has ended");
EXCEPT_DEFINE(HTTP_Bad_Request, &HTTP_Failed, "malformed HTTP request");
EXCEPT_DEFINE(HTTP_Timeout, &HTTP_Failed, "HTTP request took too long");
EXCEPT_DEFINE(HTTP_Content_Too_Large, &HTTP_Failed, "body of HTTP request is too large");
EXCEPT_DEFINE(HTTP_URI_Too_Long, &HTTP_Failed, "HTTP request line is too long");
EXCEPT_DEFINE(HTTP_Fields_Too_Large, &HTTP_Failed, "fields of HTTP request are too large");
EXCEPT_DEFINE(HTTP_Not_Implemented, &HTTP_Failed, "HTTP request asks for what is not implemented");
EXCEPT_DEFINE(HTTP_Unauthorized, &HTTP_Failed, "HTTP request is not authorized");
EXCEPT_DEFINE(HTTP_Forbidden, &HTTP_Failed, "HTTP request is forbidden");
EXCEPT_DEFINE(HTTP_Not_Found, &HTTP_Failed, "resource of HTTP request is not there");
EXCEPT_DEFINE(HTTP_Conflict, &HTTP_Failed, "HTTP request conflicts with its resource");
EXCEPT_DEFINE(HTTP_Unsupported_Media, &HTTP_Failed, "media type of HTTP request is not supported");
EXCEPT_DEFINE(HTTP_Unprocessable, &HTTP_Failed, "content of HTTP request cannot be processed");
EXCEPT_DEFINE(HTTP_Too_Many_Requests, &HTTP_Failed, "too many HTTP requests");
EXCEPT_DEFINE(HTTP_Bad_Gateway, &HTTP_Failed, "HTTP gateway got no valid response");
EXCEPT_DEFINE(HTTP_Unavailable, &HTTP_Failed, "HTTP service is not available");
EXCEPT_DEFINE(HTTP_Gateway_Timeout, &HTTP_Failed, "HTTP gateway got no response in time");
EXCEPT_DEFINE(HTTP_Bad_Version, &HTTP_Failed, "HTTP version is not supported");

static const struct {
	const Except_T *exception;
	int status;
} kinds[] = {
	{ &HTTP_Bad_Request, 400 },
	{ &HTTP_Timeout, 408 },
	{ &HTTP_Content_Too_Large, 413 },
	{ &HTTP_URI_Too_Long, 414 },
	{ &HTTP_Fields_Too_Large, 431 },
	{ &HTTP_Not_Implemented, 501 },
	{ &HTTP_Bad_Version, 505 },
	{ &HTTP_Unauthorized, 401 },
	{ &HTTP_Forbidden, 403 },
	{ &HTTP_Not_Found, 404 },
	{ &HTTP_Conflict, 409 },
	{ &HTTP_Unsupported_Media, 415 },
	{ &HTTP_Unprocessable, 422 },
	{ &HTTP_Too_Many_Requests, 429 },
	{ &HTTP_Bad_Gateway, 502 },
	{ &HTTP_Unavailable, 503 },
	{ &HTTP_Gateway_Timeout, 504 },
	{ &HTTP_Closed, 0 }
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

/* By self, or by the address if self is NULL (Except_T). */
static int is_same_kind(const Except_T *x, const Except_T *y)
{
	return (x->self ? x->self : x) == (y->self ? y->self : y);
}

/* The nearest ancestor in the table counts. */
int HTTP_status(const Except_T *e)
{
	int i;

	CHECK(e, "HTTP_status: the exception is NULL");
	for (; e; e = e->parent)
		for (i = 0; i < KINDS; i++)
			if (is_same_kind(e, kinds[i].exception))
				return kinds[i].status;
	return 500;
}

void http__refuse_handle(const void *r, const char *what, const char *function)
{
	EXCEPT_RAISE_MSG(Assert_Failed, "%s: the %s %s", function, what, r ? "has ended" : "is NULL");
}

const Except_T *http__exception(int status)
{
	int i;

	for (i = 0; i < KINDS; i++)
		if (kinds[i].status == status)
			return kinds[i].exception;
	CORRUPT("an HTTP status without an exception");
}

/* RFC 3986, 2.3: unreserved */
static int is_plain(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')
		|| (c && strchr("-._~", c));
}

char *HTTP_encode(Arena_T arena, const char *text, size_t n)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t i, room = 0;
	char *out, *to;

	CHECK(arena, "HTTP_encode: the arena is NULL");
	CHECK(text || n == 0, "HTTP_encode: NULL with %zu bytes", n);
	for (i = 0; i < n; i++)
		room += is_plain((unsigned char)text[i]) ? 1 : 3;
	out = to = Arena_alloc(arena, room + 1);
	for (i = 0; i < n; i++) {
		unsigned char c = (unsigned char)text[i];

		if (is_plain(c))
			*to++ = (char)c;
		else {
			*to++ = '%';
			*to++ = digits[c >> 4];
			*to++ = digits[c & 15];
		}
	}
	*to = '\0';
	return out;
}

/* RFC 9110, 15, and the registry at iana.org/assignments/http-status-codes */
const char *HTTP_reason(int status)
{
	switch (status) {
	case 100: return "Continue";
	case 101: return "Switching Protocols";
	case 102: return "Processing";
	case 103: return "Early Hints";
	case 200: return "OK";
	case 201: return "Created";
	case 202: return "Accepted";
	case 203: return "Non-Authoritative Information";
	case 204: return "No Content";
	case 205: return "Reset Content";
	case 206: return "Partial Content";
	case 207: return "Multi-Status";
	case 208: return "Already Reported";
	case 226: return "IM Used";
	case 300: return "Multiple Choices";
	case 301: return "Moved Permanently";
	case 302: return "Found";
	case 303: return "See Other";
	case 304: return "Not Modified";
	case 305: return "Use Proxy";
	case 307: return "Temporary Redirect";
	case 308: return "Permanent Redirect";
	case 400: return "Bad Request";
	case 401: return "Unauthorized";
	case 402: return "Payment Required";
	case 403: return "Forbidden";
	case 404: return "Not Found";
	case 405: return "Method Not Allowed";
	case 406: return "Not Acceptable";
	case 407: return "Proxy Authentication Required";
	case 408: return "Request Timeout";
	case 409: return "Conflict";
	case 410: return "Gone";
	case 411: return "Length Required";
	case 412: return "Precondition Failed";
	case 413: return "Content Too Large";
	case 414: return "URI Too Long";
	case 415: return "Unsupported Media Type";
	case 416: return "Range Not Satisfiable";
	case 417: return "Expectation Failed";
	case 421: return "Misdirected Request";
	case 422: return "Unprocessable Content";
	case 423: return "Locked";
	case 424: return "Failed Dependency";
	case 425: return "Too Early";
	case 426: return "Upgrade Required";
	case 428: return "Precondition Required";
	case 429: return "Too Many Requests";
	case 431: return "Request Header Fields Too Large";
	case 451: return "Unavailable For Legal Reasons";
	case 500: return "Internal Server Error";
	case 501: return "Not Implemented";
	case 502: return "Bad Gateway";
	case 503: return "Service Unavailable";
	case 504: return "Gateway Timeout";
	case 505: return "HTTP Version Not Supported";
	case 506: return "Variant Also Negotiates";
	case 507: return "Insufficient Storage";
	case 508: return "Loop Detected";
	case 511: return "Network Authentication Required";
	default:  return "";
	}
}
