/* tensor/npy.h - the .npy format, apart from where its bytes come from. */
#ifndef TENSOR_NPY_H
#define TENSOR_NPY_H

#include "tensor/file.h"
#include <baton/tensor.h>

/* What the header of an array says. */
typedef struct npy_header {
  baton_dtype dtype;
  int swapped; /* elements have the other byte order than this machine */
  int fortran; /* the first index runs fastest */
  int ndim;
  int64_t shape[BATON_MAX_DIMS];
} npy_header;

/* Reads the header that `text` holds, a literal of a Python dictionary. `offset` is where it begins in the
** source, for messages. */
baton_status npy_parse(const char *text, size_t size, int64_t offset, const char *path, npy_header *out,
                       baton_error *err);

/* Reads one array, which is all of the source. */
baton_status npy_read(tensor_source *source, baton_tensor **out, baton_error *err);

/* Reads the array `key` of an archive; with NULL the only one that there is. */
baton_status npz_read(tensor_file *file, const char *key, baton_tensor **out, baton_error *err);

#endif
