-- scalar_data: single elements are read and stored while the graph is built; a read waits for the tasks that write the
-- element, a store also for those that read it.
local baton = require "baton"
local tensor = require "baton.tensor"

local program = baton.program {
  name = "scalar_data",
  signature = {
    { "a", "in", "f32", { "n" } }, { "b", "inout", "f32", { "n" } }, { "result", "out", "f32", { "n" } },
    { "seen", "out", "f32", { "n" } }, { "checks", "out", "f32", { 9 } },
  },
  kernels = {
    add = { core = "aiv", source = "kernels/vector.c", signature = { { "a", "in" }, { "b", "in" }, { "c", "out" } } },
    nothing = { core = "aiv", code = "#include <baton/kernel.h>\nBATON_KERNEL(nothing) { (void)args; }" },
  },
  graph = function(g, a, b, result, seen, checks)
    local c = g.alloc("f32", a.shape)
    g.aiv("add", a, b, c)
    g.set(checks, g.get(c, 1), 1)
    g.set(checks, g.get(c, 101), 2)

    local s = g.alloc("f32", { 1 })
    g.set(s, 77, 1)
    g.set(checks, g.get(s, 1), 3)
    g.aiv("nothing", baton.inout(s))
    g.set(checks, g.get(s, 1), 4)
    g.set(checks, g.get(c, 1) + g.get(s, 1), 5)
    g.set(s, 42, 1)
    g.set(checks, g.get(s, 1), 6)

    local d, e = g.alloc("f32", a.shape), g.alloc("f32", a.shape)
    g.set(d, 10, 1)
    g.aiv("add", d, a, e)
    g.set(checks, g.get(e, 1), 7)

    g.aiv("add", c, a, seen)
    g.set(c, 88, 1)
    g.set(checks, g.get(c, 1), 8)

    g.aiv("nothing", baton.output(b))
    g.set(b, 55, 1)
    g.set(checks, g.get(b, 1), 9)
    g.set(b, 0, 1)
    g.aiv("add", a, b, result)
  end,
}

return baton.scene {
  name = "scalar_data",
  program = program,
  runtimes = { "tensormap_and_ringbuffer" },
  cases = { { name = "default", params = { n = 16384 } } },
  args = function(p)
    local function vector() return tensor.empty("f32", { p.n }) end
    return { a = tensor.full("f32", { p.n }, 2), b = tensor.arange("f32", { p.n }), result = vector(), seen = vector(),
      checks = tensor.empty("f32", { 9 }) }
  end,
  golden = function(args)
    return { b = args.b, result = args.a + args.b, seen = args.a + args.b + args.a,
      checks = tensor.from({ 2, 102, 77, 77, 79, 42, 12, 88, 55 }, "f32") }
  end,
  tolerance = { rtol = 0, atol = 0 },
}
