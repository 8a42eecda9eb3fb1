#include "chip/program/pack.h"
#include "base/memory.h"
#include "chip/program/arena.h"
#include <string.h>

enum { MAGIC = 0x31677072, GRAPH = 1, EXPLICIT = 2, REBUILD = 4, HOST = 8, ALL_FLAGS = 15 };

/* ---- writing: numbers of this machine, texts with their size and their zero ---- */

static void put_u32(chip_text *out, uint32_t value) { chip_text_add_bytes(out, &value, sizeof value); }
static void put_u64(chip_text *out, uint64_t value) { chip_text_add_bytes(out, &value, sizeof value); }

static void put_text(chip_text *out, const char *text) {
  uint32_t size = (uint32_t)strlen(text) + 1;
  put_u32(out, size);
  chip_text_add_bytes(out, text, size);
}

static void put_parameter(chip_text *out, const chip_parameter *parameter) {
  put_text(out, parameter->name);
  put_u32(out, parameter->direction);
  put_u32(out, parameter->dtypes);
  put_u32(out, (uint32_t)parameter->has_shape);
  put_u32(out, (uint32_t)parameter->ndim);
  for (int32_t d = 0; parameter->has_shape && d < parameter->ndim; d++) {
    const chip_dim *dim = &parameter->shape[d];
    put_u64(out, (uint64_t)dim->size);
    put_text(out, dim->name ? dim->name : "");
  }
}

static void put_signature(chip_text *out, const chip_signature *signature) {
  put_u32(out, signature != NULL);
  if (!signature) return;
  put_u32(out, signature->count);
  for (uint32_t i = 0; i < signature->count; i++) put_parameter(out, &signature->items[i]);
}

static void put_kernel(chip_text *out, const chip_kernel *kernel) {
  put_text(out, kernel->name);
  put_u32(out, kernel->core);
  put_u32(out, kernel->strided != 0);
  put_u32(out, kernel->waits != 0);
  put_signature(out, kernel->signature);
}

static baton_status put_object(chip_text *out, const baton_program *program, uint32_t index, const char *what,
                               baton_error *err) {
  const char *path, *entry;
  if (!chip_program_object(program, index, &path, &entry)) {
    baton_error_set(err, BATON_UNSUPPORTED, "%s: %s is a function of this process, no other one can run it",
                    baton_program_name(program), what);
    baton_error_text(err, BATON_FIELD_HINT, "give it as source, code or object, or use thread isolation");
    return BATON_UNSUPPORTED;
  }
  put_text(out, path);
  put_text(out, entry);
  return BATON_OK;
}

static baton_status put_body(chip_text *out, const baton_program *program, int told, baton_error *err) {
  uint64_t size;
  const void *script = chip_program_script(program, &size);
  if (told && chip_program_is_graph(program)) {
    put_u64(out, 0);
    return BATON_OK;
  }
  if (!script || !chip_program_is_graph(program))
    return put_object(out, program, CHIP_PROGRAM_BODY,
                      chip_program_is_host(program)    ? "its function of the host"
                      : chip_program_is_graph(program) ? "its graph"
                                                       : "its orchestration",
                      err);
  put_u64(out, size);
  chip_text_add_bytes(out, script, size);
  return BATON_OK;
}

static baton_status put_program(chip_text *out, const baton_program *program, int told, baton_error *err) {
  put_u32(out, MAGIC);
  put_u32(out, (chip_program_is_graph(program) ? GRAPH : 0u) |
                   (chip_program_is_explicit(program) ? EXPLICIT : 0u) |
                   (chip_program_keeps(program) ? 0u : REBUILD) |
                   (chip_program_is_host(program) ? HOST : 0u));
  put_text(out, baton_program_name(program));
  put_signature(out, chip_program_signature(program));
  put_u32(out, chip_program_kernel_count(program));
  for (uint32_t i = 0; i < chip_program_kernel_count(program); i++) {
    const chip_kernel *kernel = chip_program_kernel(program, i);
    put_kernel(out, kernel);
    BATON_TRY(put_object(out, program, i, kernel->name, err));
  }
  if (chip_program_is_host(program)) put_text(out, chip_program_host(program)->name);
  return put_body(out, program, told, err);
}

static baton_status pack(baton_program *program, int told, chip_text *out, baton_error *err) {
  BATON_TRY(baton_program_compile(program, err));
  BATON_TRY(put_program(out, program, told, err));
  return out->failed ? base_out_of_memory(err, "a program as bytes") : BATON_OK;
}

baton_status chip_program_pack(baton_program *program, chip_text *out, baton_error *err) {
  return pack(program, 0, out, err);
}

baton_status chip_program_pack_told(baton_program *program, chip_text *out, baton_error *err) {
  return pack(program, 1, out, err);
}

/* ---- reading: never beyond the end, and what is wrong is remembered ---- */

typedef struct reader {
  const char *at;
  uint64_t left;
  const char *wrong; /* the first part that makes no sense; NULL: none */
  chip_arena arena;  /* what the options point to */
} reader;

static void refuse(reader *r, const char *part) {
  if (!r->wrong) r->wrong = part;
  r->left = 0;
}

static const char *get_bytes(reader *r, uint64_t size, const char *part) {
  const char *at = r->at;
  if (size > r->left) {
    refuse(r, part);
    return NULL;
  }
  r->at += size;
  r->left -= size;
  return at;
}

static uint32_t get_u32(reader *r, const char *part) {
  uint32_t value = 0;
  const char *bytes = get_bytes(r, sizeof value, part);
  if (bytes) memcpy(&value, bytes, sizeof value);
  return value;
}

static uint64_t get_u64(reader *r, const char *part) {
  uint64_t value = 0;
  const char *bytes = get_bytes(r, sizeof value, part);
  if (bytes) memcpy(&value, bytes, sizeof value);
  return value;
}

