/* SPDX-License-Identifier: MIT */
/* Private to HTTP: the pairs of a query and of a form, decoded when somebody asks for them first. */
#ifndef NET_HTTPFORM_INCLUDED
#define NET_HTTPFORM_INCLUDED
#include <stddef.h>
#include <core/HTTP.h>

typedef struct HTTPPairs {
	const HTTP_Param *pairs; /* NULL: not decoded yet */
	size_t count;
} HTTPPairs;

enum { QUERY_PAIRS, FORM_PAIRS };

HTTPPairs *httprequest__pairs(HTTPRequest_T r, int which); /* HTTPRequest.c */

#endif
