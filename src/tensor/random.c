/* Random numbers with the same bits everywhere: integer arithmetic, and IEEE operations that are rounded
** exactly (+ - * / sqrt), compiled without contraction. No function of the mathematical library takes
** part. */
#include "tensor/tensor.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Element `index` of stream `seed`: a counter through a mixer whose every output bit depends on every input
** bit (splitmix64). The seed is mixed first, so that streams of neighbouring seeds have nothing in common. */
static uint64_t mix(uint64_t value) {
  value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
  return value ^ (value >> 31);
}

static uint64_t random_bits(uint64_t seed, int64_t index) {
  const uint64_t step = UINT64_C(0x9e3779b97f4a7c15); /* 2^64 over the golden ratio */
  return mix(mix(seed + step) + step * ((uint64_t)index + 1));
}

/* 0 <= x < 1, in steps of 2^-53. */
static double unit(uint64_t bits) { return (double)(bits >> 11) * 0x1p-53; }

/* 0 < x < 1: the middle of one of 2^52 equal parts. */
static double open_unit(uint64_t bits) { return ((double)(bits >> 12) + 0.5) * 0x1p-52; }

/* --- Normal distribution: the inverse of its distribution function -------------------------------------- */

/* log(x) for normal x > 0: x = m * 2^e with m near 1, and a series in s = (m-1)/(m+1). Good to a few units in
** the last place, which is more than the quantile below needs. */
static double own_log(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  int exponent = (int)(bits >> 52) - 1023;
  bits = (bits & UINT64_C(0xfffffffffffff)) | UINT64_C(0x3ff0000000000000);
  double m;
  memcpy(&m, &bits, sizeof m);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    exponent++;
  }
  double s = (m - 1) / (m + 1), square = s * s, sum = 0;
  for (int power = 23; power >= 1; power -= 2) sum = sum * square + 1.0 / power;
  return 2 * s * sum + exponent * 0.69314718055994530942;
}

/* Numerator and denominator of degree 7, from the constant up. */
typedef struct rational {
  double above[8], below[8];
} rational;

static double evaluate(const rational *r, double x) {
  double above = r->above[7], below = r->below[7];
  for (int i = 6; i >= 0; i--) {
    above = above * x + r->above[i];
    below = below * x + r->below[i];
  }
  return above / below;
}

/* The normal quantile by the rational approximations of Wichura (Applied Statistics 37, 1988, algorithm AS
** 241), good to about 1 part in 10^16. */
static double quantile(double p) {
  static const rational centre = {
      {3.3871328727963666080e0, 1.3314166789178437745e+2, 1.9715909503065514427e+3, 1.3731693765509461125e+4,
       4.5921953931549871457e+4, 6.7265770927008700853e+4, 3.3430575583588128105e+4,
       2.5090809287301226727e+3},
      {1.0, 4.2313330701600911252e+1, 6.8718700749205790830e+2, 5.3941960214247511077e+3,
       2.1213794301586595867e+4, 3.9307895800092710610e+4, 2.8729085735721942674e+4,
       5.2264952788528545610e+3}};
  static const rational side = {
      {1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
       1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2,
       7.74545014278341407640e-4},
      {1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
       1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4,
       1.05075007164441684324e-9}};
  static const rational tail = {
      {6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0,
       2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
       2.71155556874348757815e-5, 2.01033439929228813265e-7},
      {1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
       7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7,
       2.04426310338993978564e-15}};
  double q = p - 0.5;
  if (fabs(q) <= 0.425) return q * evaluate(&centre, 0.180625 - q * q);
  double r = sqrt(-own_log(q < 0 ? p : 1 - p));
  double x = r <= 5 ? evaluate(&side, r - 1.6) : evaluate(&tail, r - 5);
  return q < 0 ? -x : x;
}

/* --- Filling -------------------------------------------------------------------------------------------- */

typedef struct random_context {
  baton_tensor *tensor;
  uint64_t seed;
  int normal;
  double low, scale; /* floats: low + scale * x */
  int64_t first;     /* integers: first … first + range */
  uint64_t range;
} random_context;

