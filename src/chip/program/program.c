#include "chip/program/program.h"
#include "base/atomic.h"
#include "base/memory.h"
#include "chip/kept.h"
#include "chip/program/arena.h"
#include "chip/program/compile.h"
#include "chip/record.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Atomic uint32_t kernel_count; /* made in this process */

/* A kernel, and what it takes to get its function. */
typedef struct program_kernel {
  chip_kernel shown; /* first: chip_program_kernel hands it out */
  chip_signature *signature;
  chip_unit unit; /* without source, code and object: a function of this process */
  chip_library *library;
} program_kernel;

struct baton_program {
  _Atomic uint32_t holds;
  uint64_t number; /* unique in this process */
  _Atomic int compiled;
  pthread_mutex_t lock; /* of the compilation */
  chip_arena arena;     /* texts, kernels, units */
  const char *name, *directory;
  chip_signature *signature;
  program_kernel *kernels;
  uint32_t *by_name; /* numbers of the kernels, sorted by name */
  uint32_t nkernels;
  int graph, rebuild, explicit_edges;
  baton_orchestrate orchestrate;
  chip_unit orchestration;
  chip_library *library;
  program_kernel *host;         /* a function of the host instead */
  _Atomic(const void *) script; /* the graph as bytes, set once with its size under the lock */
  uint64_t script_size;
  chip_kept kept;
  chip_records *records;
  _Atomic uint64_t brief;
};

/* ---- checking the options ---- */

/* "source and code": which of several alternatives are given. Returns how many. */
static int given(const char *const *names, const int *set, int count, char *text, size_t size) {
  int found = 0;
  snprintf(text, size, "none");
  for (int i = 0, length = 0; i < count; i++)
    if (set[i] && length < (int)size)
      length += snprintf(text + length, size - (size_t)length, "%s%s", found++ ? " and " : "", names[i]);
  return found;
}

static baton_status check_code(const char *program, const char *what, const char *name,
                               const baton_kernel_options *kernel, baton_error *err) {
  static const char *const names[] = {"source", "code", "object", "function"};
  const int set[] = {kernel->source != NULL, kernel->code != NULL, kernel->object != NULL,
                     kernel->function != NULL};
  char text[64];
  if (given(names, set, 4, text, sizeof text) == 1) return BATON_OK;
  return baton_error_set(err, BATON_INVALID_ARGUMENT,
                         "%s: %s%s: exactly one of source, code, object and function expected, got %s",
                         program, what, name, text);
}

static baton_status check_kernel(const char *program, const baton_kernel_options *kernel, uint32_t i,
                                 baton_error *err) {
  if (!kernel->name || !kernel->name[0])
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "%s: kernel %u has no name", program, i + 1);
  if (kernel->core != BATON_AIC && kernel->core != BATON_AIV)
    return baton_error_set(err, BATON_INVALID_ARGUMENT,
                           "%s: kernel %s: core must be aic (%d) or aiv (%d), got %d", program, kernel->name,
                           BATON_AIC, BATON_AIV, (int)kernel->core);
  return check_code(program, "kernel ", kernel->name, kernel, err);
}

static baton_status check_host(const baton_program_options *options, baton_error *err) {
  if (options->nkernels)
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "%s: a function of the host has no kernels, got %u",
                           options->name, options->nkernels);
  return check_code(options->name, "host", "", options->host, err);
}

