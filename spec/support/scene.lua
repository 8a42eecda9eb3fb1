-- Small scenes as files: c = a + b, with replaceable parts.
local command = require "spec.support.command"

local scene = {}

local program = [==[
local baton = require "baton"
local tensor = require "baton.tensor"
local program = baton.program {
  name = "sum",
  signature = { { "a", "in", "f32", { "n" } }, { "b", "in", "f32", { "n" } }, { "c", "out", "f32", { "n" } } },
  kernels = {
    add = { core = "aiv", signature = { { "a", "in" }, { "b", "in" }, { "c", "out" } }, code = [[
      #include <baton/kernel.h>
      BATON_KERNEL(add) {
        const float *a = baton_in(args, 0, float), *b = baton_in(args, 1, float);
        float *c = baton_out(args, 2, float);
        for (int64_t i = 0, n = baton_numel(args, 2); i < n; i++) c[i] = a[i] + b[i];
      }]] },
  },
  graph = function(g, a, b, c) g.aiv("add", a, b, c) end,
}
]==]

local on_chip = [==[
local scene = {
  name = "sum", program = program,
  cases = { { name = "small", params = { n = 8, x = 1.5 } }, { name = "wide", params = { n = 1000, x = 1.0 } },
    { name = "huge", params = { n = 4000, x = 1.0 }, manual = true } },
  args = function(p, seed, given)
    local n = given.a and given.a:size(1) or p.n
    return { a = tensor.full("f32", { n }, p.x), b = tensor.uniform("f32", { n }, { seed = seed }),
      c = tensor.empty("f32", { n }) }
  end,
  golden = function(args) return { c = args.a + args.b } end,
}
]==]

-- Each of two chips adds a half.
local on_node = [==[
local scene = {
  name = "sums", level = 3, worker = { devices = 2 },
  orchestrate = function(orch, args, p)
    local half = p.n // 2
    for worker = 0, 1 do
      local list = {}
      for i, name in ipairs { "a", "b", "c" } do list[i] = args[name]:slice(1, worker * half + 1, half) end
      orch.submit_next_level(program, list, { worker = worker })
    end
  end,
  cases = { { name = "small", params = { n = 8 } }, { name = "wide", params = { n = 1000 } } },
  args = function(p, seed)
    return { a = tensor.full("f32", { p.n }, 1.5), b = tensor.uniform("f32", { p.n }, { seed = seed }),
      c = tensor.zeros("f32", { p.n }) }
  end,
  golden = function(args) return { c = args.a + args.b } end,
}
]==]

--- Writes a scene of one chip to `path`; `changes` is Lua that alters the table `scene` before it is made.
function scene.write(path, changes)
  return command.write(path, program .. on_chip .. (changes or "") .. "\nreturn baton.scene(scene)\n")
end

--- The same for one of level 3.
function scene.write_for_node(path, changes)
  return command.write(path, program .. on_node .. (changes or "") .. "\nreturn baton.scene(scene)\n")
end

return scene
