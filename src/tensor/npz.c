/* One array out of an .npz file: a ZIP archive of .npy files, stored or deflated. */
#include "base/memory.h"
#include "tensor/npy.h"
#include <inttypes.h>
#include <string.h>
#include <zlib.h>

enum {
  END_SIZE = 22,
  COMMENT_MAX = 65535,
  ENTRY_SIZE = 46,
  LOCAL_SIZE = 30,
  INPUT_SIZE = 64 * 1024,
  STORED = 0,
  DEFLATED = 8,
  ENCRYPTED = 1,
  ZIP64_EXTRA = 1
};

static uint64_t number_at(const uint8_t *bytes, int count) {
  uint64_t value = 0;
  for (int i = count - 1; i >= 0; i--) value = value << 8 | bytes[i];
  return value;
}

/* --- Directory ------------------------------------------------------------------------------------------ */

typedef struct archive_directory {
  uint8_t *bytes; /* owned */
  size_t size;
  uint64_t entries;
} archive_directory;

/* One array; `name` points into the directory and does not end with a zero. */
typedef struct archive_member {
  const char *name;
  size_t name_length; /* without ".npy" */
  unsigned method, flags;
  uint32_t checksum;
  uint64_t packed, size, offset;
} archive_member;

/* Finds the record at the end of the archive, and reads the directory that it points at. */
static baton_status directory_read(tensor_file *file, archive_directory *out, baton_error *err) {
  int64_t size = file->source.size, tail = size < END_SIZE + COMMENT_MAX ? size : END_SIZE + COMMENT_MAX, at;
  uint8_t *bytes = base_alloc((size_t)tail);
  *out = (archive_directory){0};
  if (!bytes) return base_out_of_memory(err, "the directory of an archive");
  baton_status status = tensor_file_read(file, bytes, (size_t)tail, size - tail, err);
  for (at = tail - END_SIZE; status == BATON_OK && at >= 0 && memcmp(bytes + at, "PK\5\6", 4); at--) continue;
  uint64_t offset = 0, end = 0;
  if (status == BATON_OK && at >= 0) {
    out->entries = number_at(bytes + at + 10, 2);
    out->size = (size_t)number_at(bytes + at + 12, 4);
    offset = number_at(bytes + at + 16, 4);
    end = (uint64_t)(size - tail + at);
  }
  base_free(bytes);
  if (status != BATON_OK) return status;
  if (at < 0) return tensor_bad_file(err, file->source.path, "is an archive without its end");
  if (offset + out->size > end)
    return tensor_bad_file(err, file->source.path,
                           "offset %" PRIu64 ": the directory does not fit the archive", offset);
  out->bytes = base_alloc(out->size);
  if (!out->bytes) return base_out_of_memory(err, "the directory of an archive");
  return tensor_file_read(file, out->bytes, out->size, (int64_t)offset, err);
}

/* Numbers that do not fit 32 bits stand in an extra field, in this order. */
static void read_zip64(const uint8_t *extra, size_t size, archive_member *member) {
  uint64_t *const fields[] = {&member->size, &member->packed, &member->offset};
  while (size >= 4) {
    size_t length = (size_t)number_at(extra + 2, 2), at = 4;
    if (length > size - 4) return;
    for (int i = 0; i < 3 && number_at(extra, 2) == ZIP64_EXTRA; i++) {
      if (*fields[i] != UINT32_MAX || at + 8 > length + 4) continue;
      *fields[i] = number_at(extra + at, 8);
      at += 8;
    }
    extra += length + 4;
    size -= length + 4;
  }
}

