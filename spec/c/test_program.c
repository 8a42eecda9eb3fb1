/* Programs, their signatures and the checks of arguments against them. */
#include "chip/program/program.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void nothing(const baton_args *args) { (void)args; }
static void submit_nothing(baton_orch *o, const baton_args *args) {
  (void)o;
  (void)args;
}

#define F32 (1u << BATON_F32)
#define DIM(dim) \
  { .name = dim }

/* gemm(A[m,k], B[k,n], C[m,n], alpha) */
static const baton_parameter gemm[] = {
    {.name = "A",
     .direction = BATON_IN,
     .dtypes = F32,
     .has_shape = 1,
     .ndim = 2,
     .shape = {DIM("m"), DIM("k")}},
    {.name = "B",
     .direction = BATON_IN,
     .dtypes = F32,
     .has_shape = 1,
     .ndim = 2,
     .shape = {DIM("k"), DIM("n")}},
    {.name = "C",
     .direction = BATON_OUT,
     .dtypes = F32,
     .has_shape = 1,
     .ndim = 2,
     .shape = {DIM("m"), DIM("n")}},
    {.name = "alpha", .direction = BATON_BY_VALUE, .dtypes = F32},
};

static baton_view tensor(baton_dtype dtype, int ndim, int64_t a, int64_t b) {
  return (baton_view){
      .dtype = (uint8_t)dtype, .ndim = (uint8_t)ndim, .shape = {a, b}, .strides = {ndim == 2 ? b : 1, 1}};
}

static chip_value floating(double value) { return (chip_value){.dtype = BATON_F64, .scalar.f64 = value}; }
static chip_value integer(int64_t value) { return (chip_value){.dtype = BATON_I64, .scalar.i64 = value}; }
static chip_value whole(uint64_t value) { return (chip_value){.dtype = BATON_U64, .scalar.u64 = value}; }

/* Checks `values` against `params` as program "gemm"; the message must be `expected`, NULL: it must pass. */
static void expect(const baton_parameter *params, uint32_t nparams, chip_value *values, uint32_t count,
                   baton_status code, const char *expected) {
  baton_error err = {0};
  chip_signature *signature;
  assert_int_equal(chip_signature_create("gemm", params, nparams, &signature, &err), BATON_OK);
  baton_status status = chip_signature_check(signature, "gemm", values, count, &err);
  if (expected) assert_string_equal(err.message ? err.message : "passed", expected);
  assert_int_equal(status, code);
  baton_error_clear(&err);
  chip_signature_free(signature);
}

static void expect_gemm(const baton_view *a, const baton_view *b, const baton_view *c, const char *expected) {
  chip_value values[] = {{.view = a}, {.view = b}, {.view = c}, floating(1)};
  expect(gemm, 4, values, 4, expected ? BATON_SIGNATURE : BATON_OK, expected);
}

static void matching_tensors_pass(void **state) {
  (void)state;
  baton_view a = tensor(BATON_F32, 2, 128, 384), b = tensor(BATON_F32, 2, 384, 200),
             c = tensor(BATON_F32, 2, 128, 200);
  expect_gemm(&a, &b, &c, NULL);
}

static void a_mismatch_is_named_with_what_is_bound(void **state) {
  (void)state;
  baton_view a = tensor(BATON_F32, 2, 128, 384), b = tensor(BATON_F32, 2, 384, 200),
             c = tensor(BATON_F32, 2, 128, 200);
  baton_view short_b = tensor(BATON_F32, 2, 380, 200), integers = tensor(BATON_I32, 2, 128, 384);
  baton_view flat = tensor(BATON_F32, 1, 128, 0), wide_c = tensor(BATON_F32, 2, 128, 201);
  baton_view invalid = baton_slice(a, 0, 100, 100);
  expect_gemm(&a, &short_b, &c, "gemm: argument 2 (B): f32[k=384,n] expected, got f32[380,200]");
  expect_gemm(&a, &b, &wide_c, "gemm: argument 3 (C): f32[m=128,n=200] expected, got f32[128,201]");
  expect_gemm(&integers, &b, &c, "gemm: argument 1 (A): f32[m,k] expected, got i32[128,384]");
  expect_gemm(&flat, &b, &c, "gemm: argument 1 (A): f32[m,k] expected, got f32[128]");
  expect_gemm(&a, NULL, &c, "gemm: argument 2 (B): f32[k=384,n] expected, got nothing");
  expect_gemm(&a, &invalid, &c,
              "gemm: argument 2 (B): f32[k=384,n] expected, got the result of a slice, tile or reshape that "
              "does not fit");
}

