-- Programs for the workers of nodes.
local baton = require "baton"
local programs = require "spec.support.programs"

local node = {}

local code = [[
#include <baton/orchestration.h>
BATON_ORCHESTRATION(sum) {
  baton_view a = baton_param(o, args, 0), b = baton_param(o, args, 1), c = baton_param(o, args, 2);
  baton_aiv(o, baton_kernel(o, "add"), BATON_ARGS(baton_input(a), baton_input(b), baton_output(c)), NULL);
}
BATON_ORCHESTRATION(difference) { /* c + b = a: the first argument is the result */
  baton_view a = baton_param(o, args, 0), b = baton_param(o, args, 1), c = baton_param(o, args, 2);
  baton_aiv(o, baton_kernel(o, "add"), BATON_ARGS(baton_input(c), baton_input(b), baton_output(a)), NULL);
}
BATON_ORCHESTRATION(halting) {
  baton_view x = baton_param(o, args, 0);
  baton_aiv(o, baton_kernel(o, "stop"), BATON_ARGS(baton_inout(x), baton_f64(2.5)),
            &(baton_task_options){ .name = "halt" });
}]]

local function program(name, signature)
  return baton.program { name = name, signature = signature, kernels = programs.kernels,
    orchestration = { code = code, entry = name } }
end

--- c = a + b.
function node.sum() return program("sum", programs.abc) end

--- a = c + b, with the same names as sum in another order.
function node.turned() return program("difference", { programs.abc[3], programs.abc[2], programs.abc[1] }) end

--- Fails in its kernel: "stopped at 2.5".
function node.halting() return program("halting", { { "x", "inout", "f32" } }) end

--- x = x + by, a function of the host.
function node.bump()
  return baton.program {
    name = "bump", signature = { { "x", "inout", "f32" }, { "by", "f32" } },
    host = { code = [[
      #include <baton/kernel.h>
      BATON_KERNEL(bump) {
        float *x = baton_io(args, 0, float), by = baton_scalar_f32(args, 1);
        for (int64_t i = 0, n = baton_numel(args, 0); i < n; i++) x[i] += by;
      }]] },
  }
end

return node
