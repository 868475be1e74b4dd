/* SPDX-License-Identifier: MIT */
/* Private to Except*.c: what is recorded of a raise, and what those files ask of each other. */
#ifndef EXCEPTREP_INCLUDED
#define EXCEPTREP_INCLUDED
#include <core/Except.h>
#include "checked.h"

typedef struct Record {
	struct Record *cause;
	const Except_T *exception;
	const char *file, *function, *message;
	int line, nframes, error;
	void *frames[];
} Record;

/* Except.c: the frame that holds what is being handled or passing; NULL if there is none */
Except_Frame *except__current(void);

/* ExceptReport.c */
extern int except__nframes __attribute__((visibility("hidden"))); /* return addresses to capture at a raise; read and written atomically */
int except__capture(void **frames, int n, void *raiser);
void except__call_hook(const Except_T *e);
void except__report(FILE *out, const Except_Frame *f);
void except__lock_hook(void); /* before a fork, and after it */
void except__unlock_hook(void);

#endif
