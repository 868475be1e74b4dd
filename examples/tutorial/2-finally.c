/* SPDX-License-Identifier: MIT */
#include <core/core.h>

EXCEPT_DEFINE(Config_Failed, NULL, "bad configuration");
EXCEPT_DEFINE(Config_Missing, &Config_Failed, "no configuration"); /* a kind of Config_Failed */
EXCEPT_DEFINE(Start_Failed, NULL, "cannot start");

static FILE *open_config(const char *name)
{
	FILE *file = fopen(name, "r");

	if (!file)
		RAISE_ERRNO(Config_Missing, "%s", name);
	return file;
}

static int port(const char *name)
{
	FILE *file = open_config(name); /* before the TRY */
	int number;

	TRY {
		if (fscanf(file, "%d", &number) == 1)
			RETURN(number);
		if (!feof(file))
			RAISE_MSG(Config_Failed, "%s: not a number", name);
	} FINALLY {
		fclose(file);
		printf("(closed %s)\n", name);
	} END_TRY;
	return 80; /* the file was empty */
}

static void start(const char *name)
{
	TRY {
		printf("port %d\n", port(name));
	} EXCEPT(Config_Failed) {
		RAISE_MSG(Start_Failed, "as %s says", name);
	} END_TRY;
}

static void run(const char *name)
{
	TRY {
		start(name);
	} EXCEPT(Start_Failed) {
		Except_report(stdout);
	} END_TRY;
}

int main(int argc, char **argv)
{
	(void)argc;
	while (*++argv)
		run(*argv);
	return 0;
}
