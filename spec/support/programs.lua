-- Programs that several specs run.
local baton = require "baton"

local programs = {}

local code = [[
#include <baton/kernel.h>
BATON_KERNEL(add) {
  const float *a = baton_in(args, 0, float), *b = baton_in(args, 1, float);
  float *c = baton_out(args, 2, float);
  for (int64_t i = 0, n = baton_numel(args, 2); i < n; i++) c[i] = a[i] + b[i];
}
BATON_KERNEL(add_scalar) {
  const float *a = baton_in(args, 0, float);
  float *c = baton_out(args, 1, float), value = baton_scalar_f32(args, 2);
  for (int64_t i = 0, n = baton_numel(args, 1); i < n; i++) c[i] = a[i] + value;
}
BATON_KERNEL(append) { /* x = 10 x + digit: shows the order of tasks */
  float *x = baton_io(args, 0, float);
  x[0] = 10 * x[0] + baton_scalar_f32(args, 1);
}
BATON_KERNEL(stop) { baton_kernel_fail(args, "stopped at %g", baton_scalar_f64(args, 1)); }
]]

local add = { { "a", "in" }, { "b", "in" }, { "c", "out" } }
local append = { { "x", "inout" }, { "digit", "f32" } }

programs.kernels = {
  add = { core = "aiv", code = code, signature = add },
  add_scalar = { core = "aiv", code = code, signature = { { "a", "in" }, { "c", "out" }, { "value", "f32" } } },
  append = { core = "aiv", code = code, signature = append },
  start = { core = "aic", code = code, entry = "append", signature = append },
  plain = { core = "aiv", code = code, entry = "add" },
  stop = { core = "aiv", code = code, signature = { { "x", "inout" }, { "value", "f64" } } },
}

--- A program with the kernels add(a, b, c), add_scalar(a, c, value), append(x, digit), plain (add without a signature),
--- start (append on a matrix core) and stop(x, value); `options` adds the signature and the graph.
function programs.vector(options)
  return baton.program {
    name = options.name or "vector",
    signature = options.signature,
    kernels = programs.kernels,
    graph = options.graph,
  }
end

programs.abc = {
  { "a", "in", "f32", { "n" } }, { "b", "in", "f32", { "n" } }, { "c", "out", "f32", { "n" } },
}

return programs