static const char *get_text(reader *r, const char *part) {
  uint32_t size = get_u32(r, part);
  const char *text = get_bytes(r, size, part);
  if (text && size > 0 && memchr(text, 0, size) == text + size - 1) return text;
  refuse(r, part);
  return "";
}

static int get_flag(reader *r, const char *part) {
  uint32_t flag = get_u32(r, part);
  if (flag > 1) refuse(r, part);
  return flag == 1;
}

/* The number of things of at least `least` bytes each. */
static uint32_t get_count(reader *r, uint64_t least, const char *part) {
  uint32_t count = get_u32(r, part);
  if (count <= r->left / least) return count;
  refuse(r, part);
  return 0;
}

static void *get_room(reader *r, size_t size) {
  void *room = chip_arena_alloc(&r->arena, size);
  if (!room) refuse(r, "memory");
  return room;
}

static void get_parameter(reader *r, baton_parameter *parameter) {
  parameter->name = get_text(r, "a parameter's name");
  parameter->direction = (baton_direction)get_u32(r, "a parameter's direction");
  parameter->dtypes = get_u32(r, "a parameter's dtypes");
  parameter->has_shape = get_flag(r, "a parameter's shape");
  uint32_t ndim = get_u32(r, "a parameter's shape");
  if (ndim > BATON_MAX_DIMS) refuse(r, "a parameter's shape");
  if (r->wrong) return;
  parameter->ndim = (int32_t)ndim;
  for (uint32_t d = 0; parameter->has_shape && d < ndim; d++) {
    parameter->shape[d].size = (int64_t)get_u64(r, "a dimension");
    const char *name = get_text(r, "a dimension");
    parameter->shape[d].name = name[0] ? name : NULL;
  }
}

static const baton_parameter *get_signature(reader *r, uint32_t *count) {
  *count = 0;
  if (!get_flag(r, "a signature")) return NULL;
  *count = get_count(r, 6 * sizeof(uint32_t), "a signature");
  baton_parameter *parameters = get_room(r, (*count + 1) * sizeof *parameters);
  for (uint32_t i = 0; i < *count && parameters; i++) get_parameter(r, &parameters[i]);
  return parameters;
}

static void get_kernels(reader *r, baton_program_options *options) {
  uint32_t count = get_count(r, 8 * sizeof(uint32_t), "the kernels");
  baton_kernel_options *kernels = get_room(r, (count + 1) * sizeof *kernels);
  for (uint32_t i = 0; i < count && kernels; i++) {
    kernels[i].name = get_text(r, "a kernel's name");
    kernels[i].core = (baton_core)get_u32(r, "a kernel's core");
    kernels[i].strided = get_flag(r, "a kernel's flags");
    kernels[i].waits = get_flag(r, "a kernel's flags");
    kernels[i].params = get_signature(r, &kernels[i].nparams);
    kernels[i].object = get_text(r, "a kernel's object");
    kernels[i].entry = get_text(r, "a kernel's entry");
  }
  options->kernels = kernels;
  options->nkernels = kernels ? count : 0;
}

static void get_host(reader *r, baton_program_options *options) {
  baton_kernel_options *host = get_room(r, sizeof *host);
  if (!host) return;
  host->name = get_text(r, "the function of the host");
  host->object = get_text(r, "the function of the host");
  host->entry = get_text(r, "the function of the host");
  options->host = host;
}

typedef struct script {
  const void *bytes;
  uint64_t size; /* 0: none */
} script;

static void get_options(reader *r, baton_orchestrate graph, baton_program_options *options, script *packed) {
  if (get_u32(r, "the beginning") != MAGIC) refuse(r, "the beginning");
  uint32_t flags = get_u32(r, "the flags");
  if (flags & ~(uint32_t)ALL_FLAGS || (flags & (GRAPH | HOST)) == (GRAPH | HOST)) refuse(r, "the flags");
  options->name = get_text(r, "the name");
  options->directory = "/"; /* all paths are whole */
  options->params = get_signature(r, &options->nparams);
  options->explicit_edges = (flags & EXPLICIT) != 0;
  options->rebuild = (flags & REBUILD) != 0;
  get_kernels(r, options);
  if (flags & HOST) {
    get_host(r, options);
  } else if (flags & GRAPH) {
    options->graph = 1;
    options->orchestrate = graph;
    packed->size = get_u64(r, "the graph");
    packed->bytes = get_bytes(r, packed->size, "the graph");
  } else {
    options->orchestration_object = get_text(r, "the orchestration");
    options->orchestration_entry = get_text(r, "the orchestration");
  }
  if (r->left) refuse(r, "the end");
}

static baton_status create(const baton_program_options *options, const script *packed, baton_program **out,
                           baton_error *err) {
  BATON_TRY(baton_program_create(options, out, err));
  baton_status status =
      packed->size ? chip_program_set_script(*out, packed->bytes, packed->size, err) : BATON_OK;
  if (status == BATON_OK) return BATON_OK;
  baton_program_close(*out);
  *out = NULL;
  return status;
}

baton_status chip_program_unpack(const void *bytes, uint64_t size, baton_orchestrate graph,
                                 baton_program **out, baton_error *err) {
  reader r = {.at = bytes, .left = size};
  baton_program_options options = {0};
  script packed = {0};
  *out = NULL;
  get_options(&r, graph, &options, &packed);
  baton_status status =
      r.arena.failed ? base_out_of_memory(err, "a packed program")
      : r.wrong ? baton_error_set(err, BATON_PROTOCOL_ERROR, "a packed program: %s makes no sense", r.wrong)
                : create(&options, &packed, out, err);
  chip_arena_free(&r.arena);
  return status;
}
