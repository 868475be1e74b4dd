#!/bin/sh
# SPDX-License-Identifier: MIT
# Except <- Arena <- HashTable <- Socket <- SocketPool <- HTTP: nothing includes what is above it.
cd "${top_srcdir:-.}" || exit 1
rank() { case $1 in api) echo 0;; Except*) echo 1;; Arena*) echo 2;; Hash*) echo 3;; SocketPool*|Connection) echo 5;; Socket*|socket*) echo 4;; HTTP*) echo 6;; *) echo 9;; esac; }
status=0
for file in include/core/*.h src/core/*.c src/net/*.c; do
	name=${file##*/}; name=${name%.*}
	for used in $(sed -n 's/^#include <core\/\(.*\)\.h>.*/\1/p' "$file"); do
		[ "$name" = core ] || [ "$(rank "$used")" -le "$(rank "$name")" ] ||
			{ echo "$file includes core/$used.h, a layer above it"; status=1; }
	done
done
if grep -n 'net/\|"socket\.h"\|"httpparser\.h"' src/core/*.[ch]; then
	echo "src/core knows of src/net"; status=1
fi
exit $status
