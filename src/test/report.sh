#!/bin/sh
# SPDX-License-Identifier: MIT
# bench/report on the results in bench-results, which are of real short runs. Chromium opens the
# page: each plot shows as many bars or points as there are results, no text is cut off or lies on
# another, on a wide screen in light and on a narrow one in dark, and the screenshots show our
# colour. The tables name every workload and contestant.
command -v python3 >/dev/null 2>&1 || { echo "python3 is not installed"; exit 77; }
cd "${top_srcdir:-.}" || exit 1
results=$PWD/src/test/bench-results
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

python3 bench/report "$results" >"$work/page.html" || exit 1
cp docs/performance.md "$work/performance.md" && chmod u+w "$work/performance.md" || exit 1
python3 bench/report --update "$work/performance.md" "$results" || exit 1
! grep -n '\(src\|href\)="[^#]' "$work/page.html" ||
	{ echo "the page needs something else"; exit 1; }

# A goal whose yardstick is missing is not measured, and neither met nor missed.
python3 - "$results/except.json" "$work/alone.json" <<'END' || exit 1
import json, sys
content = json.load(open(sys.argv[1], encoding="utf-8"))
goals = [dict(r, yardstick=r["contestant"], ratio=1) for r in content["results"] if r["goal"]]
content["results"] = goals[:1]
sys.exit(not goals or json.dump(content, open(sys.argv[2], "w", encoding="utf-8")))
END
mkdir "$work/alone" && mv "$work/alone.json" "$work/alone/except.json" || exit 1
python3 bench/report "$work/alone" >"$work/alone.html" &&
	grep -q 'not measured' "$work/alone.html" &&
	! grep -q '>missed<\|✓\|✗' "$work/alone.html" ||
		{ echo "a goal without its yardstick was judged"; exit 1; }

for browser in chromium chromium-browser google-chrome ''; do
	command -v "$browser" >/dev/null 2>&1 && break
done
. src/test/needs.sh
if [ -n "$browser" ]; then
	need_descriptors 1024
else
	echo "no chromium is installed: the page was not looked at"
fi
look() { # name of the page, width, height; `?check` has the page count what can be seen
	[ -n "$browser" ] || return 0
	timeout 60 "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage \
		--user-data-dir="$work/profile" \
		--hide-scrollbars --window-size="$2,$3" --screenshot="$work/$1.png" --dump-dom \
			"file://$work/$1.html?check" \
		>"$work/$1.dom" 2>"$work/log" || { cat "$work/log"; exit 1; }
}
look page 1400 640
sed 's/(prefers-color-scheme: dark)/all/; s|</style>|header { display: none }</style>|' \
	"$work/page.html" >"$work/dark.html"
look dark 500 800

python3 - "$work" "$results" "$browser" <<'END'
import collections, glob, html, json, os, re, struct, sys, zlib

work, results, browser = sys.argv[1:]
failures = []


def check(right, what):
	if not right:
		failures.append(what)


def expected():
	"""How many results each plot has; the names in them."""
	plots, names = collections.Counter(), set()
	for path in glob.glob(os.path.join(results, "*.json")):
		with open(path, encoding="utf-8") as file:
			content = json.load(file)
		for r in content.get("results", []):
			plots[content["benchmark"] + ": " + re.sub(r"[,:]? p[0-9.]+$", "", r["workload"])] += 1
			names |= {re.sub(r"[,:]? p[0-9.]+$", "", r["workload"]), r["contestant"]}
	return plots, names


def rows_of(png):
	"""The pixels of a PNG of 8 bits a channel, without interlace: RFC 2083, 6."""
	width, height, _, kind = struct.unpack(">IIBB", png[16:26])
	step, data, at = {2: 3, 6: 4}[kind], b"", 8
	while at < len(png):
		length, name = struct.unpack(">I4s", png[at:at + 8])
		data += png[at + 8:at + 8 + length] if name == b"IDAT" else b""
		at += length + 12
	data, above = zlib.decompress(data), bytes(width * step)
	for y in range(height):
		start = y * (width * step + 1)
		way, row = data[start], bytearray(data[start + 1:start + 1 + width * step])
		for i in range(len(row)) if way else ():
			left, up, corner = (row[i - step] if i >= step else 0), above[i], (above[i - step] if i >= step else 0)
			guess = left + up - corner
			paeth = min((abs(guess - left), 0, left), (abs(guess - up), 1, up), (abs(guess - corner), 2, corner))[2] if way == 4 else 0
			row[i] = (row[i] + (0, left, up, (left + up) // 2, paeth)[way]) & 255
		above = bytes(row)
		yield [above[i:i + 3] for i in range(0, len(above), step)]


plots, names = expected()
check(len(plots) >= 8, f"only {len(plots)} plots in {results}")
with open(os.path.join(work, "performance.md"), encoding="utf-8") as file:
	tables = file.read()
for name in names:
	check(name in tables, f"the tables do not name {name}")

for look in ("page", "dark") if browser else ():
	with open(os.path.join(work, look + ".dom"), encoding="utf-8") as file:
		title = re.search(r"<title>(\{.*?\})</title>", file.read())
	check(title, f"{look}: the page's script did not run")
	seen = json.loads(html.unescape(title.group(1))) if title else {"plots": [], "wide": False}
	found = {p["plot"]: p["data"] for p in seen["plots"]}
	for plot in plots.keys() | found.keys():
		check(found.get(plot) == plots[plot], f"{look}: {plot} has {plots[plot]} results and shows {found.get(plot)}")
	for p in seen["plots"]:
		check(p["cut"] == 0, f"{look}: {p['cut']} texts of {p['plot']} are cut off")
		check(p["meet"] == 0, f"{look}: {p['meet']} texts of {p['plot']} lie on others")
	check(not seen["wide"], f"{look}: the page is wider than the window")

# Above the plots our colour is in the legend and links only.
for look, ours, least in (("page", "0067b0", 200), ("dark", "5cb8ff", 2000)) if browser else ():
	with open(os.path.join(work, look + ".png"), "rb") as file:
		colours = collections.Counter(pixel for row in rows_of(file.read()) for pixel in row)
	check(len(colours) > 50, f"{look}: the screenshot has {len(colours)} colours")
	check(colours[bytes.fromhex(ours)] > least, f"{look}: {colours[bytes.fromhex(ours)]} pixels of our colour")

print("\n".join(failures) or f"{len(plots)} plots, {sum(plots.values())} results")
sys.exit(1 if failures else 0 if browser else 77)
END
