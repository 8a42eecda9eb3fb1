/* chip/program/object.h - whether a file can be a shared object for this machine. Any thread.
**
** The system's loader maps what the headers promise: in a file that was cut off it dies of a signal. */
#ifndef CHIP_OBJECT_H
#define CHIP_OBJECT_H

#include "chip/program/text.h"

/* 0, or errno. What is wrong with the file is in `why`; empty: nothing was found. */
int chip_object_check(const char *path, chip_text *why);

#endif
