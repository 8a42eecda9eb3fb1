/* chip/program/cache.h - compiled objects, kept by content for the next process.
**
** A folder of two kinds of files: KEY.manifest says which object came out of a compilation, and the digest
** of every file that it read; DIGEST.so is an object under the digest of its own bytes. Both appear by
** rename, so processes may race; what does not match its digest is taken for absent. The folder is
** $XDG_CACHE_HOME/baton, else $HOME/.cache/baton; where that cannot be written, new objects go to a
** private folder that is removed at exit, and one note says so. Any thread. */
#ifndef CHIP_CACHE_H
#define CHIP_CACHE_H

#include "base/hash.h"
#include "chip/program/text.h"
#include <time.h>

/* What a compilation left. */
typedef struct chip_build {
  chip_text object;       /* its bytes */
  chip_list dependencies; /* absolute paths of the files that it read */
  struct timespec begun;  /* CLOCK_REALTIME before the first of them was read */
} chip_build;

void chip_build_free(chip_build *build);

/* Finds the object of a compilation whose files have not changed since: its digest, and the path of the
** intact file. False if there is none. */
int chip_cache_find(const base_digest *key, base_digest *digest, chip_text *path);

/* Keeps an object: its digest and where it now lies. A file that changed after the compilation began may
** not be what the compiler read; the object is then good for this process, and the next one compiles
** again. */
BATON_MUST_CHECK baton_status chip_cache_store(const base_digest *key, const chip_build *build,
                                               base_digest *digest, chip_text *path, baton_error *err);

/* Keeps bytes that belong to no key. */
BATON_MUST_CHECK baton_status chip_cache_store_object(const chip_text *object, base_digest *digest,
                                                      chip_text *path, baton_error *err);

#endif
