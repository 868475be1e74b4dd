/* SPDX-License-Identifier: MIT */
/* The main of the test programs: it gives Check the tests that have registered themselves. */
#include "config.h"

#include "needs.h"
#include "testing.h"

static struct Testing_Entry *entries; /* in the order of their files, and of their lines in each */

/* Constructors run in any order within a file: __COUNTER__ says where the entry stands. */
void testing_add(struct Testing_Entry *entry)
{
	struct Testing_Entry **at = &entries;

	while (*at && (strcmp((*at)->file, entry->file) != 0 || (*at)->counter < entry->counter))
		at = &(*at)->next;
	entry->next = *at;
	*at = entry;
}

/* Several files of a program may name the same suite. */
static Suite *get_suite(SRunner *runner, const struct Testing_Entry *entry)
{
	const struct Testing_Entry *e;
	Suite *suite;

	for (e = entries; e != entry; e = e->next)
		if (e->suite && strcmp(e->suite_name, entry->suite_name) == 0)
			return e->suite;
	suite = suite_create(entry->suite_name);
	srunner_add_suite(runner, suite);
	return suite;
}

static TCase *add_case(Suite *suite, const struct Testing_Entry *entry)
{
	TCase *tcase = tcase_create(entry->case_name);

	tcase_set_timeout(tcase, entry->timeout > 0 ? entry->timeout : 60);
	if (entry->setup)
		tcase_add_checked_fixture(tcase, entry->setup, entry->teardown);
	suite_add_tcase(suite, tcase);
	return tcase;
}

static void add_test(TCase *tcase, const struct Testing_Entry *entry)
{
	int once = entry->from == 0 && entry->to == 0;

	_tcase_add_test(tcase, entry->test, entry->signal, 0, entry->from, once ? 1 : entry->to);
}

/* Returns how many tests there are. */
static int add_all(SRunner *runner)
{
	struct Testing_Entry *e;
	Suite *suite = NULL;
	TCase *tcase = NULL, *twin = NULL;
	int n = 0, unless = 0;

	for (e = entries; e; e = e->next)
		if (e->suite_name) {
			suite = e->suite = get_suite(runner, e);
			tcase = NULL;
		} else if (e->case_name) {
			twin = e->is_twin ? tcase : NULL;
			unless = e->unless;
			tcase = add_case(suite, e);
		} else if (!unless && !e->unless) {
			if (!suite || !tcase) {
				fprintf(stderr, "%s: %s has no SUITE or no CASE before it\n", e->file,
					e->test->name);
				exit(99);
			}
			add_test(tcase, e);
			if (twin)
				add_test(twin, e);
			n++;
		}
	return n;
}

static struct Testing_Needs needed; /* the most that any file of the program needs */

void testing_need(const struct Testing_Needs *needs)
{
	needed.loopback |= needs->loopback;
	if (needs->descriptors > needed.descriptors)
		needed.descriptors = needs->descriptors;
}

/* Returns whether the machine has what is needed; if not, says what it lacks. */
static int can_run(void)
{
	return has_descriptors(needed.descriptors) && (!needed.loopback || has_loopback());
}

int main(void)
{
	SRunner *runner;
	int status = NEEDS_SKIPPED;

	if (!can_run())
		return status;
	runner = srunner_create(NULL);
	if (add_all(runner) > 0) {
		srunner_run_all(runner, CK_ENV);
		status = srunner_ntests_failed(runner) != 0;
	} else {
		puts("none of its tests runs in this build");
	}
	srunner_free(runner);
	return status;
}
