/* Tensors in .npy files. */
#include "tensor/npy.h"
#include "base/memory.h"
#include "tensor/tensor.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the byte order of .npy files is decided for little-endian machines only"
#endif

enum { PREFIX_SIZE = 8, HEADER_MAX = 64 * 1024, ALIGNMENT = 64 };

static const char magic[] = "\x93NUMPY";

/* --- Reading -------------------------------------------------------------------------------------------- */

static uint32_t little(const uint8_t *bytes, int count) {
  uint32_t value = 0;
  for (int i = count - 1; i >= 0; i--) value = value << 8 | bytes[i];
  return value;
}

static baton_status truncated(const tensor_source *source, int64_t needed, const char *what,
                              baton_error *err) {
  return tensor_bad_file(err, source->path,
                         "offset %" PRId64 ": %" PRId64 " bytes of %s, but the file ends after %" PRId64,
                         source->at, needed, what, tensor_source_left(source));
}

/* Reads magic, version and the length of the header. */
static baton_status read_prefix(tensor_source *source, uint32_t *length, baton_error *err) {
  uint8_t bytes[PREFIX_SIZE], sizes[4];
  if (tensor_source_left(source) < PREFIX_SIZE + 2) return truncated(source, PREFIX_SIZE + 2, "prefix", err);
  BATON_TRY(source->read(source, bytes, PREFIX_SIZE, err));
  if (memcmp(bytes, magic, sizeof magic - 1))
    return tensor_bad_file(err, source->path, "offset 0: is no .npy file, it does not begin with \\x93NUMPY");
  if (bytes[6] < 1 || bytes[6] > 3 || bytes[7] != 0)
    return tensor_bad_file(err, source->path, "offset 6: version %d.%d, but 1.0, 2.0 and 3.0 are known",
                           bytes[6], bytes[7]);
  int size = bytes[6] == 1 ? 2 : 4;
  if (tensor_source_left(source) < size) return truncated(source, size, "header length", err);
  BATON_TRY(source->read(source, sizes, (size_t)size, err));
  *length = little(sizes, size);
  if (*length > HEADER_MAX)
    return tensor_bad_file(err, source->path, "offset 8: a header of %" PRIu32 " bytes, but %d are the limit",
                           *length, HEADER_MAX);
  if (tensor_source_left(source) < *length) return truncated(source, *length, "header", err);
  return BATON_OK;
}

static baton_status read_header(tensor_source *source, npy_header *out, baton_error *err) {
  uint32_t length = 0;
  BATON_TRY(read_prefix(source, &length, err));
  int64_t offset = source->at;
  char *text = base_alloc(length);
  if (!text) return base_out_of_memory(err, "the header of a .npy file");
  baton_status status = source->read(source, text, length, err);
  if (status == BATON_OK) status = npy_parse(text, length, offset, source->path, out, err);
  base_free(text);
  return status;
}

/* The elements take exactly what is left of the source. */
static baton_status check_payload(const tensor_source *source, const npy_header *header, baton_error *err) {
  int64_t size = (int64_t)baton_dtype_size(header->dtype), left = tensor_source_left(source), empty = 0;
  for (int d = 0; d < header->ndim; d++) empty |= header->shape[d] == 0;
  for (int d = 0; d < header->ndim; d++)
    if (__builtin_mul_overflow(size, header->shape[d] ? header->shape[d] : 1, &size) || size > INT64_C(1)
                                                                                                   << 62)
      return tensor_bad_file(err, source->path,
                             "field 'shape': the product of the sizes is beyond 2^62 bytes");
  if (empty) size = 0;
  if (size > left) return truncated(source, size, "elements", err);
  if (size < left)
    return tensor_bad_file(err, source->path, "offset %" PRId64 ": %" PRId64 " bytes after the last element",
                           source->at + size, left - size);
  return BATON_OK;
}

static void swap_bytes(char *data, size_t size, int64_t count) {
  for (int64_t i = 0; i < count; i++, data += size)
    for (size_t low = 0, high = size - 1; low < high; low++, high--) {
      char byte = data[low];
      data[low] = data[high];
      data[high] = byte;
    }
}

/* Reads the elements into a fresh tensor, as they lie in the file apart from the byte order. */
static baton_status read_elements(tensor_source *source, const npy_header *header, baton_tensor *tensor,
                                  baton_error *err) {
  char *data = tensor->view.data;
  int64_t numel = baton_view_numel(&tensor->view);
  size_t size = baton_dtype_size(header->dtype);
  BATON_TRY(source->read(source, data, (size_t)numel * size, err));
  if (header->swapped) swap_bytes(data, size, numel);
  for (int64_t i = 0; i < numel && header->dtype == BATON_BOOL; i++) data[i] = data[i] != 0;
  return BATON_OK;
}

