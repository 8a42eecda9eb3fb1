-- submit.lua [REPETITIONS [SUBMITS]]: what a submit from Lua costs above the same submit from C, in the lines of sample.h.
-- Each program submits one kernel of three tensors again and again on a chip with one thread, which runs the tasks too;
-- figures are ns a submit. `submit_c` is the whole cost of a compiled orchestration, the others what Lua adds to it.
local baton = require "baton"
local tensor = require "baton.tensor"

local repetitions, submits = tonumber(arg[1] or 15), math.tointeger(arg[2] or 100000)

local code = [[
#include <baton/orchestration.h>
BATON_KERNEL(nothing) { (void)args; }
BATON_ORCHESTRATION(submit) {
  baton_view a = baton_param(o, args, 0), b = baton_param(o, args, 1), c = baton_param(o, args, 2);
  int kernel = baton_kernel(o, "nothing");
  for (int64_t i = 0, n = baton_scalar_i64(args, 3); i < n; i++) {
    baton_arg list[3] = {{.view = a}, {.view = b}, {.view = c}};
    baton_aiv(o, kernel, list, 3, NULL);
  }
}]]

local graphs = {
  lua_prepared = function(g, a, b, c, n)
    local aiv, list = g.aiv, baton.args { a, b, c }
    for _ = 1, n do aiv("nothing", list) end
  end,
  lua_positional = function(g, a, b, c, n)
    local aiv = g.aiv
    for _ = 1, n do aiv("nothing", a, b, c) end
  end,
  lua_table = function(g, a, b, c, n)
    local aiv = g.aiv
    for _ = 1, n do aiv("nothing", { a, b, c }) end
  end,
  lua_named = function(g, a, b, c, n)
    local aiv = g.aiv
    for _ = 1, n do aiv("nothing", { x = a, y = b, z = c }) end
  end,
}

local function program(name, graph)
  return baton.program {
    name = name,
    signature = { { "a", "in" }, { "b", "in" }, { "c", "inout" }, { "n", "i64" } },
    kernels = { nothing = { core = "aiv", code = code, signature = { { "x", "in" }, { "y", "in" }, { "z", "out" } } } },
    graph = graph,
    orchestration = not graph and { code = code, entry = "submit" } or nil,
  }
end

local programs = { submit_c = program("submit_c") }
for name, graph in pairs(graphs) do programs[name] = program(name, graph) end

local chip <close> = baton.worker { platform = "a2a3sim", runtime = "tensormap_and_ringbuffer" }
local a, b, c = tensor.zeros("f32", { 16 }), tensor.zeros("f32", { 16 }), tensor.zeros("f32", { 16 })

local function once(name) return chip:run(programs[name], { a, b, c, submits }).host * 1000 / submits end

local function median(values) return (values[(#values + 1) // 2] + values[#values // 2 + 1]) / 2 end

local samples = {}
for name in pairs(programs) do
  samples[name] = {}
  once(name)
end
for i = 1, repetitions do
  for name in pairs(programs) do samples[name][i] = once(name) end
end
for _, values in pairs(samples) do table.sort(values) end

for name, values in pairs(samples) do
  local floor = name == "submit_c" and 0 or median(samples.submit_c)
  print(("baton\t%s\tns a submit\t%.6g\t%.6g\t%.6g"):format(name, median(values) - floor, values[1] - floor,
    values[#values] - floor))
end
