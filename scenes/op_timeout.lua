-- op_timeout: a kernel that never returns costs its run and says which it was; the worker goes on after a restart, which
-- `baton run` does before the next case: `baton run scenes/op_timeout.lua --case hang --case default`.
local baton = require "baton"
local tensor = require "baton.tensor"

local program = baton.program {
  name = "op_timeout",
  signature = { { "x", "inout", "f32", { "n" } }, { "hang", "bool" } },
  kernels = {
    count = { core = "aiv", signature = { { "x", "inout" }, { "hang", "bool" } }, code = [[
      #include <baton/kernel.h>
      BATON_KERNEL(count) {
        volatile int64_t hang = baton_scalar_i64(args, 1);
        while (hang) {}
        baton_io(args, 0, float)[0] += 1;
      }]] },
  },
  graph = function(g, x, hang) g.aiv("count", { x, hang }, { name = "counting" }) end,
}

return baton.scene {
  name = "op_timeout",
  program = program,
  cases = {
    { name = "default", params = { hang = false } },
    { name = "hang", params = { hang = true }, config = { timeout = 0.2 }, manual = true },
  },
  args = function(p) return { x = tensor.zeros("f32", { 1 }), hang = p.hang } end,
  golden = function(args) return { x = args.x + 1 } end,
}
