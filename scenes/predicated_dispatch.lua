-- predicated_dispatch: whether a task runs is decided by an element that another task writes, when it is ready. If it does
-- not run, its output stays as it is and what depends on it goes on.
local baton = require "baton"
local tensor = require "baton.tensor"

local LINE = 16

local code = [[
#include <baton/kernel.h>
BATON_KERNEL(store_integer) { baton_io(args, 0, int32_t)[0] = (int32_t)baton_scalar_i64(args, 1); }
BATON_KERNEL(store) { baton_io(args, 0, float)[0] = baton_scalar_f32(args, 1); }
BATON_KERNEL(copy) { baton_io(args, 1, float)[0] = baton_in(args, 0, float)[0]; }
]]

local program = baton.program {
  name = "predicated_dispatch",
  signature = {
    { "x", "inout", "f32", { LINE } }, { "y", "inout", "f32", { LINE } }, { "gate", "inout", "i32", { LINE } },
    { "value", "i32" },
  },
  kernels = {
    store_integer = { core = "aiv", code = code, signature = { { "x", "inout", "i32" }, { "value", "i32" } } },
    store = { core = "aiv", code = code, signature = { { "x", "inout", "f32" }, { "value", "f32" } } },
    copy = { core = "aiv", code = code, signature = { { "x", "in", "f32" }, { "y", "inout", "f32" } } },
  },
  graph = function(g, x, y, gate)
    g.aiv("store_integer", gate, g.scalar "value")
    g.aiv("store", x, 42)
    g.aiv("store", { x, 999 }, { predicate = { gate, 1, ">", 0 } })
    g.aiv("copy", x, y)
  end,
}

local function case(name, value) return { name = name, params = { value = value } } end

return baton.scene {
  name = "predicated_dispatch",
  program = program,
  cases = { case("closed", 0), case("open", 1), case("negative", -1) },
  args = function(p)
    return { x = tensor.full("f32", { LINE }, -1), y = tensor.full("f32", { LINE }, -1),
      gate = tensor.full("i32", { LINE }, -1), value = p.value }
  end,
  golden = function(args, p)
    local x = args.x:clone()
    x:set(p.value > 0 and 999 or 42, 1)
    args.gate:set(p.value, 1)
    return { x = x, y = x, gate = args.gate }
  end,
  tolerance = { rtol = 0, atol = 0 },
}
