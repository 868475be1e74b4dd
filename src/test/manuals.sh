#!/bin/sh
# SPDX-License-Identifier: MIT
# Every function, type and option that a header declares is in its manual page. A struct without
# private members is there as it is declared. libcore(7) names every page. roff shows headings and
# tables as they are meant, and mandoc finds nothing to say. The programs under EXAMPLES compile.
include=${abs_top_srcdir:-$PWD}/include
cd "${top_srcdir:-.}" || exit 1
status=0 members=0 structs=0
for header in include/core/[A-Z]*.h; do
	module=${header##*/}; module=${module%.h}
	case $module in # parts of a header are in its page
	ExceptAuto | ExceptFrame | ExceptReturn | ExceptThread | ExceptTry | ArenaInline | ArenaMacros) continue ;;
	ArenaDebug) module=Arena ;;
	Connection) module=SocketPool ;;
	HTTPRequest | HTTPResponse | HTTPStatus) module=HTTP ;;
	HTTPServerOptions) module=HTTPServer ;;
	esac
	[ -f "man/$module.3" ] || { echo "man/$module.3 is missing"; status=1; continue; }
	for name in $(sed -n 's/^CORE_API [^(;]*[ *]\([A-Z][A-Za-z]*_[A-Za-z0-9][A-Za-z_0-9]*\)(.*/\1/p' "$header" | grep -v __); do
		grep -q "$name" "man/$module.3" || { echo "man/$module.3 does not tell of $name"; status=1; }
	done
	# without comments, in one line: types, and the members of what a program fills or reads
	code=$(tr '\n\t' '  ' <"$header" | sed 's#/\*\([^*]\|\*[^/]\)*\*/##g')
	for name in $(echo "$code" | grep -o '} *[A-Z][A-Za-z]*_[A-Za-z]*;\|typedef struct [A-Za-z_]* \*[A-Z][A-Za-z_]*;' | sed 's/.*[ *]//; s/;//'); do
		grep -q "$name" "man/$module.3" || { echo "man/$module.3 does not tell of the type $name"; status=1; }
	done
	for member in $(echo "$code" | grep -o 'typedef struct [A-Za-z]*_\(Options\|Stats\|Limits\|Entry\|Route\|Param\) {[^}]*}' |
			sed 's/.*{//; s/}//; s/(\*\([a-z_]*\))([^)]*)/ \1/g; s/\[[A-Za-z_0-9]*\]//g' | tr ';' '\n' |
			sed 's/,/ ,/g' | awk 'NF { for (i = 1; i < NF; i++) if ($(i + 1) == ",") print $i; print $NF }' | tr -d '*' | sort -u); do
		members=$((members + 1))
		grep -q "\<$member\>" "man/$module.3" || { echo "man/$module.3 does not tell of the member $member"; status=1; }
	done
	page=$(sed 's/\\e/\\/g; s/\\-/-/g; s/\\&//g' "man/$module.3" | tr -s '\n\t ' ' ')
	while read -r struct; do
		[ "$struct" ] || continue
		structs=$((structs + 1))
		case $page in *"$struct"*) continue ;; esac
		echo "man/$module.3 does not have, as $header does: $struct"
		status=1
	done <<-END
		$(echo "$code" | tr -s ' ' |
			grep -o 'typedef struct [A-Za-z]*_[A-Z][a-z]* {[^}]*} [A-Za-z]*_[A-Z][a-z]*;' |
			grep -v 'Arena_Mark\|Except_Stack\|HashTable_Iter')
	END
done
[ $structs -ge 12 ] || { echo "only $structs structs in the headers"; status=1; }
[ $members -ge 60 ] || { echo "only $members members in the headers"; status=1; }
for page in man/*.3; do
	name=${page##*/}
	grep -q "^.It Xr ${name%.3} 3" man/libcore.7 || { echo "libcore(7) does not name $page"; status=1; }
done

# groff does not wrap a cell of mdoc's columns, so a table is tbl's. A word such as "In" in a
# heading is taken for a macro.
if grep -n '^\.Bl -column' man/*.[37]; then echo "groff does not wrap this table: use .TS"; status=1; fi
if grep -n '^\.S[hs] \(.* \)*[A-Z][a-z]\( \|$\)' man/*.[37]; then echo "a word of a heading is a macro"; status=1; fi
for page in $(grep -l '^\.TS' man/*.[37]); do
	[ "$(head -n 1 "$page")" = "'\\\" t" ] && continue
	echo "$page has a table, and its first line does not ask man for tbl"
	status=1
done

# the literal blocks that have a main, as roff prints them
programs=$(mktemp -d) || exit 1
trap 'rm -rf "$programs"' EXIT
for page in man/*.[37]; do
	awk -v out="$programs/${page##*/}." '
		/^\.Bd -literal/ { inside = 1; text = ""; next }
		/^\.Ed/          { if (inside && text ~ /int main\(/) printf "%s", text > (out (++n) ".c"); inside = 0; next }
		inside           { gsub(/\\e/, "\\"); gsub(/\\\(dq/, "\""); gsub(/\\-/, "-"); sub(/^\\&/, ""); text = text $0 "\n" }
	' "$page"
done
compiled=0
for program in "$programs"/*.c; do
	# shellcheck disable=SC2086
	${CC:-cc} ${TEST_CFLAGS:-} -Wall -Wextra -Werror -pedantic -fexceptions -I"$include" -c "$program" -o "$programs/o" && compiled=$((compiled + 1)) ||
		{ echo "${program##*/}, an example of a manual page, does not compile"; status=1; }
done
[ $compiled -ge 5 ] || { echo "only $compiled examples in the manual pages"; status=1; }
if command -v mandoc >/dev/null 2>&1; then
	mandoc -T lint -W warning man/*.[37] || status=1
else
	echo "mandoc is not installed: the pages were not checked"
fi
exit $status