static baton_status check_options(const baton_program_options *options, baton_error *err) {
  static const char *const names[] = {"orchestrate", "orchestration_source", "orchestration_code",
                                      "orchestration_object", "host"};
  char text[112];
  if (!options || !options->name || !options->name[0])
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "a program needs a name");
  const int set[] = {options->orchestrate != NULL, options->orchestration_source != NULL,
                     options->orchestration_code != NULL, options->orchestration_object != NULL,
                     options->host != NULL};
  if (given(names, set, 5, text, sizeof text) != 1)
    return baton_error_set(err, BATON_INVALID_ARGUMENT,
                           "%s: exactly one of orchestrate, orchestration_source, orchestration_code, "
                           "orchestration_object and host expected, got %s",
                           options->name, text);
  if (options->nkernels > 0 && !options->kernels)
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "%s: %u kernels announced, none given", options->name,
                           options->nkernels);
  for (uint32_t i = 0; i < options->nkernels; i++)
    BATON_TRY(check_kernel(options->name, &options->kernels[i], i, err));
  return options->host ? check_host(options, err) : BATON_OK;
}

/* ---- creating ---- */

/* Relative paths are resolved when a kernel compiles, the working directory may have changed by then. */
static baton_status set_directory(baton_program *program, const char *directory, baton_error *err) {
  if (directory && directory[0] == '/') {
    program->directory = chip_arena_text(&program->arena, directory);
    return BATON_OK;
  }
  char *here = getcwd(NULL, 0);
  if (!here)
    return baton_error_set(err, errno == ENOMEM ? BATON_OUT_OF_MEMORY : BATON_IO_ERROR,
                           "%s: no working directory: %s", program->name, strerror(errno));
  size_t size = strlen(here) + (directory ? strlen(directory) : 0) + 2;
  char *path = chip_arena_alloc(&program->arena, size);
  if (path) snprintf(path, size, "%s%s%s", here, directory ? "/" : "", directory ? directory : "");
  free(here);
  program->directory = path;
  return BATON_OK;
}

/* Copies texts that are the same for every unit of the program. */
static chip_unit common_unit(const baton_program *program, const char *const *const *shared) {
  return (chip_unit){
      .directory = program->directory, .cflags = {shared[0]}, .include = {shared[1]}, .libs = {shared[2]}};
}

/* `role` and the name are in the messages: ": kernel " and "tile". */
static baton_status create_function(baton_program *program, const baton_kernel_options *options,
                                    const char *role, const char *called, const chip_unit *common,
                                    program_kernel *kernel, baton_error *err) {
  chip_arena *arena = &program->arena;
  size_t size = strlen(program->name) + strlen(role) + strlen(called) + 1;
  char *who = chip_arena_alloc(arena, size);
  if (who) snprintf(who, size, "%s%s%s", program->name, role, called);
  const char *name = chip_arena_text(arena, called);
  kernel->shown = (chip_kernel){.name = name,
                                .who = who,
                                .core = options->core,
                                .strided = options->strided,
                                .waits = options->waits,
                                .local = options->function != NULL,
                                .number = atomic_fetch_add_explicit(&kernel_count, 1, memory_order_relaxed),
                                .function = options->function};
  kernel->unit = *common;
  kernel->unit.who = who;
  kernel->unit.kernel = name;
  kernel->unit.source = chip_arena_text(arena, options->source);
  kernel->unit.code = chip_arena_text(arena, options->code);
  kernel->unit.code_file = chip_arena_text(arena, options->code_file);
  kernel->unit.code_line = options->code_line;
  kernel->unit.object = chip_arena_text(arena, options->object);
  kernel->unit.entry = options->entry ? chip_arena_text(arena, options->entry) : name;
  kernel->unit.cflags[1] = chip_arena_texts(arena, options->cflags);
  kernel->unit.include[1] = chip_arena_texts(arena, options->include);
  kernel->unit.libs[1] = chip_arena_texts(arena, options->libs);
  return arena->failed ? base_out_of_memory(err, "a program") : BATON_OK;
}

static baton_status create_kernel(baton_program *program, const baton_kernel_options *options,
                                  const chip_unit *common, program_kernel *kernel, baton_error *err) {
  BATON_TRY(create_function(program, options, ": kernel ", options->name, common, kernel, err));
  if (!options->params) return BATON_OK;
  BATON_TRY(
      chip_signature_create(kernel->shown.who, options->params, options->nparams, &kernel->signature, err));
  kernel->shown.signature = kernel->signature;
  return BATON_OK;
}

