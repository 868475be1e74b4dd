/* SPDX-License-Identifier: MIT */
#include <core/core.h>

EXCEPT_DEFINE(Greeting_Failed, NULL, "nobody to greet");

static void greet(const char *name)
{
	if (!*name)
		RAISE_MSG(Greeting_Failed, "the name is empty");
	printf("hello, %s\n", name);
}

int main(void)
{
	TRY {
		greet("world");
		greet("");
		greet("never reached");
	} EXCEPT(Greeting_Failed) {
		printf("caught: %s\n", Except_message());
	} END_TRY;
	return 0;
}
