#include "chip/program/compile.h"
#include "base/atomic.h"
#include "base/cause.h"
#include "base/memory.h"
#include "chip/program/cache.h"
#include "chip/program/depend.h"
#include "chip/program/file.h"
#include "chip/program/object.h"
#include "chip/program/toolchain.h"
#include <baton/kernel.h>
#include <errno.h>
#include <string.h>
#include <sys/wait.h>

static _Atomic uint64_t compilations;

uint64_t chip_compilations(void) { return atomic_load_explicit(&compilations, memory_order_relaxed); }

/* One compilation: everything that is known before the compiler runs. */
typedef struct compile_job {
  const chip_unit *unit;
  chip_text path;      /* of the source, absolute; empty for inline code */
  chip_list command;   /* the words of the compiler, then all flags before the source */
  chip_list libraries; /* what follows it */
  chip_text identity;  /* beside the command line: compiler, variables, CPU */
  base_digest source;  /* of the source file; zero for inline code */
  base_digest key;
  chip_build build;
} compile_job;

static void job_free(compile_job *job) {
  chip_text_free(&job->path);
  chip_list_free(&job->command);
  chip_list_free(&job->libraries);
  chip_text_free(&job->identity);
  chip_build_free(&job->build);
}

/* ---- errors: which kernel, which file ---- */

static const char *origin(const chip_unit *unit) {
  if (unit->source) return unit->source;
  return unit->object ? unit->object : unit->code_file ? unit->code_file : "inline code";
}

/* Adds what the error's fields should know. Returns its code. */
static baton_status locate(const chip_unit *unit, const char *path, baton_status code, baton_error *err) {
  if (unit->kernel) baton_error_text(err, BATON_FIELD_KERNEL, "%s", unit->kernel);
  if (path) baton_error_text(err, BATON_FIELD_PATH, "%s", path);
  return code;
}

static baton_status context(const chip_unit *unit, baton_status code, baton_error *err) {
  baton_error_context(err, "%s", unit->who);
  return locate(unit, NULL, code, err);
}

static baton_status cannot_read(const chip_unit *unit, const char *path, int cause, baton_error *err) {
  if (cause == ENOMEM) return base_out_of_memory(err, "a kernel's source");
  baton_status status = base_cause_status(cause, BATON_BAD_FILE);
  baton_error_set(err, status, "%s: cannot read %s: %s", unit->who, origin(unit), strerror(cause));
  return locate(unit, path, status, err);
}

static baton_status cannot_load(const chip_unit *unit, const chip_text *why, baton_status code,
                                baton_error *err) {
  if (why->failed) return base_out_of_memory(err, "a compiled kernel");
  baton_error_set(err, code, "%s: %s cannot be loaded: %s", unit->who, origin(unit), why->data);
  return locate(unit, NULL, code, err);
}

static baton_status does_not_compile(const compile_job *job, const char *output, int status,
                                     baton_error *err) {
  const chip_unit *unit = job->unit;
  const char *path = job->path.data ? job->path.data : unit->code_file;
  if (output && output[0])
    baton_error_set(err, BATON_COMPILE_FAILED, "%s: %s does not compile\n%s", unit->who, origin(unit),
                    output);
  else if (WIFSIGNALED(status))
    baton_error_set(err, BATON_COMPILE_FAILED, "%s: %s does not compile: signal %d ended %s", unit->who,
                    origin(unit), WTERMSIG(status), job->command.items[0]);
  else
    baton_error_set(err, BATON_COMPILE_FAILED, "%s: %s does not compile: %s ended with status %d", unit->who,
                    origin(unit), job->command.items[0], WEXITSTATUS(status));
  return locate(unit, path, BATON_COMPILE_FAILED, err);
}

/* ---- the command line ---- */

static void add_directories(compile_job *job, const char *const *directories) {
  for (; directories && *directories; directories++) {
    chip_text path = {0};
    chip_file_join(&path, job->unit->directory, *directories);
    if (path.data) chip_list_add(&job->command, "-I%s", path.data);
    job->command.failed |= path.failed;
    chip_text_free(&path);
  }
}