static baton_status create_host(baton_program *program, const baton_kernel_options *options,
                                const chip_unit *common, baton_error *err) {
  program->host = chip_arena_alloc(&program->arena, sizeof *program->host);
  if (!program->host) return base_out_of_memory(err, "a program");
  const char *name = options->name && options->name[0] ? options->name : program->name;
  return create_function(program, options, ": host function ", name, common, program->host, err);
}

static void create_orchestration(baton_program *program, const baton_program_options *options,
                                 const chip_unit *common) {
  chip_arena *arena = &program->arena;
  chip_unit *unit = &program->orchestration;
  program->graph = options->graph;
  program->orchestrate = options->orchestrate;
  *unit = *common;
  unit->who = program->name;
  unit->source = chip_arena_text(arena, options->orchestration_source);
  unit->code = chip_arena_text(arena, options->orchestration_code);
  unit->code_file = chip_arena_text(arena, options->orchestration_code_file);
  unit->code_line = options->orchestration_code_line;
  unit->object = chip_arena_text(arena, options->orchestration_object);
  unit->entry =
      options->orchestration_entry ? chip_arena_text(arena, options->orchestration_entry) : program->name;
  unit->cflags[1] = chip_arena_texts(arena, options->orchestration_cflags);
  unit->include[1] = chip_arena_texts(arena, options->orchestration_include);
  unit->libs[1] = chip_arena_texts(arena, options->orchestration_libs);
}

static int order_by_name(const void *a, const void *b, void *kernels) {
  const program_kernel *all = kernels;
  return strcmp(all[*(const uint32_t *)a].shown.name, all[*(const uint32_t *)b].shown.name);
}

static baton_status sort_kernels(baton_program *program, baton_error *err) {
  for (uint32_t i = 0; i < program->nkernels; i++) program->by_name[i] = i;
  if (program->nkernels > 0)
    qsort_r(program->by_name, program->nkernels, sizeof *program->by_name, order_by_name, program->kernels);
  for (uint32_t i = 1; i < program->nkernels; i++) {
    const char *name = program->kernels[program->by_name[i]].shown.name;
    if (strcmp(program->kernels[program->by_name[i - 1]].shown.name, name) == 0)
      return baton_error_set(err, BATON_INVALID_ARGUMENT, "%s: two kernels are called '%s'", program->name,
                             name);
  }
  return BATON_OK;
}

/* Fills a program in; what is half made, baton_program_close takes apart. */
static baton_status fill(baton_program *program, const baton_program_options *options, baton_error *err) {
  chip_arena *arena = &program->arena;
  program->name = chip_arena_text(arena, options->name);
  BATON_TRY(program->name ? set_directory(program, options->directory, err)
                          : base_out_of_memory(err, "a program"));
  const char *const *shared[] = {chip_arena_texts(arena, options->cflags),
                                 chip_arena_texts(arena, options->include),
                                 chip_arena_texts(arena, options->libs)};
  program->kernels = chip_arena_alloc(arena, options->nkernels * sizeof *program->kernels);
  program->by_name = chip_arena_alloc(arena, options->nkernels * sizeof *program->by_name);
  chip_unit common = common_unit(program, shared);
  create_orchestration(program, options, &common);
  if (arena->failed) return base_out_of_memory(err, "a program");
  if (options->params)
    BATON_TRY(
        chip_signature_create(program->name, options->params, options->nparams, &program->signature, err));
  for (uint32_t i = 0; i < options->nkernels; i++, program->nkernels++)
    BATON_TRY(create_kernel(program, &options->kernels[i], &common, &program->kernels[i], err));
  if (options->host) BATON_TRY(create_host(program, options->host, &common, err));
  return sort_kernels(program, err);
}

