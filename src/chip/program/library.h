/* chip/program/library.h - shared objects in this process, each content once. Any thread. */
#ifndef CHIP_LIBRARY_H
#define CHIP_LIBRARY_H

#include "base/hash.h"
#include "chip/program/text.h"

typedef struct chip_library chip_library;

/* Loads the object at `path`, whose content has this digest, or takes another hold of the one that is
** loaded. NULL if the system refuses it; `why` then holds the system's words, or has failed if memory is
** out. */
chip_library *chip_library_open(const char *path, const base_digest *digest, chip_text *why);

/* True if other content is loaded from this very path: the system would hand that out again. */
int chip_library_shadows(const char *path, const base_digest *digest);

/* The address of a function; NULL if there is none of that name. */
void *chip_library_symbol(const chip_library *library, const char *name);

/* The file that it was loaded from. Lives as long as the library. */
const char *chip_library_path(const chip_library *library);

/* Gives one hold back; the object is unloaded with the last. NULL is ignored. */
void chip_library_close(chip_library *library);

#endif