/* A name such as "m" is a library of the system; with a slash or a dot in it, a file. */
static void add_libraries(compile_job *job, const char *const *names) {
  for (; names && *names; names++) {
    chip_text path = {0};
    if (strpbrk(*names, "/.")) {
      chip_file_join(&path, job->unit->directory, *names);
      if (path.data) chip_list_add(&job->libraries, "%s", path.data);
      if (path.data) chip_list_add(&job->build.dependencies, "%s", path.data);
    } else {
      chip_list_add(&job->libraries, "-l%s", *names);
    }
    job->libraries.failed |= path.failed;
    chip_text_free(&path);
  }
}

static baton_status add_flags(compile_job *job, chip_language language, baton_error *err) {
  static const char *const fixed[] = {"-O3", "-march=native", "-ffp-contract=fast", "-fPIC", "-shared"};
  const chip_unit *unit = job->unit;
  for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) chip_list_add(&job->command, "%s", fixed[i]);
  chip_list_add(&job->command, "%s", language == CHIP_CXX ? "-std=c++17" : "-std=c11");
  if (unit->code) { /* its text lies elsewhere, its neighbours do not */
    chip_list_add(&job->command, "-iquote");
    chip_list_add(&job->command, "%s", unit->directory);
  }
  for (int level = 1; level >= 0; level--) add_directories(job, unit->include[level]);
  chip_text headers = {0};
  baton_status status = chip_toolchain_include(&headers, err);
  if (status == BATON_OK) chip_list_add(&job->command, "-I%s", headers.data ? headers.data : "");
  chip_text_free(&headers);
  for (int level = 0; level < 2; level++) {
    for (const char *const *flag = unit->cflags[level]; flag && *flag; flag++)
      chip_list_add(&job->command, "%s", *flag);
    add_libraries(job, unit->libs[level]);
  }
  chip_list_add(&job->libraries, "-lm");
  return status;
}

/* ---- the key ---- */

static void add_list(base_hasher *hasher, const chip_list *list) {
  for (size_t i = 0; i < list->count; i++) base_hasher_add_text(hasher, list->items[i]);
  base_hasher_add_text(hasher, NULL);
}

/* Where inline code stands changes with every edit above it, and matters only to code that says where it
** is. */
static int tells_its_place(const char *code) {
  return strstr(code, "__LINE__") || strstr(code, "__FILE__") || strstr(code, "assert");
}

static baton_status make_key(compile_job *job, baton_error *err) {
  const chip_unit *unit = job->unit;
  uint32_t abi = BATON_KERNEL_ABI;
  if (unit->source) {
    int cause = chip_file_hash(job->path.data, &job->source);
    if (cause != 0) return cannot_read(unit, job->path.data, cause, err);
  }
  base_hasher *hasher = base_hasher_open();
  base_hasher_add_text(hasher, "baton kernel");
  base_hasher_add(hasher, &abi, sizeof abi);
  base_hasher_add_text(hasher, job->identity.data);
  base_hasher_add_text(hasher, unit->directory); /* relative flags start here */
  add_list(hasher, &job->command);
  add_list(hasher, &job->libraries);
  base_hasher_add_text(hasher, job->path.data); /* headers are searched beside it */
  base_hasher_add(hasher, &job->source, sizeof job->source);
  base_hasher_add_text(hasher, unit->code);
  if (unit->code && tells_its_place(unit->code)) {
    base_hasher_add_text(hasher, unit->code_file);
    base_hasher_add(hasher, &unit->code_line, sizeof unit->code_line);
  }
  return base_hasher_end(hasher, &job->key) ? BATON_OK : base_out_of_memory(err, "the key of a compilation");
}

static baton_status prepare(compile_job *job, baton_error *err) {
  const chip_unit *unit = job->unit;
  chip_language language = unit->source ? chip_language_of(unit->source) : CHIP_C;
  clock_gettime(CLOCK_REALTIME, &job->build.begun);
  if (unit->source) chip_file_join(&job->path, unit->directory, unit->source);
  baton_status status = chip_toolchain_find(language, &job->command, err);
  if (status != BATON_OK) return context(unit, status, err);
  chip_toolchain_identify(&job->command, &job->identity);
  status = add_flags(job, language, err);
  if (status != BATON_OK) return context(unit, status, err);
  if (job->path.failed || job->command.failed || job->libraries.failed || job->identity.failed)
    return base_out_of_memory(err, "a compiler's command line");
  return make_key(job, err);
}

/* ---- compiling ---- */

