/* The compiler and its cache. Each test has a folder of its own with sources and a cache in it. */
#include "base/hash.h"
#include "base/log.h"
#include "chip/program/compile.h"
#include "chip/program/depend.h"
#include "chip/program/file.h"
#include "chip/program/program.h"
#include <baton/memory.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* The linker sends every write of the layers here, so that a disk can be full. */
static const char *full_disk; /* descriptors below this folder refuse bytes */
ssize_t __real_write(int fd, const void *data, size_t size);
ssize_t __wrap_write(int fd, const void *data, size_t size);

ssize_t __wrap_write(int fd, const void *data, size_t size) {
  char link[64], path[4096] = "";
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  if (full_disk && readlink(link, path, sizeof path - 1) > 0 &&
      strncmp(path, full_disk, strlen(full_disk)) == 0) {
    errno = ENOSPC;
    return -1;
  }
  return __real_write(fd, data, size);
}

static char folder[64]; /* of this test */
static char cache_folder[96];
static const char *const add_text =
    "#include <baton/kernel.h>\n"
    "BATON_KERNEL(add) {\n"
    "  const float *a = baton_in(args, 0, float), *b = baton_in(args, 1, float);\n"
    "  float *c = baton_out(args, 2, float);\n"
    "  for (int64_t i = 0; i < baton_numel(args, 2); i++) c[i] = a[i] + b[i];\n"
    "}\n";

static const char *in_folder(const char *name) {
  static char path[2][160];
  static int turn;
  turn = !turn;
  snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
  return path[turn];
}

static void put(const char *name, const char *text) {
  assert_int_equal(chip_file_write(in_folder(name), text, strlen(text)), 0);
}

static int setup(void **state) {
  (void)state;
  snprintf(folder, sizeof folder, "/tmp/baton-spec.XXXXXX");
  assert_non_null(mkdtemp(folder));
  snprintf(cache_folder, sizeof cache_folder, "%s/cache/baton", folder);
  setenv("XDG_CACHE_HOME", in_folder("cache"), 1);
  setenv("TMPDIR", folder, 1);
  unsetenv("CC");
  unsetenv("CXX");
  return 0;
}

static int teardown(void **state) {
  (void)state;
  full_disk = NULL;
  baton_set_allocator(NULL, NULL);
  chip_file_remove_directory(cache_folder);
  chip_file_remove_directory(in_folder("cache"));
  rmdir(in_folder("cache"));
  chip_file_remove_directory(folder);
  return 0;
}

static void submit_nothing(baton_orch *o, const baton_args *args) {
  (void)o;
  (void)args;
}

/* A program "p" with one kernel. */
static baton_program *create(const baton_kernel_options *kernel) {
  baton_program *program = NULL;
  baton_error err = {0};
  baton_kernel_options options = *kernel;
  options.core = BATON_AIV;
  if (!options.name) options.name = "add";
  const baton_program_options of_program = {
      .name = "p", .directory = folder, .kernels = &options, .nkernels = 1, .orchestrate = submit_nothing};
  if (baton_program_create(&of_program, &program, &err) != BATON_OK) fail_msg("%s", err.message);
  return program;
}

/* The kernel's result for 1 + 2, as a function of the arguments a, b and c. */
static float call(const baton_program *program) {
  float a = 1, b = 2, c = 0;
  const baton_view view = {.dtype = BATON_F32, .ndim = 1, .shape = {1}, .strides = {1}};
  const baton_argument items[] = {
      {.value.data = &a, .view = &view, .dtype = BATON_F32, .contiguous = 1},
      {.value.data = &b, .view = &view, .dtype = BATON_F32, .contiguous = 1},
      {.value.data = &c, .view = &view, .dtype = BATON_F32, .contiguous = 1, .written = 1}};
  chip_program_kernel(program, 0)->function(&(baton_args){.items = items, .count = 3});
  return c;
}

/* Compiles, runs and closes a program of this kernel. How often that called a compiler, or -1 if it went
** wrong: a child process must not leave by an assertion, it would go on with the other tests. */
static int try_compile(const baton_kernel_options *kernel, float expected) {
  baton_error err = {0};
  uint64_t before = chip_compilations();
  baton_program *program = create(kernel);
  int good = baton_program_compile(program, &err) == BATON_OK && call(program) == expected;
  if (err.message) print_error("%s\n", err.message);
  baton_program_close(program);
  baton_error_clear(&err);
  return good ? (int)(chip_compilations() - before) : -1;
}