static void scalars_and_tensors_are_not_confused(void **state) {
  (void)state;
  baton_view a = tensor(BATON_F32, 2, 1, 1);
  chip_value tensors[] = {{.view = &a}, {.view = &a}, {.view = &a}, {.view = &a}};
  expect(gemm, 4, tensors, 4, BATON_SIGNATURE, "gemm: argument 4 (alpha): scalar f32 expected, got f32[1,1]");
  chip_value scalar[] = {integer(-3), {.view = &a}, {.view = &a}, floating(1)};
  expect(gemm, 4, scalar, 4, BATON_SIGNATURE, "gemm: argument 1 (A): f32[m,k] expected, got the scalar -3");
}

static void the_count_must_match(void **state) {
  (void)state;
  expect(gemm, 4, NULL, 0, BATON_SIGNATURE, "gemm: 4 arguments (A, B, C, alpha) expected, got 0");
  expect(gemm, 0, (chip_value[]){floating(1)}, 1, BATON_SIGNATURE, "gemm: 0 arguments expected, got 1");
  expect(gemm, 1, NULL, 0, BATON_SIGNATURE, "gemm: 1 argument (A) expected, got 0");
}

static void exact_sizes_stars_and_repeated_names(void **state) {
  (void)state;
  const baton_parameter params[] = {
      {.name = "x", .direction = BATON_IN, .has_shape = 1, .ndim = 2, .shape = {{.size = 3}, DIM("*")}},
      {.name = "y",
       .direction = BATON_IN,
       .dtypes = F32 | 1u << BATON_F16,
       .has_shape = 1,
       .ndim = 2,
       .shape = {DIM("n"), DIM("n")}},
      {.name = "z", .direction = BATON_IN, .dtypes = F32},
      {.name = "s", .direction = BATON_IN, .has_shape = 1, .ndim = 0},
  };
  baton_view x = tensor(BATON_I8, 2, 3, 9), tall = tensor(BATON_I8, 2, 4, 9), y = tensor(BATON_F16, 2, 5, 5);
  baton_view oblong = tensor(BATON_F16, 2, 5, 6), z = tensor(BATON_F32, 1, 7, 0),
             point = tensor(BATON_U8, 0, 0, 0);
  chip_value good[] = {{.view = &x}, {.view = &y}, {.view = &z}, {.view = &point}};
  expect(params, 4, good, 4, BATON_OK, NULL);
  chip_value bad[] = {{.view = &tall}, {.view = &oblong}, {.view = &x}, {.view = &z}};
  const char *const messages[] = {"gemm: argument 1 (x): any[3,*] expected, got i8[4,9]",
                                  "gemm: argument 2 (y): f32|f16[n,n] expected, got f16[5,6]",
                                  "gemm: argument 3 (z): f32 tensor of any shape expected, got i8[3,9]",
                                  "gemm: argument 4 (s): any[] expected, got f32[7]"};
  for (int i = 0; i < 4; i++) {
    chip_value values[] = {good[0], good[1], good[2], good[3]};
    values[i] = bad[i];
    expect(params, 4, values, 4, BATON_SIGNATURE, messages[i]);
  }
}

/* Hands `value` to a scalar parameter of `dtypes`; returns what became of it. */
static chip_value convert(chip_value value, uint32_t dtypes, const char *expected) {
  const baton_parameter param = {.name = "n", .direction = BATON_BY_VALUE, .dtypes = dtypes};
  expect(&param, 1, &value, 1, expected ? BATON_OUT_OF_RANGE : BATON_OK, expected);
  return value;
}