/* The text of inline code, with its place in front for the compiler's messages. */
static int write_code(const chip_unit *unit, const char *path) {
  chip_text text = {0};
  if (unit->code_file) {
    chip_text_add(&text, "#line %u \"", unit->code_line > 0 ? unit->code_line : 1);
    for (const char *at = unit->code_file; *at; at++)
      chip_text_add(&text, strchr("\\\"", *at) ? "\\%c" : "%c", *at);
    chip_text_add(&text, "\"\n");
  }
  chip_text_add(&text, "%s\n", unit->code);
  int cause = text.failed ? ENOMEM : chip_file_write(path, text.data, text.length);
  chip_text_free(&text);
  return cause;
}

static void add_files(chip_list *command, const compile_job *job, const char *scratch) {
  for (size_t i = 0; i < job->command.count; i++) chip_list_add(command, "%s", job->command.items[i]);
  chip_list_add(command, "-MD");
  chip_list_add(command, "-MF");
  chip_list_add(command, "%s/depend", scratch);
  chip_list_add(command, "-o");
  chip_list_add(command, "%s/object.so", scratch);
  chip_list_add(command, "-x");
  chip_list_add(command, job->unit->source && chip_language_of(job->unit->source) == CHIP_CXX ? "c++" : "c");
  if (job->unit->source)
    chip_list_add(command, "%s", job->path.data);
  else
    chip_list_add(command, "%s/code.c", scratch);
  chip_list_add(command, "-x");
  chip_list_add(command, "none");
  for (size_t i = 0; i < job->libraries.count; i++) chip_list_add(command, "%s", job->libraries.items[i]);
}

/* Calls the compiler. The object and the list of files stay in `scratch`. */
static baton_status call_compiler(compile_job *job, const char *scratch, baton_error *err) {
  chip_list command = {0};
  chip_text output = {0};
  int status = 0, cause;
  baton_status result = BATON_OK;
  add_files(&command, job, scratch);
  atomic_fetch_add_explicit(&compilations, 1, memory_order_relaxed);
  cause = command.failed ? ENOMEM : chip_toolchain_run(&command, job->unit->directory, &output, &status);
  if (cause != 0) {
    result = baton_error_set(err, base_cause_status(cause, BATON_COMPILE_FAILED),
                             "%s: the compiler '%s' cannot be started in %s: %s", job->unit->who,
                             job->command.items[0], job->unit->directory, strerror(cause));
    locate(job->unit, NULL, result, err);
  } else if (status != 0) {
    while (output.length > 0 && output.data[output.length - 1] == '\n') output.data[--output.length] = 0;
    result = does_not_compile(job, output.data, status, err);
  }
  chip_list_free(&command);
  chip_text_free(&output);
  return result;
}

/* The compiler may have read another source than the one in the key; time zero makes every file too new to
** be vouched for. */
static void compare_source(compile_job *job) {
  base_digest now;
  if (!job->unit->source) return;
  if (chip_file_hash(job->path.data, &now) != 0 || memcmp(&now, &job->source, sizeof now) != 0)
    job->build.begun = (struct timespec){0};
}

static baton_status cannot_store(const compile_job *job, const char *doing, int cause, baton_error *err) {
  baton_status status = base_cause_status(cause, BATON_IO_ERROR);
  baton_error_set(err, status, "%s: %s: %s", job->unit->who, doing, strerror(cause));
  return locate(job->unit, NULL, status, err);
}

/* Takes the object and the list of files out of `scratch`. */
static baton_status collect(compile_job *job, const char *scratch, baton_error *err) {
  chip_text path = {0}, rule = {0};
  chip_text_add(&path, "%s/object.so", scratch);
  int cause = path.failed ? ENOMEM : chip_file_read(path.data, &job->build.object);
  path.length = 0;
  chip_text_add(&path, "%s/depend", scratch);
  if (cause == 0) cause = path.failed ? ENOMEM : chip_file_read(path.data, &rule);
  if (cause == 0 && rule.data)
    chip_depend_parse(rule.data, job->unit->directory, scratch, &job->build.dependencies);
  if (job->build.dependencies.failed) cause = ENOMEM;
  chip_text_free(&path);
  chip_text_free(&rule);
  compare_source(job);
  return cause == 0 ? BATON_OK : cannot_store(job, "the compiler left no object", cause, err);
}

static baton_status compile_in(compile_job *job, const char *scratch, baton_error *err) {
  if (job->unit->code) {
    chip_text path = {0};
    chip_text_add(&path, "%s/code.c", scratch);
    int cause = path.failed ? ENOMEM : write_code(job->unit, path.data);
    chip_text_free(&path);
    if (cause != 0) return cannot_store(job, "cannot write the code for the compiler", cause, err);
  }
  BATON_TRY(call_compiler(job, scratch, err));
  return collect(job, scratch, err);
}

