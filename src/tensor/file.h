/* tensor/file.h - bytes from a file, and a file that appears whole or not at all. */
#ifndef TENSOR_FILE_H
#define TENSOR_FILE_H

#include <baton/error.h>
#include <stddef.h>
#include <sys/types.h>

/* Where bytes come from: a file, or an array inside an archive. One thread at a time. */
typedef struct tensor_source tensor_source;
struct tensor_source {
  /* Reads exactly `size` bytes at source->at and moves on. The bytes exist: `size` is at most left. */
  baton_status (*read)(tensor_source *source, void *to, size_t size, baton_error *err);
  const char *path; /* for messages */
  int64_t at, size; /* bytes read so far, and of the whole */
};

static inline int64_t tensor_source_left(const tensor_source *source) { return source->size - source->at; }

/* A regular file, open for reading. */
typedef struct tensor_file {
  tensor_source source; /* first: reads on from where the last one ended */
  int descriptor;
} tensor_file;

baton_status tensor_file_open(tensor_file *file, const char *path, baton_error *err);
/* Reads exactly `size` bytes at `offset`; a file that has become shorter is a `bad_file`. */
baton_status tensor_file_read(tensor_file *file, void *to, size_t size, int64_t offset, baton_error *err);
void tensor_file_close(tensor_file *file);

/* A piece of what is to be written. */
typedef struct tensor_piece {
  const void *data;
  size_t size;
} tensor_piece;

/* Writes the pieces to a temporary file beside `path`, which then takes that name; whatever fails leaves what
** was there before. What exists and is no file (a device, a pipe) is written directly. */
baton_status tensor_file_write(const char *path, const tensor_piece *pieces, int count, baton_error *err);

/* bad_file "PATH: sentence", with the path as a field. */
baton_status tensor_bad_file(baton_error *err, const char *path, const char *fmt, ...) BATON_PRINTF(3, 4);

#endif