static void scalars_become_what_is_declared(void **state) {
  (void)state;
  chip_value value = convert(integer(2), F32, NULL);
  assert_int_equal(value.dtype, BATON_F32);
  assert_true(value.scalar.f64 == 2.0);
  value = convert(floating(0.1), F32, NULL);
  assert_true(value.scalar.f64 == (double)0.1f);
  value = convert(floating(-7), 1u << BATON_I8, NULL);
  assert_int_equal(value.dtype, BATON_I8);
  assert_int_equal(value.scalar.i64, -7);
  value = convert(integer(255), 1u << BATON_U8, NULL);
  assert_int_equal(value.scalar.u64, 255);
  value = convert(whole(UINT64_MAX), 1u << BATON_U64, NULL);
  assert_true(value.scalar.u64 == UINT64_MAX);
  value = convert(whole(UINT64_MAX), 0, NULL); /* any: as it came */
  assert_int_equal(value.dtype, BATON_U64);
  value = convert(integer(300), F32 | 1u << BATON_I8 | 1u << BATON_I16, NULL); /* the widest of its kind */
  assert_int_equal(value.dtype, BATON_I16);
  value = convert(floating(1.5), F32 | 1u << BATON_I8, NULL);
  assert_int_equal(value.dtype, BATON_F32);
  value = convert(floating(65519), 1u << BATON_F16, NULL);
  assert_true(value.scalar.f64 == 65504.0);
  value = convert(floating(INFINITY), 1u << BATON_BF16, NULL);
  assert_true(isinf(value.scalar.f64));
  value = convert(integer(1), 1u << BATON_BOOL, NULL);
  assert_int_equal(value.dtype, BATON_BOOL);
}

static void what_does_not_fit_is_refused_with_the_range(void **state) {
  (void)state;
  convert(integer(300), 1u << BATON_I8,
          "gemm: argument 1 (n): 300 does not fit i8, which holds integers from -128 to 127");
  convert(integer(-1), 1u << BATON_U64,
          "gemm: argument 1 (n): -1 does not fit u64, which holds integers from 0 to 18446744073709551615");
  convert(whole(1ull << 63), 1u << BATON_I64,
          "gemm: argument 1 (n): 9223372036854775808 does not fit i64, which holds integers from "
          "-9223372036854775808 to 9223372036854775807");
  convert(floating(1.5), 1u << BATON_I32,
          "gemm: argument 1 (n): 1.5 does not fit i32, which holds integers from -2147483648 to 2147483647");
  convert(floating(0x1p63), 1u << BATON_I64,
          "gemm: argument 1 (n): 9.2233720368548e+18 does not fit i64, which holds integers from "
          "-9223372036854775808 to 9223372036854775807");
  convert(floating(1e300), F32,
          "gemm: argument 1 (n): 1e+300 does not fit f32, which holds magnitudes up to 3.40282347e+38");
  convert(floating(65520), 1u << BATON_F16,
          "gemm: argument 1 (n): 65520 does not fit f16, which holds magnitudes up to 65504");
  convert(integer(2), 1u << BATON_BOOL, "gemm: argument 1 (n): 2 does not fit bool, which holds 0 and 1");
  convert(floating(NAN), 1u << BATON_I8 | 1u << BATON_U8, "gemm: argument 1 (n): nan fits none of i8|u8");
}

