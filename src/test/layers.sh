#!/bin/sh
# SPDX-License-Identifier: MIT
# Each folder uses those that its rule names, by includes and by calls, and no others: a public
# file, X.c or X.h, counts as in its folder. So no function of a folder is called from a folder
# below it. Calls are what nm shows of this build's objects.
cd "${top_srcdir:-.}" || exit 1
build=${top_builddir:-.}

# folder: the folders that it may use
rules='
base:
except: base
arena: base except
hashtable: base except arena
lazyheap: base except arena
socket: base except arena
poll: base except arena lazyheap socket
pool: base except arena lazyheap socket
http: base except arena hashtable socket
call: base except arena hashtable lazyheap socket poll pool http
server: base except arena lazyheap socket poll pool http
'

folder_of() { # a file's path, or a header as it is included
	case $1 in
	config.h | core/core.h | */core/core.h) echo any ;;
	*core/api.h | base/* | */base/*) echo base ;;
	src/*/*/*) f=${1%/*} && echo "${f##*/}" ;;
	*/Except*) echo except ;;
	*/Arena*) echo arena ;;
	*/HashTable*) echo hashtable ;;
	*/SocketPoll*) echo poll ;;
	*/SocketPool* | *core/Connection.h) echo pool ;;
	*/Socket*) echo socket ;;
	*/HTTPServer*) echo server ;;
	*/HTTPCall*) echo call ;;
	*/HTTP*) echo http ;;
	*lazyheap*) echo lazyheap ;;
	*/*.h) f=${1%/*} && echo "${f##*/}" ;;
	*) echo unknown ;;
	esac
}

may_use() { # folder, another
	[ "$1" = "$2" ] || [ "$2" = any ] || echo "$rules" | grep -q "^$1:.* $2\( \|\$\)"
}

status=0
fail() { echo "$*"; status=1; }

for file in include/core/*.h src/core/*.[ch] src/core/*/*.[ch] src/net/*.[ch] src/net/*/*.[ch]; do
	own=$(folder_of "$file")
	[ "$own" != any ] || continue
	echo "$rules" | grep -q "^$own:" || { fail "$file is in no folder that has a rule"; continue; }
	for used in $(sed -n 's/^#include <\(core\/.*\)>.*/\1/p; s/^#include "\(.*\)".*/\1/p' \
		"$file"); do
		may_use "$own" "$(folder_of "$used")" || fail "$file includes $used, which $own may not use"
	done
done

# A line for each name: folder, object, nm's letter, name.
names() {
	for file in src/core/*.c src/core/*/*.c src/net/*.c src/net/*/*.c; do
		object=$build/${file%.c}.o
		# without a static library
		[ -f "$object" ] || object=$build/${file%/*}/.libs/$(basename "$file" .c).o
		[ -f "$object" ] || { echo "$file has no object" >&2; continue; }
		${NM:-nm} -P "$object" |
			awk -v folder="$(folder_of "$file")" -v file="$file" '{ print folder, file, $2, $1 }'
	done
}
calls=$(names | awk -v rules="$rules" '
	BEGIN {
		n = split(rules, lines, "\n")
		for (i = 1; i <= n; i++) {
			m = split(lines[i], words, /:? +|:/)
			for (j = 2; j <= m; j++)
				allowed[words[1], words[j]] = 1
		}
	}
	$3 ~ /^[A-TV-Z]$/ && $4 !~ /^__(asan|odr_asan|tsan|gcov)/ { home[$4] = $1; defined++ }
	$3 == "U" { user[++uses] = $1; file[uses] = $2; used[uses] = $4 }
	END {
		for (i = 1; i <= uses; i++) {
			to = home[used[i]]
			if (to == "" || to == user[i])
				continue
			seen++
			if (!((user[i], to) in allowed))
				print file[i] " uses " used[i] " of " to ", which " user[i] " may not use"
		}
		print seen + 0, "calls between folders,", defined + 0, "names"
	}') || status=1
echo "$calls"
case $calls in *"may not use"*) status=1 ;; esac
# a build whose objects cannot be read would prove nothing
[ "$(echo "$calls" | sed -n 's/ calls between folders.*//p')" -ge 100 ] ||
	fail "too few calls: were there objects?"
exit $status