static int compile(const baton_kernel_options *kernel, float expected) {
  int calls = try_compile(kernel, expected);
  assert_true(calls >= 0);
  return calls;
}

/* Asserts that the kernel does not compile; the message, to be freed, lies in *err. */
static void refuse(const baton_kernel_options *kernel, baton_status code, baton_error *err) {
  baton_program *program = create(kernel);
  assert_int_equal(baton_program_compile(program, err), code);
  assert_string_equal(err->kernel, kernel->name ? kernel->name : "add");
  baton_program_close(program);
}

static void assert_contains(const char *text, const char *part) {
  if (!strstr(text, part)) fail_msg("'%s' is not in: %s", part, text);
}

/* The only file in the cache that ends so; "" if there is none. */
static const char *cached(const char *ending) {
  static char path[512];
  path[0] = 0;
  DIR *directory = opendir(cache_folder);
  struct dirent *entry;
  while (directory && (entry = readdir(directory))) {
    const char *at = strstr(entry->d_name, ending);
    if (!at || at[strlen(ending)]) continue;
    assert_string_equal(path, "");
    snprintf(path, sizeof path, "%s/%s", cache_folder, entry->d_name);
  }
  if (directory) closedir(directory);
  return path;
}

/* ---- what works ---- */

static void the_second_start_needs_no_compiler(void **state) {
  (void)state;
  put("add.c", add_text);
  const baton_kernel_options kernel = {.source = "add.c"};
  assert_int_equal(compile(&kernel, 3), 1);
  assert_int_equal(compile(&kernel, 3), 0);
  const baton_kernel_options entry = {.name = "other", .source = "add.c", .entry = "add"};
  assert_int_equal(compile(&entry, 3), 0);
  assert_string_not_equal(cached(".so"), "");
}

static void inline_code_and_cpp_sources_compile(void **state) {
  (void)state;
  put("add.cpp",
      "#include <baton/kernel.h>\n"
      "template <class T> static T sum(T a, T b) { return a + b; }\n"
      "BATON_KERNEL(add) {\n"
      "  *baton_out(args, 2, float) = sum(*baton_in(args, 0, float), *baton_in(args, 1, float)) + 10;\n"
      "}\n");
  assert_int_equal(compile(&(baton_kernel_options){.source = "add.cpp"}, 13), 1);
  assert_int_equal(compile(&(baton_kernel_options){.code = add_text}, 3), 1);
  assert_int_equal(compile(&(baton_kernel_options){.code = add_text}, 3), 0);
  const char *seven = "#include <baton/kernel.h>\nBATON_KERNEL(add) { *baton_out(args, 2, float) = 7; }\n";
  assert_int_equal(compile(&(baton_kernel_options){.code = seven}, 7), 1);
}

static void where_inline_code_stands_matters_only_if_it_says_so(void **state) {
  (void)state;
  const char *line =
      "#include <baton/kernel.h>\nBATON_KERNEL(add) { *baton_out(args, 2, float) = __LINE__; }\n";
  assert_int_equal(compile(&(baton_kernel_options){.code = line, .code_file = "a.lua", .code_line = 10}, 11),
                   1);
  assert_int_equal(compile(&(baton_kernel_options){.code = line, .code_file = "a.lua", .code_line = 20}, 21),
                   1);
  assert_int_equal(
      compile(&(baton_kernel_options){.code = add_text, .code_file = "a.lua", .code_line = 10}, 3), 1);
  assert_int_equal(
      compile(&(baton_kernel_options){.code = add_text, .code_file = "a.lua", .code_line = 20}, 3), 0);
}

static const char *const scaled = "#include <baton/kernel.h>\n"
                                  "#include \"more.h\"\n"
                                  "BATON_KERNEL(add) { *baton_out(args, 2, float) = MORE; }\n";

