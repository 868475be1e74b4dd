/* SPDX-License-Identifier: MIT */
/* Differential fuzzing of our parser against llhttp and h11, where they are installed. The input
 * is requests of the corpus and of http_cases.h, and answers of http_answers.h, all of them
 * mutated. A difference that http_oracle.c does not list ends the run.
 *
 * fuzz_http [runs [seed]]
 *
 * Environment: HTTP_CORPUS is a directory. H11_PYTHON is a Python that has h11, and H11_SCRIPT a
 * script that answers one request in 64 through two pipes. */
#include "config.h"

#include <dirent.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "http_answers.h"
#include "http_cases.h"
#include "http_oracle.h"

enum { ROOM = 8192, SEEDS = 512, H11_EVERY = 64, MUTATIONS = 5, SKIP = 77 };

static void exit_because(const char *what)
{
	perror(what);
	exit(1);
}

/* ---- h11 ---- */

static FILE *to_h11, *from_h11;
static pid_t h11;

static void start_h11(void)
{
	const char *python = getenv("H11_PYTHON"), *script = getenv("H11_SCRIPT");
	int in[2], out[2];

	if (!python || !*python || !script)
		return;
	if (pipe(in) != 0 || pipe(out) != 0 || (h11 = fork()) < 0)
		exit_because("h11");
	if (h11 == 0) {
		if (dup2(in[0], 0) == 0 && dup2(out[1], 1) == 1 && close(in[1]) == 0 && close(out[0]) == 0)
			execlp(python, python, script, (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	to_h11 = fdopen(in[1], "w");
	from_h11 = fdopen(out[0], "r");
}

static void stop_h11(void)
{
	int status;

	if (!to_h11)
		return;
	fclose(to_h11);
	fclose(from_h11);
	if (waitpid(h11, &status, 0) != h11 || status != 0)
		exit_because("h11");
}

static size_t read_number(const unsigned char *p)
{
	return (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
}

static void see_h11(Seen *seen, Kind kind, const char *bytes, size_t n)
{
	unsigned char head[9] = { (unsigned char)"QAH"[kind], (unsigned char)(n >> 24),
		(unsigned char)(n >> 16), (unsigned char)(n >> 8), (unsigned char)n };

	if (fwrite(head, 1, 5, to_h11) != 5 || fwrite(bytes, 1, n, to_h11) != n || fflush(to_h11) != 0
			|| fread(head, 1, 9, from_h11) != 9)
		exit_because("h11");
	seen->kind = kind;
	seen->verdict = head[0] == 'A' ? ACCEPTED : head[0] == 'R' ? REFUSED : UNFINISHED;
	seen->end = read_number(head + 1);
	seen->keep_alive = UNKNOWN;
	seen->length = read_number(head + 5);
	if (seen->length >= SEEN_ROOM || fread(seen->text, 1, seen->length, from_h11) != seen->length)
		exit_because("h11");
	seen->text[seen->length] = '\0';
	seen->what = seen->text;
}

/* ---- requests and answers ---- */

typedef struct Message {
	Kind kind;
	char bytes[ROOM];
	size_t n;
} Message;

static Message seeds[SEEDS];
static size_t seed_count, good_seeds; /* seeds from good_seeds on are accepted */

static void add_seed(Kind kind, const char *bytes, size_t n)
{
	if (seed_count == SEEDS || n > ROOM)
		return;
	memcpy(seeds[seed_count].bytes, bytes, n);
	seeds[seed_count].kind = kind;
	seeds[seed_count++].n = n;
}

static void read_corpus(const char *directory)
{
	DIR *d = opendir(directory);
	struct dirent *entry;

	if (!d)
		exit_because(directory);
	while ((entry = readdir(d)) != NULL) {
		char name[4096], bytes[ROOM];
		FILE *f;

		snprintf(name, sizeof name, "%s/%s", directory, entry->d_name);
		if (entry->d_name[0] == '.' || (f = fopen(name, "rb")) == NULL)
			continue;
		add_seed(REQUEST, bytes, fread(bytes, 1, sizeof bytes, f));
		fclose(f);
	}
	closedir(d);
}

static void collect_requests(void)
{
	size_t i;

	for (i = 0; i < sizeof refused / sizeof *refused; i++)
		add_seed(REQUEST, refused[i].input, refused[i].n);
	good_seeds = seed_count;
	for (i = 0; i < sizeof accepted / sizeof *accepted; i++)
		add_seed(REQUEST, accepted[i].input, accepted[i].n);
	if (getenv("HTTP_CORPUS"))
		read_corpus(getenv("HTTP_CORPUS"));
}

static void collect_answers(int accepted_ones)
{
	size_t i;

	for (i = 0; i < sizeof answers / sizeof *answers; i++)
		if ((answers[i].status != 0) == accepted_ones)
			add_seed(answers[i].to_head ? ANSWER_TO_HEAD : ANSWER, answers[i].input, answers[i].n);
}

static void collect_seeds(Kind kind)
{
	seed_count = 0;
	if (kind == REQUEST)
		collect_requests();
	else {
		collect_answers(0);
		good_seeds = seed_count;
		collect_answers(1);
	}
}

/* ---- mutations ---- */

static uint64_t state;

static size_t random_below(size_t below) /* splitmix64, Steele, Lea, Flood 2014 */
{
	uint64_t z = state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (size_t)((z ^ z >> 31) % below);
}

/* Replaces r->bytes[from..to) by other bytes. */
static void replace_bytes(Message *r, size_t from, size_t to, const char *bytes, size_t n)
{
	char copy[ROOM];

	if (r->n - (to - from) + n > ROOM)
		return;
	memcpy(copy, bytes, n);
	memmove(r->bytes + from + n, r->bytes + to, r->n - to);
	memcpy(r->bytes + from, copy, n);
	r->n += n - (to - from);
}

static void insert_word(Message *r, size_t at)
{
	static const char *const words[] = { "\r\n", "\n", "\r", " ", "\t", ":", ",", ";", "0", "5",
		"f", "+", "-", "0x", "%2e", "\r\n\r\n", "\r\n ", "chunked", "identity", "gzip, ", "close",
		"keep-alive", "Content-Length: 5\r\n",
		"Content-Length: ", "Transfer-Encoding: chunked\r\n", "Transfer-Encoding: ", "Host: a\r\n",
		"Connection: ", "Expect: 100-continue\r\n", "HTTP/1.0", "HTTP/1.1", "http://b",
		"HTTP/1.1 200 OK\r\n", " 204 ", " 304 ", "101", "GET ", "POST ", "*", "[", "\"", "\x7f",
		"\x80" };
	const char *word = words[random_below(sizeof words / sizeof *words)];

	replace_bytes(r, at, at, word, strlen(word));
}

static const Message *any_seed(void)
{
	size_t from = random_below(4) ? good_seeds : 0;

	return &seeds[from + random_below(seed_count - from)];
}

static void mutate_message(Message *r)
{
	const Message *other = &seeds[random_below(seed_count)];
	size_t at = random_below(r->n + 1), length = random_below(12), from;
	char byte = (char)random_below(256);

	if (length > r->n - at)
		length = r->n - at;
	switch (random_below(6)) {
	case 0:
		replace_bytes(r, at, at + (at < r->n), &byte, 1);
		break;
	case 1:
		replace_bytes(r, at, at + length, "", 0);
		break;
	case 2: /* repeats a piece */
		replace_bytes(r, at, at, r->bytes + at, length);
		break;
	case 3: /* inserts a piece of another seed */
		from = random_below(other->n + 1);
		replace_bytes(r, at, at + (random_below(2) ? length : 0), other->bytes + from,
			random_below(other->n - from + 1));
		break;
	default:
		insert_word(r, at);
	}
}

/* ---- the comparison ---- */

static Seen ours, theirs, again;

static void print_seen(const char *name, const Seen *seen)
{
	static const char *const verdicts[] = { "unfinished", "accepted", "refused" };

	fprintf(stderr, "%s: %s %s, end %zu, keep-alive %d, \"%.*s\"\n", name, verdicts[seen->verdict],
		seen->verdict == REFUSED ? seen->what : "", seen->end, seen->keep_alive, (int)seen->length,
		seen->text);
}

static int compare_with_peer(const Message *r, const char *name, Peer peer)
{
	size_t i;

	if (agree(&ours, &theirs, peer))
		return 1;
	fputs("\nnot known: \"", stderr);
	for (i = 0; i < r->n; i++)
		fprintf(stderr, r->bytes[i] >= ' ' && r->bytes[i] < 0x7f ? "%c" : "\\x%02x",
			(unsigned char)r->bytes[i]);
	fputs("\"\n", stderr);
	print_seen("ours", &ours);
	print_seen(name, &theirs);
	return 0;
}

static int compare_all(const Message *r, int ask_h11)
{
	int good = 1;

	see_ours(&ours, r->kind, r->bytes, r->n, r->n + 1);
	see_ours(&again, r->kind, r->bytes, r->n, 1 + random_below(40));
	if (!same(&ours, &again)) {
		fprintf(stderr, "cut, it is not the same: %.*s\n", (int)r->n, r->bytes);
		good = 0;
	}
	if (see_llhttp(&theirs, r->kind, r->bytes, r->n))
		good &= compare_with_peer(r, "llhttp", LLHTTP);
	if (ask_h11 && to_h11) {
		see_h11(&theirs, r->kind, r->bytes, r->n);
		good &= compare_with_peer(r, "h11", H11);
	}
	return good;
}

/* Returns how many differences it found. */
static unsigned long fuzz(Kind kind, unsigned long runs)
{
	unsigned long i, wrong = 0, verdicts[3] = { 0 };

	collect_seeds(kind);
	for (i = 0; i < runs && wrong < 10; i++) {
		Message r = *(i < seed_count ? &seeds[i] : any_seed());
		size_t times = i < seed_count ? 0 : 1 + random_below(1 + random_below(MUTATIONS));

		while (times-- > 0)
			mutate_message(&r);
		wrong += !compare_all(&r, i < seed_count || i % H11_EVERY == 0);
		verdicts[ours.verdict]++;
	}
	printf("%lu %s: %lu accepted, %lu refused, %lu unfinished\n", i,
		kind == REQUEST ? "requests" : "answers", verdicts[ACCEPTED], verdicts[REFUSED],
		verdicts[UNFINISHED]);
	return wrong;
}

int main(int argc, char *argv[])
{
	unsigned long runs = argc > 1 ? strtoul(argv[1], NULL, 10) : 20000, wrong;
	int has_llhttp = see_llhttp(&theirs, REQUEST, "", 0);

	state = argc > 2 ? strtoul(argv[2], NULL, 10) : 1;
	signal(SIGPIPE, SIG_IGN);
	start_h11();
	if (!to_h11 && !has_llhttp) {
		puts("neither llhttp nor h11 is installed");
		return SKIP;
	}
	wrong = fuzz(REQUEST, runs) + fuzz(ANSWER, runs);
	printf("llhttp %s, h11 %s\n", has_llhttp ? "too" : "is not there",
		to_h11 ? "too" : "is not there");
	stop_h11();
	return wrong != 0;
}
