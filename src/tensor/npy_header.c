/* The header of a .npy file: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } */
#include "tensor/npy.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What is left of the text, and where the whole began. */
typedef struct parser {
  const char *at, *end, *begin;
  int64_t offset;
  const char *path;
  baton_error *err;
} parser;

static baton_status syntax_error(const parser *p, const char *expected) {
  return tensor_bad_file(p->err, p->path, "offset %" PRId64 ": header: %s expected",
                         p->offset + (p->at - p->begin), expected);
}

static void skip_blanks(parser *p) {
  while (p->at < p->end && (*p->at == ' ' || *p->at == '\t' || *p->at == '\n' || *p->at == '\r')) p->at++;
}

/* Takes `sign` if it comes next. */
static int accept(parser *p, char sign) {
  skip_blanks(p);
  if (p->at == p->end || *p->at != sign) return 0;
  p->at++;
  return 1;
}

static int accept_word(parser *p, const char *word) {
  size_t length = strlen(word);
  skip_blanks(p);
  if ((size_t)(p->end - p->at) < length || memcmp(p->at, word, length)) return 0;
  p->at += length;
  return 1;
}

static baton_status parse_string(parser *p, char *out, size_t size) {
  skip_blanks(p);
  const char quote = p->at < p->end ? *p->at : 0;
  if (quote != '\'' && quote != '"') return syntax_error(p, "a string");
  const char *from = p->at + 1, *to = memchr(from, quote, (size_t)(p->end - from));
  if (!to) return syntax_error(p, "the end of a string");
  if ((size_t)(to - from) >= size || memchr(from, '\\', (size_t)(to - from)) ||
      memchr(from, 0, (size_t)(to - from)))
    return syntax_error(p, "a short plain string");
  memcpy(out, from, (size_t)(to - from));
  out[to - from] = 0;
  p->at = to + 1;
  return BATON_OK;
}

/* --- Fields --------------------------------------------------------------------------------------------- */

/* The type for "f4" and the like. */
static baton_dtype dtype_of(const char *code) {
  static const struct {
    const char *code;
    baton_dtype dtype;
  } codes[] = {{"f8", BATON_F64},  {"f4", BATON_F32}, {"f2", BATON_F16}, {"V2", BATON_BF16},
               {"i8", BATON_I64},  {"i4", BATON_I32}, {"i2", BATON_I16}, {"i1", BATON_I8},
               {"u8", BATON_U64},  {"u4", BATON_U32}, {"u2", BATON_U16}, {"u1", BATON_U8},
               {"b1", BATON_BOOL}, {"?", BATON_BOOL}};
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
    if (!strcmp(code, codes[i].code)) return codes[i].dtype;
  return BATON_NO_DTYPE;
}

static baton_status parse_descr(parser *p, npy_header *out) {
  char descr[32];
  skip_blanks(p);
  if (p->at < p->end && *p->at == '[')
    return tensor_bad_file(p->err, p->path, "field 'descr': a record type cannot be read");
  BATON_TRY(parse_string(p, descr, sizeof descr));
  const char *code = descr + (descr[0] && strchr("<>|=", descr[0]) ? 1 : 0);
  out->swapped = descr[0] == '>';
  out->dtype = dtype_of(code);
  if (*code == 'O')
    return tensor_bad_file(p->err, p->path, "field 'descr': objects ('%s') cannot be read", descr);
  if (!out->dtype) return tensor_bad_file(p->err, p->path, "field 'descr': '%s' has no counterpart", descr);
  return BATON_OK;
}

static baton_status parse_order(parser *p, npy_header *out) {
  out->fortran = accept_word(p, "True");
  return out->fortran || accept_word(p, "False") ? BATON_OK : syntax_error(p, "True or False");
}

static baton_status parse_size(parser *p, int64_t *out) {
  skip_blanks(p);
  if (p->at == p->end || *p->at < '0' || *p->at > '9') return syntax_error(p, "a size");
  for (*out = 0; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++)
    if (__builtin_mul_overflow(*out, 10, out) || __builtin_add_overflow(*out, *p->at - '0', out))
      return tensor_bad_file(p->err, p->path, "field 'shape': a size is beyond 2^63");
  accept(p, 'L'); /* as Python 2 wrote it */
  return BATON_OK;
}

static baton_status parse_shape(parser *p, npy_header *out) {
  if (!accept(p, '(')) return syntax_error(p, "'('");
  for (out->ndim = 0; !accept(p, ')'); out->ndim++) {
    if (out->ndim == BATON_MAX_DIMS)
      return tensor_bad_file(p->err, p->path, "field 'shape': more than %d dimensions", BATON_MAX_DIMS);
    BATON_TRY(parse_size(p, &out->shape[out->ndim]));
    if (accept(p, ',')) continue;
    if (!accept(p, ')')) return syntax_error(p, "',' or ')'");
    out->ndim++;
    return BATON_OK;
  }
  return BATON_OK;
}

/* The fields in the order of the bits that tell which were seen. */
static const char *const field_names[] = {"descr", "fortran_order", "shape"};
enum { FIELDS = 3 };

static baton_status parse_field(parser *p, unsigned *seen, npy_header *out) {
  static baton_status (*const parsers[FIELDS])(parser *, npy_header *) = {parse_descr, parse_order,
                                                                          parse_shape};
  char name[32];
  BATON_TRY(parse_string(p, name, sizeof name));
  if (!accept(p, ':')) return syntax_error(p, "':'");
  for (unsigned field = 0; field < FIELDS; field++) {
    if (strcmp(name, field_names[field])) continue;
    if (*seen & 1u << field) return tensor_bad_file(p->err, p->path, "field '%s' appears twice", name);
    *seen |= 1u << field;
    return parsers[field](p, out);
  }
  return tensor_bad_file(p->err, p->path, "field '%s' is unknown", name);
}

baton_status npy_parse(const char *text, size_t size, int64_t offset, const char *path, npy_header *out,
                       baton_error *err) {
  parser p = {text, text + size, text, offset, path, err};
  unsigned seen = 0;
  *out = (npy_header){0};
  if (!accept(&p, '{')) return syntax_error(&p, "'{'");
  while (!accept(&p, '}')) {
    BATON_TRY(parse_field(&p, &seen, out));
    if (accept(&p, ',')) continue;
    if (!accept(&p, '}')) return syntax_error(&p, "',' or '}'");
    break;
  }
  skip_blanks(&p);
  if (p.at != p.end) return syntax_error(&p, "the end of the header");
  for (unsigned field = 0; field < FIELDS; field++)
    if (!(seen & 1u << field)) return tensor_bad_file(err, path, "field '%s' is missing", field_names[field]);
  return BATON_OK;
}