static void a_change_of_source_header_or_flag_compiles_again(void **state) {
  (void)state;
  put("add.c", scaled);
  put("more.h", "#define MORE 5\n");
  const baton_kernel_options kernel = {.source = "add.c"};
  assert_int_equal(compile(&kernel, 5), 1);
  put("more.h", "#define MORE 6\n");
  assert_int_equal(compile(&kernel, 6), 1);
  assert_int_equal(compile(&kernel, 6), 0);
  put("add.c", "#include \"more.h\"\n#include <baton/kernel.h>\n"
               "BATON_KERNEL(add) { *baton_out(args, 2, float) = MORE + 1; }\n");
  assert_int_equal(compile(&kernel, 7), 1);
  const baton_kernel_options flagged = {.source = "add.c",
                                        .cflags = (const char *const[]){"-DOTHER=1", NULL}};
  assert_int_equal(compile(&flagged, 7), 1);
  setenv("CC", "gcc -g0", 1);
  assert_int_equal(compile(&kernel, 7), 1);
}

static void another_compiler_under_the_same_name_compiles_again(void **state) {
  (void)state;
  const baton_kernel_options kernel = {.code = add_text};
  put("cc", "#!/bin/sh\nexec gcc \"$@\"\n");
  assert_int_equal(chmod(in_folder("cc"), 0700), 0);
  setenv("CC", in_folder("cc"), 1);
  assert_int_equal(compile(&kernel, 3), 1);
  assert_int_equal(compile(&kernel, 3), 0);
  put("cc", "#!/bin/sh\n\nexec gcc \"$@\"\n");
  assert_int_equal(chmod(in_folder("cc"), 0700), 0);
  assert_int_equal(compile(&kernel, 3), 1);
}

/* What the compiler read is not what the key was made of: nothing may be kept under that key. */
static void a_source_that_changes_meanwhile_is_not_kept(void **state) {
  (void)state;
  const char *five = "#include <baton/kernel.h>\nBATON_KERNEL(add) { *baton_out(args, 2, float) = 5; }\n";
  const baton_kernel_options kernel = {.source = "add.c"};
  put("cc", "#!/bin/sh\nsed -i 's/= 5/= 6/' add.c\nexec gcc \"$@\"\n");
  assert_int_equal(chmod(in_folder("cc"), 0700), 0);
  setenv("CC", in_folder("cc"), 1);
  for (int i = 0; i < 2; i++) {
    put("add.c", five);
    assert_int_equal(compile(&kernel, 6), 1);
  }
}

static void orchestrations_compile_too(void **state) {
  (void)state;
  baton_error err = {0};
  baton_program *program;
  const baton_program_options options = {
      .name = "chain",
      .orchestration_code = "#include <baton/orchestration.h>\nBATON_ORCHESTRATION(chain) {}\n"};
  assert_int_equal(baton_program_create(&options, &program, &err), BATON_OK);
  assert_int_equal(baton_program_compile(program, &err), BATON_OK);
  assert_false(chip_program_is_local(program) || chip_program_is_graph(program));
  chip_program_orchestrate(program)(NULL, NULL);
  baton_program_close(program);
  const baton_program_options renamed = {
      .name = "chain", .orchestration_code = options.orchestration_code, .orchestration_entry = "link"};
  assert_int_equal(baton_program_create(&renamed, &program, &err), BATON_OK);
  assert_int_equal(baton_program_compile(program, &err), BATON_COMPILE_FAILED);
  assert_string_equal(err.message, "chain: inline code has no function 'link'");
  assert_string_equal(err.hint, "define it with BATON_ORCHESTRATION(link), or name another one with 'entry'");
  baton_program_close(program);
  baton_error_clear(&err);
}

static void options_reach_the_compiler(void **state) {
  (void)state;
  assert_int_equal(mkdir(in_folder("inner"), 0700), 0);
  put("inner/more.h", "#define MORE (5 + OTHER + (float)erf(0))\n#include <math.h>\n");
  put("a dir $x.c", scaled);
  const baton_kernel_options kernel = {.source = "a dir $x.c",
                                       .cflags = (const char *const[]){"-DOTHER=1", NULL},
                                       .include = (const char *const[]){"inner", NULL},
                                       .libs = (const char *const[]){"m", NULL}};
  assert_int_equal(compile(&kernel, 6), 1);
  assert_int_equal(compile(&kernel, 6), 0);
  put("inner/more.h", "#define MORE 9\n");
  assert_int_equal(compile(&kernel, 9), 1);
  chip_file_remove_directory(in_folder("inner"));
}

/* ---- objects ---- */