/* The same memory with its dimensions in reverse: Fortran order becomes C order. */
static void reverse_dims(baton_view *view) {
  for (int low = 0, high = view->ndim - 1; low < high; low++, high--)
    *view = baton_transpose(*view, low, high);
}

baton_status npy_read(tensor_source *source, baton_tensor **out, baton_error *err) {
  npy_header header;
  int64_t shape[BATON_MAX_DIMS];
  baton_tensor *raw;
  *out = NULL;
  BATON_TRY(read_header(source, &header, err));
  BATON_TRY(check_payload(source, &header, err));
  for (int d = 0; d < header.ndim; d++) shape[d] = header.shape[header.fortran ? header.ndim - 1 - d : d];
  BATON_TRY(baton_tensor_empty(header.dtype, header.ndim, shape, &raw, err));
  baton_status status = read_elements(source, &header, raw, err);
  if (status == BATON_OK && header.fortran) {
    reverse_dims(&raw->view);
    status = baton_tensor_clone(raw, out, err);
  } else if (status == BATON_OK) {
    *out = raw;
    return BATON_OK;
  }
  baton_tensor_close(raw);
  return status;
}

static baton_status load_array(tensor_file *file, const char *key, baton_tensor **out, baton_error *err) {
  char start[2] = {0};
  if (file->source.size >= 2) BATON_TRY(tensor_file_read(file, start, 2, 0, err));
  if (start[0] == 'P' && start[1] == 'K') return npz_read(file, key, out, err);
  if (key)
    return tensor_bad_file(err, file->source.path, "is no .npz archive, so there is no array '%s' in it",
                           key);
  return npy_read(&file->source, out, err);
}

baton_status baton_tensor_load(const char *path, const char *key, baton_tensor **out, baton_error *err) {
  tensor_file file;
  *out = NULL;
  BATON_TRY(tensor_file_open(&file, path, err));
  baton_status status = load_array(&file, key, out, err);
  tensor_file_close(&file);
  return status;
}

/* --- Writing -------------------------------------------------------------------------------------------- */

static const char *descr_of(baton_dtype dtype) {
  static const char *const descrs[BATON_DTYPE_COUNT] = {
      [BATON_F64] = "<f8", [BATON_F32] = "<f4", [BATON_F16] = "<f2", [BATON_BF16] = "<V2",
      [BATON_I64] = "<i8", [BATON_I32] = "<i4", [BATON_I16] = "<i2", [BATON_I8] = "|i1",
      [BATON_U64] = "<u8", [BATON_U32] = "<u4", [BATON_U16] = "<u2", [BATON_U8] = "|u1",
      [BATON_BOOL] = "|b1"};
  return descrs[dtype];
}

/* Magic, version 1.0, and the header, padded with blanks so that the elements are aligned. Returns its
** size. */
static size_t make_header(const baton_view *view, char *out, size_t size) {
  int length = PREFIX_SIZE + 2;
  length +=
      snprintf(out + length, size - (size_t)length, "{'descr': '%s', 'fortran_order': False, 'shape': (",
               descr_of((baton_dtype)view->dtype));
  for (int d = 0; d < view->ndim; d++)
    length += snprintf(out + length, size - (size_t)length, "%s%" PRId64 "%s", d ? " " : "", view->shape[d],
                       d + 1 < view->ndim || view->ndim == 1 ? "," : "");
  length += snprintf(out + length, size - (size_t)length, "), }");
  while ((length + 1) % ALIGNMENT) out[length++] = ' ';
  out[length++] = '\n';
  memcpy(out, magic, sizeof magic - 1);
  out[6] = 1;
  out[7] = 0;
  out[8] = (char)((length - PREFIX_SIZE - 2) & 0xff);
  out[9] = (char)((length - PREFIX_SIZE - 2) >> 8);
  return (size_t)length;
}

baton_status baton_tensor_save(const baton_tensor *tensor, const char *path, baton_error *err) {
  char header[512];
  baton_tensor *straight;
  BATON_TRY(tensor_contiguous(tensor, &straight, err));
  const baton_view *view = &straight->view;
  tensor_piece pieces[2] = {
      {header, make_header(view, header, sizeof header)},
      {view->data, (size_t)baton_view_numel(view) * baton_dtype_size((baton_dtype)view->dtype)}};
  baton_status status = tensor_file_write(path, pieces, 2, err);
  baton_tensor_close(straight);
  return status;
}
