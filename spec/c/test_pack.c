/* Programs as bytes and back: for a worker in another process. */
#include "base/memory.h"
#include "chip/program/pack.h"
#include <baton/worker.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const baton_parameter params[] = {
    {.name = "x",
     .direction = BATON_IN,
     .dtypes = 1u << BATON_F32,
     .has_shape = 1,
     .ndim = 2,
     .shape = {{.name = "n"}, {.name = "*"}}},
    {.name = "y", .direction = BATON_OUT, .has_shape = 1, .ndim = 2, .shape = {{.name = "n"}, {.size = 4}}},
    {.name = "k", .direction = BATON_BY_VALUE, .dtypes = 1u << BATON_I64}};

static const baton_kernel_options kernels[] = {
    {.name = "half",
     .core = BATON_AIV,
     .waits = 1,
     .params = params,
     .nparams = 3,
     .code =
         "#include <baton/kernel.h>\nBATON_KERNEL(half) { baton_out(args, 1, float)[0] = baton_in(args, 0, "
         "float)[0] / 2; }\n"},
    {.name = "other",
     .core = BATON_AIC,
     .strided = 1,
     .entry = "another",
     .code = "#include <baton/kernel.h>\nBATON_KERNEL(another) { (void)args; }\n"}};

static const char orchestration[] = "#include <baton/orchestration.h>\n"
                                    "BATON_ORCHESTRATION(halve) {\n"
                                    "  baton_view x = baton_param(o, args, 0), y = baton_param(o, args, 1);\n"
                                    "  baton_arg list[] = {baton_input(x), baton_output(y), baton_i64(1)};\n"
                                    "  baton_aiv(o, baton_kernel(o, \"half\"), list, 3, 0);\n"
                                    "}\n";

static baton_program *create(const baton_program_options *options) {
  baton_program *program;
  baton_error err = {0};
  if (baton_program_create(options, &program, &err) != BATON_OK) fail_msg("%s", err.message);
  return program;
}

static chip_text pack(baton_program *program) {
  chip_text bytes = {0};
  baton_error err = {0};
  if (chip_program_pack(program, &bytes, &err) != BATON_OK) fail_msg("%s", err.message);
  return bytes;
}

/* From a copy of exactly these bytes, so that a sanitizer sees a read beyond them. */
static baton_status unpack(const char *bytes, size_t size, baton_program **out, baton_error *err) {
  char *exact = malloc(size ? size : 1);
  memcpy(exact, bytes, size);
  baton_status status = chip_program_unpack(exact, size, NULL, out, err);
  free(exact);
  return status;
}

static void a_program_comes_back_as_it_was(void **state) {
  (void)state;
  baton_program *program = create(&(baton_program_options){.name = "halve",
                                                           .params = params,
                                                           .nparams = 3,
                                                           .kernels = kernels,
                                                           .nkernels = 2,
                                                           .explicit_edges = 1,
                                                           .rebuild = 1,
                                                           .orchestration_code = orchestration});
  chip_text bytes = pack(program);
  baton_program *copy;
  assert_int_equal(unpack(bytes.data, bytes.length, &copy, NULL), BATON_OK);
  assert_int_equal(baton_program_compile(copy, NULL), BATON_OK);
  assert_string_equal(baton_program_name(copy), "halve");
  assert_true(chip_program_is_explicit(copy));
  assert_false(chip_program_keeps(copy));
  assert_false(chip_program_is_graph(copy));
  assert_int_equal(chip_program_kernel_count(copy), 2);
  for (uint32_t i = 0; i < 2; i++) {
    const chip_kernel *one = chip_program_kernel(program, i), *other = chip_program_kernel(copy, i);
    assert_string_equal(one->name, other->name);
    assert_int_equal(one->core, other->core);
    assert_int_equal(one->strided, other->strided);
    assert_int_equal(one->waits, other->waits);
    assert_true(one->function == other->function); /* loaded once in one process */
  }
  assert_true(chip_program_orchestrate(copy) == chip_program_orchestrate(program));
  assert_int_equal(chip_program_kernel(copy, 0)->signature->count, 3);
  assert_null(chip_program_kernel(copy, 1)->signature);
  const chip_signature *signature = chip_program_signature(copy);
  assert_int_equal(signature->items[0].dtypes, 1u << BATON_F32);
  assert_int_equal(signature->items[0].shape[1].kind, CHIP_DIM_ANY);
  assert_int_equal(signature->items[1].shape[0].kind, CHIP_DIM_BOUND);
  assert_int_equal(signature->items[1].shape[1].size, 4);
  assert_int_equal(signature->items[2].direction, BATON_BY_VALUE);
  chip_text again = pack(copy);
  assert_int_equal(again.length, bytes.length);
  assert_memory_equal(again.data, bytes.data, bytes.length);
  baton_program_close(program);
  baton_program_close(copy);
  chip_text_free(&bytes);
  chip_text_free(&again);
}

static const baton_kernel_options host_function = {
    .code = "#include <baton/kernel.h>\nBATON_KERNEL(count) { baton_io(args, 0, int)[0]++; }\n"};

static void so_does_a_function_of_the_host(void **state) {
  (void)state;
  baton_program *program = create(&(baton_program_options){.name = "count", .host = &host_function}), *copy;
  chip_text bytes = pack(program);
  assert_int_equal(unpack(bytes.data, bytes.length, &copy, NULL), BATON_OK);
  assert_int_equal(baton_program_compile(copy, NULL), BATON_OK);
  assert_true(chip_program_is_host(copy));
  assert_true(chip_program_host(copy)->function == chip_program_host(program)->function);
  assert_string_equal(chip_program_host(copy)->who, "count: host function count");
  baton_program_close(program);
  baton_program_close(copy);
  chip_text_free(&bytes);
}