static void build_object(const char *name, const char *body) {
  char text[256];
  snprintf(text, sizeof text, "#include <baton/kernel.h>\nBATON_KERNEL(add) { %s; }\n", body);
  baton_program *program = create(&(baton_kernel_options){.code = text});
  assert_int_equal(baton_program_compile(program, NULL), BATON_OK);
  baton_program_close(program);
  chip_text object = {0};
  assert_int_equal(chip_file_read(cached(".so"), &object), 0);
  assert_int_equal(chip_file_write(in_folder(name), object.data, object.length), 0);
  chip_text_free(&object);
  chip_file_remove_directory(cache_folder);
}

static void a_rebuilt_object_is_loaded_beside_the_old_one(void **state) {
  (void)state;
  const baton_kernel_options kernel = {.object = "k.so"};
  build_object("k.so", "*baton_out(args, 2, float) = 1");
  baton_program *old = create(&kernel), *new;
  assert_int_equal(baton_program_compile(old, NULL), BATON_OK);
  build_object("k.so", "*baton_out(args, 2, float) = 2");
  new = create(&kernel);
  assert_int_equal(baton_program_compile(new, NULL), BATON_OK);
  assert_true(call(old) == 1 && call(new) == 2);
  baton_program_close(old);
  baton_program_close(new);
}

static void one_content_is_loaded_once(void **state) {
  (void)state;
  build_object("k.so", "*baton_out(args, 2, float) = 1");
  build_object("l.so", "*baton_out(args, 2, float) = 1");
  baton_program *first = create(&(baton_kernel_options){.object = "k.so"});
  baton_program *second = create(&(baton_kernel_options){.object = "l.so"});
  assert_int_equal(baton_program_compile(first, NULL), BATON_OK);
  assert_int_equal(baton_program_compile(second, NULL), BATON_OK);
  assert_ptr_equal(chip_program_kernel(first, 0)->function, chip_program_kernel(second, 0)->function);
  baton_program_close(first);
  assert_true(call(second) == 1);
  baton_program_close(second);
}

static void an_object_that_is_none_is_refused(void **state) {
  (void)state;
  baton_error err = {0};
  put("k.so", "no object at all\n");
  refuse(&(baton_kernel_options){.object = "k.so"}, BATON_BAD_FILE, &err);
  assert_contains(err.message, "p: kernel add: k.so cannot be loaded: ");
  refuse(&(baton_kernel_options){.object = "none.so"}, BATON_BAD_FILE, &err);
  assert_string_equal(err.message, "p: kernel add: cannot read none.so: No such file or directory");
  baton_error_clear(&err);
}

/* ---- what is refused ---- */

static void a_compiler_error_is_shown_as_it_is(void **state) {
  (void)state;
  baton_error err = {0};
  put("bad.c", "int f(void) { return 0 }\n");
  refuse(&(baton_kernel_options){.source = "bad.c"}, BATON_COMPILE_FAILED, &err);
  assert_contains(err.message, "p: kernel add: bad.c does not compile\n");
  assert_contains(err.message, in_folder("bad.c:1:23: error: expected ';' before '}' token\n"));
  assert_string_equal(err.path, in_folder("bad.c"));
  refuse(&(baton_kernel_options){.code = "int f(void) { return 0 }\n",
                                 .code_file = "sc\"ene.lua",
                                 .code_line = 41},
         BATON_COMPILE_FAILED, &err);
  assert_contains(err.message, "p: kernel add: sc\"ene.lua does not compile\n");
  assert_contains(err.message, "sc\"ene.lua:41:23: error: ");
  assert_string_equal(cached(".manifest"), "");
  baton_error_clear(&err);
}

static void what_is_missing_is_named(void **state) {
  (void)state;
  baton_error err = {0};
  put("add.c", add_text);
  refuse(&(baton_kernel_options){.source = "add.c", .entry = "sub"}, BATON_COMPILE_FAILED, &err);
  assert_string_equal(err.message, "p: kernel add: add.c has no function 'sub'");
  assert_string_equal(err.hint, "define it with BATON_KERNEL(sub), or name another one with 'entry'");
  refuse(&(baton_kernel_options){.source = "none.c"}, BATON_BAD_FILE, &err);
  assert_string_equal(err.message, "p: kernel add: cannot read none.c: No such file or directory");
  refuse(&(baton_kernel_options){.source = "."}, BATON_BAD_FILE, &err);
  assert_string_equal(err.message, "p: kernel add: cannot read .: Is a directory");
  setenv("CC", "no-such-compiler -m64", 1);
  refuse(&(baton_kernel_options){.source = "add.c"}, BATON_COMPILE_FAILED, &err);
  assert_string_equal(err.message,
                      "p: kernel add: the compiler 'no-such-compiler' (set in CC) does not exist");
  assert_string_equal(err.hint, "install gcc, or set CC to a compiler");
  setenv("CC", "/bin/false", 1);
  refuse(&(baton_kernel_options){.source = "add.c"}, BATON_COMPILE_FAILED, &err);
  assert_string_equal(err.message, "p: kernel add: add.c does not compile: /bin/false ended with status 1");
  setenv("CC", "/bin/true", 1);
  refuse(&(baton_kernel_options){.source = "add.c"}, BATON_IO_ERROR, &err);
  assert_string_equal(err.message, "p: kernel add: the compiler left no object: No such file or directory");
  baton_error_clear(&err);
}

