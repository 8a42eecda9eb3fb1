-- baton.new: `baton new DIR`, a small complete project: a kernel, a scene, a spec.
local argparse = require "baton.argparse"
local host = require "baton.host"
local options = require "baton.options"
local settings = require "baton.settings"
local status = require "baton.status"

local new = {}

local files = {
  { "README.md", [[
# A Baton project

`kernels/` holds kernels in C, `scenes/` programs with data and expected results, `spec/` tests.

```sh
baton run scenes/axpy.lua                      # run it and check the result
baton run scenes/axpy.lua --param n=1000000    # with another size
baton repl scenes/axpy.lua                     # try it at a prompt: chip:run(program, args)
baton test spec                                # keep it as a test
```
]] },
  { "kernels/axpy.c", [[
/* y = factor * x + y, for a piece of each. */
#include <baton/kernel.h>

BATON_KERNEL(axpy) {
  const float *x = baton_in(args, 0, float);
  float *y = baton_io(args, 1, float), factor = baton_scalar_f32(args, 2);
  for (int64_t i = 0, n = baton_numel(args, 1); i < n; i++) y[i] += factor * x[i];
}
]] },
  { "scenes/axpy.lua", [[
-- axpy: y = factor * x + y, a piece for each task. Pieces are disjoint, so all tasks run side by side.
local baton = require "baton"
local tensor = require "baton.tensor"

local PIECE = 16384

local program = baton.program {
  name = "axpy",
  signature = { { "x", "in", "f32", { "n" } }, { "y", "inout", "f32", { "n" } }, { "factor", "f32" } },
  kernels = {
    axpy = {
      core = "aiv", source = "../kernels/axpy.c",
      signature = { { "x", "in" }, { "y", "inout" }, { "factor", "f32" } },
    },
  },
  graph = function(g, x, y)
    for first = 1, x.numel, PIECE do
      local count = math.min(PIECE, x.numel - first + 1)
      g.aiv("axpy", x:slice(1, first, count), y:slice(1, first, count), g.scalar "factor")
    end
  end,
}

return baton.scene {
  name = "axpy",
  program = program,
  cases = {
    { name = "small", params = { n = 1000, factor = 2 } },
    { name = "pieces", params = { n = 100000, factor = -0.5 } },
  },
  args = function(p, seed)
    return {
      x = tensor.uniform("f32", { p.n }, { lo = -1, hi = 1, seed = seed }),
      y = tensor.uniform("f32", { p.n }, { lo = -1, hi = 1, seed = seed + 1 }),
      factor = p.factor,
    }
  end,
  golden = function(args) return { y = args.x * args.factor + args.y } end,
  tolerance = { rtol = 1e-6, atol = 1e-6 },
}
]] },
  { "spec/axpy_spec.lua", [[
local baton = require "baton"
local glue = require "baton.busted"
local scene = dofile "scenes/axpy.lua"
local tensor = require "baton.tensor"

glue.scene "scenes/axpy.lua" -- every case on every platform and runtime

describe("axpy", function()
  it("refuses vectors of different lengths", function()
    local chip <close> = baton.worker {}
    glue.raises("signature", chip.run, chip, scene.program,
      { x = tensor.zeros("f32", { 3 }), y = tensor.zeros("f32", { 4 }), factor = 1 })
  end)
end)
]] },
}

local function parser()
  local p = argparse("baton new", "Write a small complete project: a kernel, a scene with its expected result, a spec.")
  p:argument("directory", "Where; a folder that is not there yet.")
  return p
end

local function write(path, text)
  local folder = path:match "^(.*)/"
  local made, why = host.make_folder(folder, 511)
  if not made then options.fail("io_error", ("cannot make the folder %s"):format(why or folder)) end
  local file, problem = io.open(path, "w")
  if not file or not file:write(text) or not file:close() then
    options.fail("io_error", ("cannot write %s"):format(problem or path))
  end
end

--- Runs the command with its arguments; returns the exit status.
function new.main(...)
  local directory = settings.parse(parser(), { ... }).directory
  if host.kind(directory) then
    options.fail("invalid_argument", ("%s is there already"):format(directory), "name a folder that is not there yet")
  end
  for _, file in ipairs(files) do write(directory .. "/" .. file[1], file[2]) end
  io.write(("%s is ready:\n  cd %s\n  baton run scenes/axpy.lua\n  baton test spec\n"):format(directory, directory))
  return status.ok
end

return new
