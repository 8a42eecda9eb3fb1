-- prepared_callable: `register` compiles a program and gives it to the chip, once; its handle then runs many times, over
-- arguments of any size. As a script, `baton scenes/prepared_callable.lua`, it shows what was done how often.
local baton = require "baton"
local tensor = require "baton.tensor"

local scene = baton.scene {
  name = "prepared_callable",
  program = baton.program {
    name = "prepared_callable",
    signature = { { "a", "in", "f32", { "n" } }, { "b", "in", "f32", { "n" } }, { "c", "out", "f32", { "n" } } },
    kernels = {
      add = { core = "aiv", source = "kernels/vector.c", signature = { { "a", "in" }, { "b", "in" }, { "c", "out" } } },
    },
    graph = function(g, a, b, c) g.aiv("add", a, b, c) end,
  },
  cases = { { name = "default", params = { n = 4096 } }, { name = "other", params = { n = 1000 } } },
  args = function(p, seed)
    return { a = tensor.uniform("f32", { p.n }, { seed = seed }), b = tensor.uniform("f32", { p.n }, { seed = seed + 1 }),
      c = tensor.empty("f32", { p.n }) }
  end,
  golden = function(args) return { c = args.a + args.b } end,
  tolerance = { rtol = 0, atol = 0 },
}

if ... then return scene end -- `baton run` loads the file with its path

local chip <close> = baton.worker()
local handle = chip:register(scene.program)
assert(chip:register(scene.program) == handle)
for n = 1, 1000 do
  local args = scene.args({ n = n }, n)
  chip:run(handle, args)
  assert(args.c:allclose(args.a + args.b))
end
local stats = chip:stats()
print(("%d runs, %d kernel given to the chip"):format(stats.runs, stats.images_uploaded))
chip:unregister(handle)
local _, err = pcall(chip.run, chip, handle, scene.args({ n = 1 }, 1))
print(err.code)