/* The entry at *at, and moves on; false at the end or where the directory is damaged. */
static int directory_next(const archive_directory *directory, size_t *at, archive_member *out) {
  const uint8_t *entry = directory->bytes + *at;
  size_t left = directory->size - *at;
  if (left < ENTRY_SIZE || memcmp(entry, "PK\1\2", 4)) return 0;
  size_t name = (size_t)number_at(entry + 28, 2), extra = (size_t)number_at(entry + 30, 2);
  size_t length = ENTRY_SIZE + name + extra + (size_t)number_at(entry + 32, 2);
  if (length > left) return 0;
  *out = (archive_member){.name = (const char *)entry + ENTRY_SIZE,
                          .name_length = name,
                          .flags = (unsigned)number_at(entry + 8, 2),
                          .method = (unsigned)number_at(entry + 10, 2),
                          .checksum = (uint32_t)number_at(entry + 16, 4),
                          .packed = number_at(entry + 20, 4),
                          .size = number_at(entry + 24, 4),
                          .offset = number_at(entry + 42, 4)};
  if (name > 4 && !memcmp(out->name + name - 4, ".npy", 4)) out->name_length -= 4;
  read_zip64(entry + ENTRY_SIZE + name, extra, out);
  *at += length;
  return 1;
}

/* --- Reading -------------------------------------------------------------------------------------------- */

/* An array of the archive as a source of bytes. */
typedef struct npz_source {
  tensor_source source; /* first */
  tensor_file *file;
  int64_t next, packed_end; /* in the file */
  int deflated;
  uLong checksum;
  z_stream stream;
  uint8_t input[INPUT_SIZE];
} npz_source;

static baton_status read_stored(npz_source *npz, void *to, size_t size, baton_error *err) {
  if ((int64_t)size > npz->packed_end - npz->next)
    return tensor_bad_file(err, npz->source.path, "the archive says two sizes of one array");
  BATON_TRY(tensor_file_read(npz->file, to, size, npz->next, err));
  npz->next += (int64_t)size;
  return BATON_OK;
}

static baton_status refill(npz_source *npz, baton_error *err) {
  int64_t left = npz->packed_end - npz->next;
  size_t size = left < INPUT_SIZE ? (size_t)left : INPUT_SIZE;
  if (size == 0) return tensor_bad_file(err, npz->source.path, "compressed data ends early");
  BATON_TRY(tensor_file_read(npz->file, npz->input, size, npz->next, err));
  npz->next += (int64_t)size;
  npz->stream.next_in = npz->input;
  npz->stream.avail_in = (uInt)size;
  return BATON_OK;
}

static baton_status read_deflated(npz_source *npz, void *to, size_t size, baton_error *err) {
  npz->stream.next_out = to;
  while (size > 0) {
    uInt part = size < (1u << 30) ? (uInt)size : 1u << 30;
    npz->stream.avail_out = part;
    if (npz->stream.avail_in == 0) BATON_TRY(refill(npz, err));
    int result = inflate(&npz->stream, Z_NO_FLUSH);
    size -= part - npz->stream.avail_out;
    if (result == Z_STREAM_END && size > 0)
      return tensor_bad_file(err, npz->source.path, "compressed data ends early");
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
      return tensor_bad_file(err, npz->source.path, "compressed data is damaged");
  }
  return BATON_OK;
}

static baton_status npz_read_on(tensor_source *source, void *to, size_t size, baton_error *err) {
  npz_source *npz = (npz_source *)(void *)source;
  BATON_TRY((npz->deflated ? read_deflated : read_stored)(npz, to, size, err));
  npz->checksum = crc32_z(npz->checksum, to, size);
  source->at += (int64_t)size;
  return BATON_OK;
}

/* Finds where the bytes of a member begin, behind its local header. */
static baton_status locate(npz_source *npz, const archive_member *member, baton_error *err) {
  uint8_t local[LOCAL_SIZE];
  const char *path = npz->file->source.path;
  uint64_t size = (uint64_t)npz->file->source.size;
  if (size < LOCAL_SIZE || member->offset > size - LOCAL_SIZE)
    return tensor_bad_file(err, path, "an array lies outside the archive");
  BATON_TRY(tensor_file_read(npz->file, local, LOCAL_SIZE, (int64_t)member->offset, err));
  if (memcmp(local, "PK\3\4", 4))
    return tensor_bad_file(err, path, "offset %" PRIu64 ": no array begins here", member->offset);
  uint64_t start = member->offset + LOCAL_SIZE + number_at(local + 26, 2) + number_at(local + 28, 2);
  if (start > size || member->packed > size - start || member->size > INT64_MAX)
    return tensor_bad_file(err, path, "an array lies outside the archive");
  npz->next = (int64_t)start;
  npz->packed_end = (int64_t)(start + member->packed);
  return BATON_OK;
}

