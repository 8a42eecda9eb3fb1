/* chip/program/file.h - whole files: read, hash, write so that nobody sees half of one. Descriptors are closed on
** exec. */
#ifndef CHIP_FILE_H
#define CHIP_FILE_H

#include "base/hash.h"
#include "chip/program/text.h"

/* Appends the file to `text`. 0, or errno (ENOMEM when memory is out, EISDIR for a directory). */
int chip_file_read(const char *path, chip_text *text);

/* The digest of a regular file's content. 0, or errno. */
int chip_file_hash(const char *path, base_digest *out);

/* Writes a temporary name beside `path`, then renames. 0, or errno; then nothing is left behind. */
int chip_file_write(const char *path, const void *data, size_t size);

/* Makes a directory and its parents, for this user only. 0, or errno. */
int chip_file_make_directory(const char *path);

/* Removes a directory with the files in it. What cannot be removed stays. */
void chip_file_remove_directory(const char *path);

/* A new directory for this user under $TMPDIR, else /tmp: "…/baton.XXXXXX". 0, or errno; `path` then names
** the template. */
int chip_file_temporary_directory(chip_text *path);

/* `path` itself if it is absolute or `directory` is NULL, else the path in `directory`. */
void chip_file_join(chip_text *out, const char *directory, const char *path);

#endif