static void a_bad_signature_is_refused(void **state) {
  (void)state;
  const struct {
    baton_parameter params[2];
    const char *message;
  } cases[] = {
      {{{.name = "A", .direction = BATON_IN}, {.direction = BATON_IN}}, "gemm: parameter 2 has no name"},
      {{{.name = "A", .direction = BATON_IN}, {.name = "A", .direction = BATON_OUT}},
       "gemm: parameters 1 and 2 are both called 'A'"},
      {{{.name = "A"}, {.name = "B"}},
       "gemm: parameter 1 (A): direction in, out or inout expected, or a scalar's dtype"},
      {{{.name = "A", .direction = BATON_IN, .has_shape = 1, .ndim = 9}, {.name = "B"}},
       "gemm: parameter 1 (A): 0 to 8 dimensions expected, got 9"},
      {{{.name = "A", .direction = BATON_IN, .has_shape = 1, .ndim = 1, .shape = {{.size = -4}}},
        {.name = "B"}},
       "gemm: parameter 1 (A): dimension 1 is -4, at least 0 expected"},
      {{{.name = "A", .direction = BATON_IN, .has_shape = 1, .ndim = 1, .shape = {DIM("")}}, {.name = "B"}},
       "gemm: parameter 1 (A): dimension 1 has an empty name"},
      {{{.name = "A", .direction = BATON_BY_VALUE, .has_shape = 1}, {.name = "B"}},
       "gemm: parameter 1 (A): a scalar has no shape"},
      {{{.name = "A", .direction = BATON_IN, .dtypes = 1u << BATON_DTYPE_COUNT}, {.name = "B"}},
       "gemm: parameter 1 (A): 0x4000 is no set of dtypes"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    baton_error err = {0};
    chip_signature *signature;
    assert_int_equal(chip_signature_create("gemm", cases[i].params, 2, &signature, &err),
                     BATON_INVALID_ARGUMENT);
    assert_string_equal(err.message, cases[i].message);
    assert_null(signature);
    baton_error_clear(&err);
  }
}

static void bad_options_are_refused(void **state) {
  (void)state;
  const baton_kernel_options good = {.name = "k", .core = BATON_AIV, .function = nothing};
  const baton_kernel_options twins[] = {good, {.name = "l", .core = BATON_AIC, .code = ""}, good};
  const struct {
    baton_program_options options;
    const char *message;
  } cases[] = {
      {{.orchestrate = submit_nothing}, "a program needs a name"},
      {{.name = "p"},
       "p: exactly one of orchestrate, orchestration_source, orchestration_code, orchestration_object and "
       "host "
       "expected, got none"},
      {{.name = "p", .orchestrate = submit_nothing, .orchestration_code = ""},
       "p: exactly one of orchestrate, orchestration_source, orchestration_code, orchestration_object and "
       "host "
       "expected, got orchestrate and orchestration_code"},
      {{.name = "p", .orchestrate = submit_nothing, .host = &good},
       "p: exactly one of orchestrate, orchestration_source, orchestration_code, orchestration_object and "
       "host "
       "expected, got orchestrate and host"},
      {{.name = "p", .host = &good, .kernels = &good, .nkernels = 1},
       "p: a function of the host has no kernels, got 1"},
      {{.name = "p", .host = &(baton_kernel_options){.entry = "f"}},
       "p: host: exactly one of source, code, object and function expected, got none"},
      {{.name = "p", .orchestrate = submit_nothing, .nkernels = 2}, "p: 2 kernels announced, none given"},
      {{.name = "p", .orchestrate = submit_nothing, .nkernels = 3, .kernels = twins},
       "p: two kernels are called 'k'"},
      {{.name = "p",
        .orchestrate = submit_nothing,
        .nkernels = 1,
        .kernels = &(baton_kernel_options){.core = BATON_AIC}},
       "p: kernel 1 has no name"},
      {{.name = "p",
        .orchestrate = submit_nothing,
        .nkernels = 1,
        .kernels = &(baton_kernel_options){.name = "k", .function = nothing}},
       "p: kernel k: core must be aic (1) or aiv (2), got 0"},
      {{.name = "p",
        .orchestrate = submit_nothing,
        .nkernels = 1,
        .kernels = &(baton_kernel_options){.name = "k", .core = BATON_AIC, .source = "a.c", .code = ""}},
       "p: kernel k: exactly one of source, code, object and function expected, got source and code"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    baton_error err = {0};
    baton_program *program;
    assert_int_equal(baton_program_create(&cases[i].options, &program, &err), BATON_INVALID_ARGUMENT);
    assert_string_equal(err.message, cases[i].message);
    assert_null(program);
    baton_error_clear(&err);
  }
}

static void a_program_copies_its_options_and_finds_its_kernels(void **state) {
  (void)state;
  char name[] = "add", other[] = "mul", program_name[] = "prog";
  baton_kernel_options kernels[] = {
      {.name = other, .core = BATON_AIC, .function = nothing},
      {.name = name, .core = BATON_AIV, .function = nothing, .params = gemm, .nparams = 4}};
  const baton_program_options options = {
      .name = program_name, .kernels = kernels, .nkernels = 2, .orchestrate = submit_nothing, .graph = 1};
  baton_program *program;
  assert_int_equal(baton_program_create(&options, &program, NULL), BATON_OK);
  memset(name, 'x', sizeof name - 1);
  memset(other, 'x', sizeof other - 1);
  memset(program_name, 'x', sizeof program_name - 1);
  assert_int_equal(baton_program_compile(program, NULL), BATON_OK);
  assert_string_equal(baton_program_name(program), "prog");
  assert_int_equal(chip_program_kernel_count(program), 2);
  assert_int_equal(chip_program_find_kernel(program, "mul"), 0);
  assert_int_equal(chip_program_find_kernel(program, "add"), 1);
  assert_int_equal(chip_program_find_kernel(program, "ad"), -1);
  const chip_kernel *kernel = chip_program_kernel(program, 1);
  assert_int_equal(kernel->core, BATON_AIV);
  assert_ptr_equal(kernel->function, nothing);
  assert_int_equal(kernel->signature->count, 4);
  assert_int_equal(chip_signature_find(kernel->signature, "C"), 2);
  assert_int_equal(chip_signature_find(kernel->signature, "D"), -1);
  assert_null(chip_program_signature(program));
  assert_ptr_equal(chip_program_orchestrate(program), submit_nothing);
  assert_true(chip_program_is_graph(program) && chip_program_is_local(program));
  assert_ptr_equal(chip_program_hold(program), program);
  baton_program_close(program);
  assert_string_equal(baton_program_name(program), "prog");
  baton_program_close(program);
  baton_program_close(NULL);
}

static void kernels_take_contiguous_tensors_unless_they_say_so(void **state) {
  (void)state;
  const baton_parameter param = {.name = "x", .direction = BATON_IN};
  const baton_kernel_options kernels[] = {
      {.name = "plain", .core = BATON_AIV, .function = nothing},
      {.name = "named", .core = BATON_AIV, .function = nothing, .params = &param, .nparams = 1},
      {.name = "any", .core = BATON_AIV, .function = nothing, .strided = 1}};
  baton_program *program;
  assert_int_equal(baton_program_create(
                       &(baton_program_options){
                           .name = "p", .kernels = kernels, .nkernels = 3, .orchestrate = submit_nothing},
                       &program, NULL),
                   BATON_OK);
  baton_view whole_tensor = tensor(BATON_F32, 2, 4, 4), column = baton_slice(whole_tensor, 1, 0, 2);
  chip_value good = {.view = &whole_tensor}, strided = {.view = &column};
  const char *const messages[] = {
      "p: kernel plain: argument 1: a contiguous tensor expected, got a strided view",
      "p: kernel named: argument 1 (x): a contiguous tensor expected, got a strided view"};
  baton_error err = {0};
  for (uint32_t i = 0; i < 3; i++) {
    const chip_kernel *kernel = chip_program_kernel(program, i);
    assert_int_equal(chip_kernel_check(kernel, &good, 1, &err), BATON_OK);
    assert_int_equal(chip_kernel_check(kernel, &strided, 1, &err), i < 2 ? BATON_SIGNATURE : BATON_OK);
    if (i < 2) assert_string_equal(err.message, messages[i]);
    if (i < 2) assert_string_equal(err.kernel, kernel->name);
  }
  assert_string_equal(err.hint, "copy the view, or declare the kernel with strided = true");
  baton_error_clear(&err);
  baton_program_close(program);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(matching_tensors_pass),
      cmocka_unit_test(a_mismatch_is_named_with_what_is_bound),
      cmocka_unit_test(scalars_and_tensors_are_not_confused),
      cmocka_unit_test(the_count_must_match),
      cmocka_unit_test(exact_sizes_stars_and_repeated_names),
      cmocka_unit_test(scalars_become_what_is_declared),
      cmocka_unit_test(what_does_not_fit_is_refused_with_the_range),
      cmocka_unit_test(a_bad_signature_is_refused),
      cmocka_unit_test(bad_options_are_refused),
      cmocka_unit_test(a_program_copies_its_options_and_finds_its_kernels),
      cmocka_unit_test(kernels_take_contiguous_tensors_unless_they_say_so),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
