/* SPDX-License-Identifier: MIT */
/* For needs.sh: ends with 77 if there is no loopback device. */
#include "config.h"

#include "needs.h"

int main(void)
{
	return has_loopback() ? 0 : NEEDS_SKIPPED;
}