static baton_status read_array(npz_source *npz, const archive_member *member, baton_tensor **out,
                               baton_error *err) {
  BATON_TRY(locate(npz, member, err));
  BATON_TRY(npy_read(&npz->source, out, err));
  if (npz->checksum == member->checksum) return BATON_OK;
  baton_tensor_close(*out);
  *out = NULL;
  return tensor_bad_file(err, npz->source.path, "the checksum of array '%.*s' is wrong",
                         (int)member->name_length, member->name);
}

static baton_status read_member(tensor_file *file, const archive_member *member, baton_tensor **out,
                                baton_error *err) {
  if (member->flags & ENCRYPTED) return tensor_bad_file(err, file->source.path, "is encrypted");
  if (member->method != STORED && member->method != DEFLATED)
    return tensor_bad_file(err, file->source.path, "compression method %u is unknown", member->method);
  npz_source *npz = base_calloc(1, sizeof *npz);
  if (!npz) return base_out_of_memory(err, "reading an archive");
  npz->source =
      (tensor_source){.read = npz_read_on, .path = file->source.path, .size = (int64_t)member->size};
  npz->file = file;
  npz->deflated = member->method == DEFLATED;
  npz->checksum = crc32_z(0, NULL, 0);
  baton_status status = BATON_OK;
  if (npz->deflated && inflateInit2(&npz->stream, -MAX_WBITS) != Z_OK)
    status = base_out_of_memory(err, "inflating");
  if (status == BATON_OK) {
    status = read_array(npz, member, out, err);
    if (npz->deflated) inflateEnd(&npz->stream);
  }
  base_free(npz);
  return status;
}

/* --- Choosing ------------------------------------------------------------------------------------------- */

enum { NAMES_SIZE = 256 };

/* The names of all arrays, for messages. */
static void list_names(const archive_directory *directory, char *names, size_t size) {
  size_t at = 0, used = 0;
  archive_member member;
  names[0] = 0;
  while (directory_next(directory, &at, &member)) {
    if (used + member.name_length + 3 > size) return;
    if (used) used += (size_t)(stpcpy(names + used, ", ") - (names + used));
    memcpy(names + used, member.name, member.name_length);
    used += member.name_length;
    names[used] = 0;
  }
}

static baton_status choose(const archive_directory *directory, const char *path, const char *key,
                           archive_member *out, baton_error *err) {
  size_t at = 0, count = 0;
  archive_member member;
  char names[NAMES_SIZE];
  while (directory_next(directory, &at, &member)) {
    count++;
    *out = member;
    if (key && strlen(key) == member.name_length && !memcmp(key, member.name, member.name_length))
      return BATON_OK;
  }
  if (count < directory->entries)
    return tensor_bad_file(err, path, "the directory is damaged at entry %zu of %" PRIu64, count,
                           directory->entries);
  if (!key && count == 1) return BATON_OK;
  list_names(directory, names, sizeof names);
  if (key) return tensor_bad_file(err, path, "has no array '%s', only: %s", key, names);
  return tensor_bad_file(err, path, "has %zu arrays, one must be named: %s", count, names);
}

baton_status npz_read(tensor_file *file, const char *key, baton_tensor **out, baton_error *err) {
  archive_directory directory;
  archive_member member = {0};
  baton_status status = directory_read(file, &directory, err);
  if (status == BATON_OK) status = choose(&directory, file->source.path, key, &member, err);
  if (status == BATON_OK) status = read_member(file, &member, out, err);
  base_free(directory.bytes);
  return status;
}