/* Compiles and keeps the object: its digest and where it lies. */
static baton_status compile(compile_job *job, base_digest *digest, chip_text *path, baton_error *err) {
  chip_text scratch = {0};
  int cause = chip_file_temporary_directory(&scratch);
  if (cause != 0) {
    chip_text_free(&scratch);
    return cannot_store(job, "no folder to compile in, in TMPDIR or /tmp", cause, err);
  }
  baton_status status = compile_in(job, scratch.data, err);
  chip_file_remove_directory(scratch.data);
  chip_text_free(&scratch);
  if (status != BATON_OK) return status;
  status = chip_cache_store(&job->key, &job->build, digest, path, err);
  return status == BATON_OK ? BATON_OK : context(job->unit, status, err);
}

/* ---- loading ---- */

static baton_status load_source(const chip_unit *unit, chip_library **library, baton_error *err) {
  compile_job job = {.unit = unit};
  base_digest digest;
  chip_text path = {0}, why = {0};
  baton_status status = prepare(&job, err);
  if (status == BATON_OK && chip_cache_find(&job.key, &digest, &path))
    *library = chip_library_open(path.data, &digest, &why);
  if (status == BATON_OK && !*library) { /* absent, or what was kept cannot be loaded */
    chip_text_free(&path);
    chip_text_free(&why);
    status = compile(&job, &digest, &path, err);
    if (status == BATON_OK) *library = chip_library_open(path.data, &digest, &why);
    if (status == BATON_OK && !*library) status = cannot_load(unit, &why, BATON_COMPILE_FAILED, err);
  }
  chip_text_free(&path);
  chip_text_free(&why);
  job_free(&job);
  return status;
}

/* An object that was rebuilt under the same name while the old one is loaded is loaded from a copy: by its
** own name the system would hand out the old one. */
static baton_status copy_object(const chip_unit *unit, chip_text *path, base_digest *digest,
                                baton_error *err) {
  chip_text bytes = {0}, copy = {0};
  int cause = chip_file_read(path->data, &bytes);
  baton_status status = cause != 0 ? cannot_read(unit, path->data, cause, err)
                                   : chip_cache_store_object(&bytes, digest, &copy, err);
  chip_text_free(&bytes);
  if (status != BATON_OK) return status;
  chip_text_free(path);
  *path = copy;
  return BATON_OK;
}

static baton_status load_object(const chip_unit *unit, chip_library **library, baton_error *err) {
  base_digest digest;
  chip_text path = {0}, why = {0};
  baton_status status = BATON_OK;
  chip_file_join(&path, unit->directory, unit->object);
  int cause = path.failed ? ENOMEM : chip_file_hash(path.data, &digest);
  if (cause != 0)
    status = cannot_read(unit, path.data, cause, err);
  else if (chip_library_shadows(path.data, &digest))
    status = copy_object(unit, &path, &digest, err);
  if (status == BATON_OK && (cause = chip_object_check(path.data, &why)) != 0)
    status = cannot_read(unit, path.data, cause, err);
  if (status == BATON_OK) {
    if (!why.length && !why.failed) *library = chip_library_open(path.data, &digest, &why);
    if (!*library) status = cannot_load(unit, &why, BATON_BAD_FILE, err);
  }
  chip_text_free(&path);
  chip_text_free(&why);
  return status;
}

baton_status chip_unit_load(const chip_unit *unit, chip_library **library, void **function,
                            baton_error *err) {
  *library = NULL;
  *function = NULL;
  BATON_TRY(unit->object ? load_object(unit, library, err) : load_source(unit, library, err));
  *function = chip_library_symbol(*library, unit->entry);
  if (*function) return BATON_OK;
  chip_library_close(*library);
  *library = NULL;
  baton_error_set(err, BATON_COMPILE_FAILED, "%s: %s has no function '%s'", unit->who, origin(unit),
                  unit->entry);
  baton_error_text(err, BATON_FIELD_HINT, "define it with %s(%s), or name another one with 'entry'",
                   unit->kernel ? "BATON_KERNEL" : "BATON_ORCHESTRATION", unit->entry);
  return locate(unit, NULL, BATON_COMPILE_FAILED, err);
}