baton_status baton_program_create(const baton_program_options *options, baton_program **out,
                                  baton_error *err) {
  static _Atomic uint64_t programs;
  *out = NULL;
  BATON_TRY(check_options(options, err));
  baton_program *program = base_calloc(1, sizeof *program);
  if (!program) return base_out_of_memory(err, "a program");
  atomic_init(&program->holds, 1);
  program->number = atomic_fetch_add_explicit(&programs, 1, memory_order_relaxed) + 1;
  pthread_mutex_init(&program->lock, NULL);
  chip_kept_open(&program->kept);
  program->rebuild = options->rebuild;
  program->explicit_edges = options->explicit_edges;
  program->records = chip_records_open();
  baton_status status = program->records ? fill(program, options, err) : base_out_of_memory(err, "a program");
  if (status == BATON_OK)
    *out = program;
  else
    baton_program_close(program);
  return status;
}

uint64_t chip_program_number(const baton_program *program) { return program->number; }

baton_program *chip_program_hold(baton_program *program) {
  atomic_fetch_add_explicit(&program->holds, 1, memory_order_relaxed);
  return program;
}

void baton_program_close(baton_program *program) {
  if (!program || atomic_fetch_sub_explicit(&program->holds, 1, memory_order_acq_rel) != 1) return;
  for (uint32_t i = 0; i < program->nkernels; i++) {
    chip_library_close(program->kernels[i].library);
    chip_signature_free(program->kernels[i].signature);
  }
  if (program->host) chip_library_close(program->host->library);
  chip_library_close(program->library);
  chip_signature_free(program->signature);
  chip_kept_close(&program->kept);
  chip_records_close(program->records);
  pthread_mutex_destroy(&program->lock);
  chip_arena_free(&program->arena);
  base_free(program);
}

/* ---- compiling ---- */

static baton_status compile_kernel(program_kernel *kernel, baton_error *err) {
  union {
    void *address;
    baton_kernel_function function;
  } found;
  if (kernel->shown.function) return BATON_OK;
  BATON_TRY(chip_unit_load(&kernel->unit, &kernel->library, &found.address, err));
  kernel->shown.function = found.function;
  return BATON_OK;
}

static baton_status compile_orchestration(baton_program *program, baton_error *err) {
  union {
    void *address;
    baton_orchestrate function;
  } found;
  if (program->host) return compile_kernel(program->host, err);
  if (program->orchestrate) return BATON_OK;
  BATON_TRY(chip_unit_load(&program->orchestration, &program->library, &found.address, err));
  program->orchestrate = found.function;
  return BATON_OK;
}

static baton_status compile_all(baton_program *program, baton_error *err) {
  for (uint32_t i = 0; i < program->nkernels; i++) BATON_TRY(compile_kernel(&program->kernels[i], err));
  BATON_TRY(compile_orchestration(program, err));
  atomic_store_explicit(&program->compiled, 1, memory_order_release);
  return BATON_OK;
}

baton_status baton_program_compile(baton_program *program, baton_error *err) {
  if (atomic_load_explicit(&program->compiled, memory_order_acquire)) return BATON_OK;
  pthread_mutex_lock(&program->lock);
  baton_status status = compile_all(program, err);
  pthread_mutex_unlock(&program->lock);
  return status;
}

/* ---- what others see ---- */

const char *baton_program_name(const baton_program *program) { return program->name; }
const chip_signature *chip_program_signature(const baton_program *program) { return program->signature; }
baton_orchestrate chip_program_orchestrate(const baton_program *program) { return program->orchestrate; }
int chip_program_is_graph(const baton_program *program) { return program->graph; }
int chip_program_is_host(const baton_program *program) { return program->host != NULL; }
const chip_kernel *chip_program_host(const baton_program *program) { return &program->host->shown; }
int chip_program_is_explicit(const baton_program *program) { return program->explicit_edges; }
struct chip_kept *chip_program_kept(baton_program *program) {
  return &program->kept;
}
_Atomic uint64_t *chip_program_brief(baton_program *program) { return &program->brief; }
int chip_program_keeps(const baton_program *program) { return !program->rebuild; }
struct chip_records *chip_program_records(const baton_program *program) {
  return program->records;
}

