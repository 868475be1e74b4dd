#!/bin/sh
# SPDX-License-Identifier: MIT
# Sources and pages can be read: no line passes column 100 (a tab counts 4), a public header has at
# most 110 lines, a file of the library 750, a file of tests 900. In Markdown, code, tables and
# links may be wider. Generated and recorded files are not looked at.
cd "${top_srcdir:-.}" || exit 1
files=$(find include src bench examples gdb -name '*.[ch]' -o -name '*.cc' -o -name '*.hh')
pages=$(find . -name '*.md' -not -path './.git/*' -not -path './b-*/*' -not -path './build/*')

wide() { # files: prints the lines that are too wide
	LC_ALL=C awk '
		FNR == 1 { code = 0 }
		FILENAME ~ /\.md$/ && /^ *```/ { code = !code }
		FILENAME ~ /\.md$/ && (code || /\|/ || /\]\(/ || /http/) { next }
		{
			line = $0
			gsub(/\t/, "    ", line)
			gsub(/[\200-\277]/, "", line) # all bytes of a character but the first
			if (length(line) > 100) print FILENAME ":" FNR ": " length(line) " columns"
		}' "$@"
}

long() { # most lines, files: prints the files that are too long
	most=$1
	shift
	awk -v most="$most" '
		FNR == 1 && NR > 1 && n > most { print name ": " n " lines, not " most }
		{ name = FILENAME; n = FNR }
		END { if (n > most) print name ": " n " lines, not " most }' "$@"
}

# shellcheck disable=SC2086
found=$(
	wide $files $pages
	long 110 include/core/*.h
	long 750 $(echo "$files" | grep '^src/[cn]')
	long 900 $(echo "$files" | grep '^src/test/')
)
[ -n "$files" ] && [ -n "$pages" ] || { echo "no sources and pages in $PWD"; exit 1; }
[ -z "$found" ] || { echo "$found"; exit 1; }