static void random_floats(const random_context *random, int64_t at, int64_t count, tensor_block *block) {
  for (int64_t i = 0; i < count; i++) {
    uint64_t bits = random_bits(random->seed, at + i);
    double x = random->normal ? quantile(open_unit(bits)) : unit(bits);
    block->f64[i] = random->low + random->scale * x;
  }
}

/* The upper half of bits × (range + 1); sums and products are modulo 2^64 where all 64 bits are the range. */
static void random_integers(const random_context *random, int64_t at, int64_t count, tensor_block *block) {
  for (int64_t i = 0; i < count; i++) {
    uint64_t bits = random_bits(random->seed, at + i), size = random->range + 1;
    uint64_t low = (bits & UINT32_MAX) * (size >> 32) + (((bits & UINT32_MAX) * (size & UINT32_MAX)) >> 32);
    uint64_t middle = (bits >> 32) * (size & UINT32_MAX) + (low & UINT32_MAX);
    uint64_t high = (bits >> 32) * (size >> 32) + (low >> 32) + (middle >> 32);
    block->u64[i] = (uint64_t)random->first + (size ? high : bits);
  }
}

static void random_part(const void *context, int64_t first, int64_t last) {
  const random_context *random = context;
  baton_dtype dtype = tensor_dtype(random->tensor);
  int floats = baton_dtype_is_float(dtype);
  char *data = random->tensor->view.data;
  tensor_block block;
  for (int64_t at = first, count; at < last; at += count) {
    count = last - at < TENSOR_BLOCK ? last - at : TENSOR_BLOCK;
    (floats ? random_floats : random_integers)(random, at, count, &block);
    tensor_write(floats ? TENSOR_F64 : TENSOR_U64, dtype, &block, count,
                 data + at * (int64_t)baton_dtype_size(dtype), 1);
  }
}

static baton_status random_fill(random_context *random, baton_dtype dtype, int ndim, const int64_t *shape,
                                baton_tensor **out, baton_error *err) {
  BATON_TRY(baton_tensor_empty(dtype, ndim, shape, out, err));
  random->tensor = *out;
  tensor_parallel(baton_view_numel(&(*out)->view), random_part, random);
  return BATON_OK;
}

/* The ends of an integer range; both must be values of the type. */
static baton_status integer_range(random_context *random, baton_dtype dtype, double lo, double hi,
                                  baton_error *err) {
  tensor_block low, high;
  tensor_compute compute = tensor_compute_of(dtype);
  BATON_TRY(tensor_fit(baton_number_f64(lo), dtype, compute, &low, err));
  BATON_TRY(tensor_fit(baton_number_f64(hi), dtype, compute, &high, err));
  random->first = low.i64[0];
  random->range = high.u64[0] - low.u64[0];
  return BATON_OK;
}

baton_status baton_tensor_uniform(baton_dtype dtype, int ndim, const int64_t *shape, double lo, double hi,
                                  uint64_t seed, baton_tensor **out, baton_error *err) {
  random_context random = {.seed = seed, .low = lo, .scale = hi - lo};
  *out = NULL;
  if (!(lo <= hi) || !isfinite(hi - lo))
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "uniform: %s to %s is no range",
                           tensor_number_print(baton_number_f64(lo)).text,
                           tensor_number_print(baton_number_f64(hi)).text);
  if (!baton_dtype_is_float(dtype)) BATON_TRY(integer_range(&random, dtype, lo, hi, err));
  return random_fill(&random, dtype, ndim, shape, out, err);
}

baton_status baton_tensor_normal(baton_dtype dtype, int ndim, const int64_t *shape, double mean,
                                 double deviation, uint64_t seed, baton_tensor **out, baton_error *err) {
  random_context random = {.seed = seed, .normal = 1, .low = mean, .scale = deviation};
  *out = NULL;
  if (!baton_dtype_is_float(dtype))
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "normal: %s is no float type",
                           baton_dtype_name(dtype));
  return random_fill(&random, dtype, ndim, shape, out, err);
}
