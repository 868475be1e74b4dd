#!/bin/sh
# SPDX-License-Identifier: MIT
# base <- Except <- Arena <- HashTable <- Socket <- SocketPoll, SocketPool <- HTTP <- HTTPServer: no file includes a
# header of a layer above its own, public or private.
cd "${top_srcdir:-.}" || exit 1

rank() { # a file's path, or a header as it is included
	case $1 in
	*core/api.h | *base/*) echo 0 ;;
	*/Except* | except/* | */except/*) echo 1 ;;
	*/Arena* | arena/* | */arena/*) echo 2 ;;
	*/HashTable* | hashtable/* | */hashtable/*) echo 3 ;;
	*/SocketPoll* | poll/* | */poll/*) echo 5 ;;
	*/SocketPool* | pool/* | */pool/*) echo 5 ;;
	*/Socket* | socket/* | */socket/*) echo 4 ;;
	*lazyheap*) echo 4 ;;
	*/HTTPServer* | server/* | */server/*) echo 7 ;;
	*/HTTP* | http/* | */http/*) echo 6 ;;
	*) echo unknown ;;
	esac
}

status=0
for file in include/core/*.h src/core/*.[ch] src/core/*/*.[ch] src/net/*.[ch] src/net/*/*.[ch]; do
	case $file in */core.h) continue ;; esac
	own=$(rank "$file")
	[ "$own" != unknown ] || { echo "$file is in no layer"; status=1; continue; }
	for used in $(sed -n 's/^#include <\(core\/.*\)>.*/\1/p; s/^#include "\(.*\)".*/\1/p' "$file"); do
		[ "$used" != config.h ] || continue
		below=$(rank "$used")
		[ "$below" != unknown ] || { echo "$file includes $used, which is in no layer"; status=1; continue; }
		[ "$below" -le "$own" ] || { echo "$file includes $used, of a layer above its own"; status=1; }
	done
done
exit $status
