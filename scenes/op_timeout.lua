-- op_timeout: a kernel that never returns costs its run and says which it was; the process survives, and the worker is
-- ready again after a restart. A plain script: `baton scenes/op_timeout.lua`.
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

local chip <close> = baton.worker()
local x = tensor.zeros("f32", { 1 })

local ok, err = pcall(chip.run, chip, program, { x, true }, { timeout = 0.2 })
assert(not ok, "the kernel came back")
print(("%s: task %s, kernel %s, worker %s"):format(err.code, err.task, err.kernel, chip.state))

chip:restart()
chip:run(program, { x, false })
print(("after the restart: x = %g, worker %s"):format(x:get(1), chip.state))
