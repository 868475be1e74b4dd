/* SPDX-License-Identifier: MIT */
/* The exceptions of HTTP, and the statuses that go with them. A part of <core/HTTP.h>.
 *
 *   EXCEPT_DEFINE(No_Such_Note, &HTTP_Not_Found, "no such note");
 *
 * A kind of one of these exceptions has the status of its nearest ancestor: this one's is 404. */
#ifndef HTTPSTATUS_INCLUDED
#define HTTPSTATUS_INCLUDED
#include <core/Except.h>

CORE_BEGIN_DECLS

/* HTTP_Failed is the parent of the others. HTTP_Closed: the connection ended between requests. */
extern CORE_API const Except_T HTTP_Failed, HTTP_Closed /* no status: 0 */,
	HTTP_Bad_Request /* 400 */, HTTP_Unauthorized /* 401 */, HTTP_Forbidden /* 403 */,
	HTTP_Not_Found /* 404 */, HTTP_Timeout /* 408 */, HTTP_Conflict /* 409 */,
	HTTP_Content_Too_Large /* 413 */, HTTP_URI_Too_Long /* 414 */, HTTP_Unsupported_Media /* 415 */,
	HTTP_Unprocessable /* 422 */, HTTP_Too_Many_Requests /* 429 */, HTTP_Fields_Too_Large /* 431 */,
	HTTP_Not_Implemented /* 501 */, HTTP_Bad_Gateway /* 502 */, HTTP_Unavailable /* 503 */,
	HTTP_Gateway_Timeout /* 504 */, HTTP_Bad_Version /* 505 */;

/* Returns the status that answers an exception: that of its nearest ancestor above; 500 for any
 * other. Checked: e is NULL. */
CORE_API int HTTP_status(const Except_T *e);
CORE_API const char *HTTP_reason(int status); /* returns "Not Found" for 404; "" if unknown */

CORE_END_DECLS

#endif