static void nothing(const baton_args *args) { (void)args; }
static void submit_nothing(baton_orch *o, const baton_args *args) {
  (void)o;
  (void)args;
}

static void a_graph_goes_as_its_script(void **state) {
  (void)state;
  baton_program *program =
      create(&(baton_program_options){.name = "g", .orchestrate = submit_nothing, .graph = 1});
  uint64_t size;
  assert_true(chip_program_is_local(program));
  assert_int_equal(chip_program_set_script(program, "bytes\0of Lua", 12, NULL), BATON_OK);
  assert_int_equal(chip_program_set_script(program, "later", 5, NULL), BATON_OK); /* the first stays */
  assert_false(chip_program_is_local(program));
  chip_text bytes = pack(program);
  baton_program *copy;
  assert_int_equal(chip_program_unpack(bytes.data, bytes.length, submit_nothing, &copy, NULL), BATON_OK);
  assert_true(chip_program_is_graph(copy));
  assert_true(chip_program_orchestrate(copy) == submit_nothing);
  const void *script = chip_program_script(copy, &size);
  assert_int_equal(size, 12);
  assert_memory_equal(script, "bytes\0of Lua", 12);
  baton_program_close(program);
  baton_program_close(copy);
  chip_text_free(&bytes);
}

static void functions_of_this_process_stay_here(void **state) {
  (void)state;
  const baton_kernel_options local = {.name = "k", .core = BATON_AIV, .function = nothing};
  const struct {
    baton_program_options options;
    const char *message;
  } cases[] = {
      {{.name = "p", .orchestrate = submit_nothing},
       "p: its orchestration is a function of this process, no other one can run it"},
      {{.name = "p", .orchestrate = submit_nothing, .graph = 1},
       "p: its graph is a function of this process, no other one can run it"},
      {{.name = "p", .orchestrate = submit_nothing, .graph = 1, .kernels = &local, .nkernels = 1},
       "p: k is a function of this process, no other one can run it"},
      {{.name = "p", .host = &local},
       "p: its function of the host is a function of this process, no other one can run it"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    baton_program *program = create(&cases[i].options);
    chip_text bytes = {0};
    baton_error err = {0};
    assert_int_equal(chip_program_pack(program, &bytes, &err), BATON_UNSUPPORTED);
    assert_string_equal(err.message, cases[i].message);
    assert_string_equal(err.hint, "give it as source, code or object, or use thread isolation");
    baton_error_clear(&err);
    chip_text_free(&bytes);
    baton_program_close(program);
  }
}

/* Every one is refused, or is some program. */
static void hostile_bytes_harm_nobody(void **state) {
  (void)state;
  baton_program *program = create(&(baton_program_options){.name = "halve",
                                                           .params = params,
                                                           .nparams = 3,
                                                           .kernels = kernels,
                                                           .nkernels = 2,
                                                           .orchestration_code = orchestration}),
                *some;
  chip_text bytes = pack(program);
  baton_error err = {0};
  for (size_t size = 0; size < bytes.length; size++) {
    assert_int_equal(unpack(bytes.data, size, &some, &err), BATON_PROTOCOL_ERROR);
    assert_null(some);
  }
  assert_string_equal(err.message, "a packed program: the orchestration makes no sense");
  chip_text_add_bytes(&bytes, "", 1);
  assert_int_equal(unpack(bytes.data, bytes.length, &some, &err), BATON_PROTOCOL_ERROR);
  assert_string_equal(err.message, "a packed program: the end makes no sense");
  bytes.length--;
  for (size_t i = 0; i < bytes.length; i++)
    for (unsigned flip = 1; flip < 256; flip <<= 1) {
      bytes.data[i] = (char)((unsigned char)bytes.data[i] ^ flip);
      (void)unpack(bytes.data, bytes.length, &some, NULL);
      baton_program_close(some);
      bytes.data[i] = (char)((unsigned char)bytes.data[i] ^ flip);
    }
  baton_error_clear(&err);
  chip_text_free(&bytes);
  baton_program_close(program);
}

static void chips_do_not_run_functions_of_the_host(void **state) {
  (void)state;
  baton_worker *worker;
  baton_error err = {0};
  assert_int_equal(baton_worker_open(&(baton_worker_options){.threads = 1}, &worker, NULL), BATON_OK);
  baton_program *program = create(&(baton_program_options){.name = "count", .host = &host_function});
  assert_int_equal(baton_worker_run(worker, program, NULL, 0, NULL, NULL, &err), BATON_UNSUPPORTED);
  assert_string_equal(err.message, "count: a function of the host is no program of a chip");
  assert_string_equal(err.hint, "submit it with submit_next_level or submit_sub of a node");
  assert_null(baton_program_runtime(program, 0));
  baton_error_clear(&err);
  baton_program_close(program);
  baton_worker_close(worker);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_program_comes_back_as_it_was),
      cmocka_unit_test(so_does_a_function_of_the_host),
      cmocka_unit_test(a_graph_goes_as_its_script),
      cmocka_unit_test(functions_of_this_process_stay_here),
      cmocka_unit_test(hostile_bytes_harm_nobody),
      cmocka_unit_test(chips_do_not_run_functions_of_the_host),
  };
  return cmocka_run_group_tests_name("pack", tests, NULL, NULL);
}