static void an_undefined_function_is_a_compile_error_each_time(void **state) {
  (void)state;
  baton_error err = {0};
  const baton_kernel_options kernel = {.code = "#include <baton/kernel.h>\nvoid nowhere(void);\n"
                                               "BATON_KERNEL(add) { (void)args; nowhere(); }\n"};
  for (int i = 0; i < 2; i++) {
    refuse(&kernel, BATON_COMPILE_FAILED, &err);
    assert_contains(err.message, "p: kernel add: inline code cannot be loaded: ");
    assert_contains(err.message, "undefined symbol: nowhere");
  }
  baton_error_clear(&err);
}

static void a_program_compiles_after_its_source_was_mended(void **state) {
  (void)state;
  put("add.c", "nonsense\n");
  baton_program *program = create(&(baton_kernel_options){.source = "add.c"});
  assert_int_equal(baton_program_compile(program, NULL), BATON_COMPILE_FAILED);
  put("add.c", add_text);
  assert_int_equal(baton_program_compile(program, NULL), BATON_OK);
  assert_true(call(program) == 3);
  baton_program_close(program);
}

/* ---- a cache that cannot be trusted ---- */

static void overwrite(const char *path, const char *text, size_t size, int flags) {
  int fd = open(path, O_WRONLY | flags | O_CLOEXEC);
  assert_true(fd >= 0);
  assert_int_equal(__real_write(fd, text, size), size);
  close(fd);
}

static void a_corrupt_entry_is_rebuilt(void **state) {
  (void)state;
  put("add.c", add_text);
  const baton_kernel_options kernel = {.source = "add.c"};
  assert_int_equal(compile(&kernel, 3), 1);
  overwrite(cached(".so"), "not an object", 13, 0);
  assert_int_equal(compile(&kernel, 3), 1);
  overwrite(cached(".so"), "", 0, O_TRUNC);
  assert_int_equal(compile(&kernel, 3), 1);
  overwrite(cached(".so"), "x", 1, O_APPEND); /* the system would load it */
  assert_int_equal(compile(&kernel, 3), 1);
  assert_int_equal(unlink(cached(".so")), 0);
  assert_int_equal(compile(&kernel, 3), 1);
  overwrite(cached(".manifest"), "", 0, O_TRUNC);
  assert_int_equal(compile(&kernel, 3), 1);
  assert_int_equal(compile(&kernel, 3), 0);
}

/* A manifest that lost its end has forgotten headers: what it says may be old. */
static void a_cut_manifest_is_not_believed(void **state) {
  (void)state;
  put("add.c", scaled);
  put("more.h", "#define MORE 5\n");
  const baton_kernel_options kernel = {.source = "add.c"};
  assert_int_equal(compile(&kernel, 5), 1);
  struct stat status;
  assert_int_equal(stat(cached(".manifest"), &status), 0);
  for (off_t size = status.st_size - 1; size > 0; size -= 97) {
    assert_int_equal(truncate(cached(".manifest"), size), 0);
    assert_int_equal(compile(&kernel, 5), 1);
  }
}

static char note[4096]; /* what a test wrote to stderr */

/* Sends stderr to a file until read_note. */
static int hide_stderr(void) {
  int saved = dup(STDERR_FILENO), file = open(in_folder("stderr"), O_RDWR | O_CREAT | O_TRUNC, 0600);
  dup2(file, STDERR_FILENO);
  close(file);
  return saved;
}

static void read_note(int saved) {
  ssize_t length = pread(STDERR_FILENO, note, sizeof note - 1, 0);
  note[length > 0 ? length : 0] = 0;
  dup2(saved, STDERR_FILENO);
  close(saved);
}