void baton_program_forget(baton_program *program) {
  chip_kept_forget(&program->kept);
  chip_records_forget(program->records);
}

uint32_t chip_program_kernel_count(const baton_program *program) { return program->nkernels; }

int chip_program_is_local(const baton_program *program) {
  const chip_unit *unit = &program->orchestration;
  uint64_t size;
  int local = !unit->source && !unit->code && !unit->object && !chip_program_script(program, &size);
  if (program->host) return program->host->shown.local;
  for (uint32_t i = 0; i < program->nkernels; i++) local |= program->kernels[i].shown.local;
  return local;
}

int chip_program_object(const baton_program *program, uint32_t index, const char **path, const char **entry) {
  const program_kernel *kernel = index == CHIP_PROGRAM_BODY ? program->host : &program->kernels[index];
  const chip_library *library = kernel ? kernel->library : program->library;
  if (!library) return 0;
  *path = chip_library_path(library);
  *entry = kernel ? kernel->unit.entry : program->orchestration.entry;
  return 1;
}

static baton_status keep_script(baton_program *program, const void *bytes, uint64_t size, baton_error *err) {
  if (atomic_load_explicit(&program->script, memory_order_relaxed)) return BATON_OK;
  void *copy = chip_arena_alloc(&program->arena, size);
  if (!copy) return base_out_of_memory(err, "the graph of a program as bytes");
  memcpy(copy, bytes, size);
  program->script_size = size;
  atomic_store_explicit(&program->script, copy, memory_order_release); /* with its size and bytes */
  return BATON_OK;
}

baton_status chip_program_set_script(baton_program *program, const void *bytes, uint64_t size,
                                     baton_error *err) {
  pthread_mutex_lock(&program->lock);
  baton_status status = keep_script(program, bytes, size, err);
  pthread_mutex_unlock(&program->lock);
  return status;
}

const void *chip_program_script(const baton_program *program, uint64_t *size) {
  const void *script = atomic_load_explicit(&program->script, memory_order_acquire);
  *size = script ? program->script_size : 0;
  return script;
}

const chip_kernel *chip_program_kernel(const baton_program *program, uint32_t index) {
  return &program->kernels[index].shown;
}

int chip_program_find_kernel(const baton_program *program, const char *name) {
  uint32_t low = 0, high = program->nkernels;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    int order = strcmp(name, program->kernels[program->by_name[middle]].shown.name);
    if (order == 0) return (int)program->by_name[middle];
    if (order < 0)
      high = middle;
    else
      low = middle + 1;
  }
  return -1;
}

baton_status chip_kernel_check(const chip_kernel *kernel, chip_value *values, uint32_t count,
                               baton_error *err) {
  baton_status status =
      kernel->signature ? chip_signature_check(kernel->signature, kernel->who, values, count, err) : BATON_OK;
  if (status != BATON_OK) {
    baton_error_text(err, BATON_FIELD_KERNEL, "%s", kernel->name);
    return status;
  }
  if (kernel->strided) return BATON_OK;
  for (uint32_t i = 0; i < count; i++) {
    if (!values[i].view || baton_view_contiguous(values[i].view)) continue;
    baton_error_set(err, BATON_SIGNATURE,
                    "%s: argument %u%s%s%s: a contiguous tensor expected, got a strided view", kernel->who,
                    i + 1, kernel->signature ? " (" : "",
                    kernel->signature ? kernel->signature->items[i].name : "", kernel->signature ? ")" : "");
    baton_error_text(err, BATON_FIELD_KERNEL, "%s", kernel->name);
    baton_error_text(err, BATON_FIELD_HINT, "copy the view, or declare the kernel with strided = true");
    return BATON_SIGNATURE;
  }
  return BATON_OK;
}