/* In a process of its own: it keeps its private folder until it ends. */
static void in_child(void (*body)(void)) {
  fflush(NULL);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    body();
    exit(0);
  }
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  DIR *directory = opendir(folder); /* no private folder is left */
  struct dirent *entry;
  while ((entry = readdir(directory)))
    if (strncmp(entry->d_name, "baton.", 6) == 0) fail_msg("%s was left behind", entry->d_name);
  closedir(directory);
}

static void require(int condition, const char *what) {
  if (condition) return;
  dprintf(STDOUT_FILENO, "%s; stderr: %s\n", what, note);
  _exit(1);
}

/* Two kernels in the private folder, one note; a program made later still finds the first there. */
static void work_without_cache(const char *expected) {
  int saved = hide_stderr();
  const baton_kernel_options first = {.code = add_text},
                             second = {.code = add_text, .cflags = (const char *const[]){"-g0", NULL}};
  int calls[] = {try_compile(&first, 3), try_compile(&second, 3), try_compile(&first, 3)};
  read_note(saved);
  require(calls[0] == 1 && calls[1] == 1 && calls[2] == 0, "two compilations expected");
  char *start = strstr(note, expected);
  require(start && strchr(note, '\n') == note + strlen(note) - 1, expected);
}

static void work_without_home(void) {
  unsetenv("XDG_CACHE_HOME");
  unsetenv("HOME");
  work_without_cache(
      "baton: note: neither HOME nor XDG_CACHE_HOME names a folder for the compile cache; using ");
}

static void work_without_folder(void) {
  setenv("XDG_CACHE_HOME", "/dev/null", 1);
  work_without_cache(
      "baton: note: the compile cache /dev/null/baton cannot be written (Not a directory); using ");
}

static void work_on_a_full_disk(void) {
  full_disk = cache_folder;
  work_without_cache("cannot be written (No space left on device); using ");
}

static void a_private_folder_stands_in_for_the_cache(void **state) {
  (void)state;
  in_child(work_without_home);
  in_child(work_without_folder);
  in_child(work_on_a_full_disk);
  assert_string_equal(cached(".so"), "");
}

static void no_room_anywhere_is_an_error(void **state) {
  (void)state;
  baton_error err = {0};
  setenv("TMPDIR", "/dev/null", 1);
  refuse(&(baton_kernel_options){.code = add_text}, BATON_IO_ERROR, &err);
  assert_string_equal(err.message,
                      "p: kernel add: no folder to compile in, in TMPDIR or /tmp: Not a directory");
  baton_error_clear(&err);
}

static int64_t allocations_left;

static void *failing_allocator(void *context, void *block, size_t size) {
  (void)context;
  if (size == 0) {
    free(block);
    return NULL;
  }
  return allocations_left-- > 0 ? realloc(block, size) : NULL;
}

/* Creates and compiles with room for `count` allocations. */
static baton_status compile_in_little_memory(const baton_program_options *options, int64_t count) {
  baton_program *program = NULL;
  allocations_left = count;
  baton_status status = baton_program_create(options, &program, NULL);
  if (status == BATON_OK) status = baton_program_compile(program, NULL);
  baton_program_close(program);
  return status;
}

static void memory_may_run_out_anywhere(void **state) {
  (void)state;
  const baton_parameter params[] = {
      {.name = "x", .direction = BATON_IN, .has_shape = 1, .ndim = 1, .shape = {{"n", 0}}}};
  const baton_kernel_options kernel = {
      .name = "add", .core = BATON_AIV, .code = add_text, .params = params, .nparams = 1};
  const baton_program_options options = {.name = "p",
                                         .params = params,
                                         .nparams = 1,
                                         .kernels = &kernel,
                                         .nkernels = 1,
                                         .orchestrate = submit_nothing};
  const char *const no_flags[] = {NULL};
  baton_program_options warm = options;
  warm.cflags = no_flags;
  baton_set_allocator(failing_allocator, NULL);
  int64_t count = 0;
  baton_status status;
  while ((status = compile_in_little_memory(&options, count)) == BATON_OUT_OF_MEMORY) count += 3;
  assert_int_equal(status, BATON_OK);
  assert_true(count > 20);
  count = 1; /* the cache is warm now */
  while ((status = compile_in_little_memory(&warm, count)) == BATON_OUT_OF_MEMORY) count += 3;
  baton_set_allocator(NULL, NULL);
  assert_int_equal(status, BATON_OK);
}

/* ---- races ---- */

enum { RACERS = 4 };

static void *compile_shared(void *program) {
  return baton_program_compile(program, NULL) == BATON_OK ? program : NULL;
}

static void threads_wait_for_each_other(void **state) {
  (void)state;
  pthread_t threads[RACERS];
  uint64_t before = chip_compilations();
  baton_program *program = create(&(baton_kernel_options){.code = add_text});
  for (int i = 0; i < RACERS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, compile_shared, program), 0);
  for (int i = 0; i < RACERS; i++) {
    void *result;
    pthread_join(threads[i], &result);
    assert_non_null(result);
  }
  assert_int_equal(chip_compilations() - before, 1);
  assert_true(call(program) == 3);
  baton_program_close(program);
}

static void processes_may_race(void **state) {
  (void)state;
  pid_t children[RACERS];
  put("add.c", add_text);
  fflush(NULL);
  for (int i = 0; i < RACERS; i++) {
    children[i] = fork();
    assert_true(children[i] >= 0);
    if (children[i] == 0) _exit(try_compile(&(baton_kernel_options){.source = "add.c"}, 3) < 0);
  }
  for (int i = 0; i < RACERS; i++) {
    int status = 0;
    assert_int_equal(waitpid(children[i], &status, 0), children[i]);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  assert_string_not_equal(cached(".so"), "");
  assert_int_equal(compile(&(baton_kernel_options){.source = "add.c"}, 3), 0);
}

/* ---- small parts ---- */

static void dependencies_are_read_as_make_writes_them(void **state) {
  (void)state;
  chip_list paths = {0};
  chip_depend_parse("x.so: /tmp/s/code.c a\\ b.h \\\n  /usr/c$$d.h\\\n e\\#f.h /tmp/sx.h\n", "/home",
                    "/tmp/s", &paths);
  assert_int_equal(paths.count, 4);
  const char *const expected[] = {"/home/a b.h", "/usr/c$d.h", "/home/e#f.h", "/tmp/sx.h"};
  for (size_t i = 0; i < 4; i++) assert_string_equal(paths.items[i], expected[i]);
  chip_list_free(&paths);
}

static void digests_are_those_of_sha_256(void **state) {
  (void)state;
  base_digest digest, other;
  char text[BASE_DIGEST_TEXT];
  assert_true(base_hash("abc", 3, &digest));
  base_digest_text(&digest, text);
  assert_string_equal(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  base_hasher *hasher = base_hasher_open();
  base_hasher_add_text(hasher, "ab");
  base_hasher_add_text(hasher, "c");
  assert_true(base_hasher_end(hasher, &digest));
  hasher = base_hasher_open();
  base_hasher_add_text(hasher, "a");
  base_hasher_add_text(hasher, "bc");
  assert_true(base_hasher_end(hasher, &other));
  assert_memory_not_equal(&digest, &other, sizeof digest);
  assert_false(base_hasher_end(NULL, &digest));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(the_second_start_needs_no_compiler),
      TEST(inline_code_and_cpp_sources_compile),
      TEST(where_inline_code_stands_matters_only_if_it_says_so),
      TEST(a_change_of_source_header_or_flag_compiles_again),
      TEST(another_compiler_under_the_same_name_compiles_again),
      TEST(a_source_that_changes_meanwhile_is_not_kept),
      TEST(orchestrations_compile_too),
      TEST(options_reach_the_compiler),
      TEST(a_rebuilt_object_is_loaded_beside_the_old_one),
      TEST(one_content_is_loaded_once),
      TEST(an_object_that_is_none_is_refused),
      TEST(a_compiler_error_is_shown_as_it_is),
      TEST(what_is_missing_is_named),
      TEST(an_undefined_function_is_a_compile_error_each_time),
      TEST(a_program_compiles_after_its_source_was_mended),
      TEST(a_corrupt_entry_is_rebuilt),
      TEST(a_cut_manifest_is_not_believed),
      TEST(a_private_folder_stands_in_for_the_cache),
      TEST(no_room_anywhere_is_an_error),
      TEST(memory_may_run_out_anywhere),
      TEST(threads_wait_for_each_other),
      TEST(processes_may_race),
      TEST(dependencies_are_read_as_make_writes_them),
      TEST(digests_are_those_of_sha_256),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
