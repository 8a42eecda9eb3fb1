-- baton.golden: expected results that are computed in C. `golden = { source = "golden.c", entry = "golden" }` names a
-- kernel over the arguments of the scene's program; it is one task on a simulated chip, so that it is compiled, checked and
-- contained like any kernel.
local baton = require "baton"
local tensor = require "baton.tensor"

local golden = {}

local function absolute(path, folder) return path:sub(1, 1) == "/" and path or folder .. "/" .. path end

-- The program's signature with directions for a kernel: shapes and dtypes were checked when the arguments were.
local function kernel_signature(signature)
  local list = {}
  for i, entry in ipairs(signature) do list[i] = { entry[1], entry[2] } end
  return list
end

local function program_of(scene, signature)
  local entry = scene.golden.entry or "golden"
  local kernel = { core = "aiv", source = absolute(scene.golden.source, scene.folder or "."), entry = entry,
    signature = signature }
  return baton.program {
    name = scene.name .. ": golden", signature = signature, kernels = { golden = kernel },
    graph = function(g, ...) g.aiv("golden", { ... }) end,
  }
end

--- The expected outputs by name. `args` are the arguments as before the run; they stay as they are.
function golden.run(scene, args)
  local results, passed = {}, {}
  local signature = kernel_signature(scene:signature(args))
  for _, entry in ipairs(signature) do
    local name, direction = entry[1], entry[2]
    if direction == "out" then results[name] = tensor.zeros(args[name].dtype, args[name].shape) end
    if direction == "inout" then results[name] = args[name]:clone() end
    passed[name] = results[name] or args[name]
  end
  local chip <close> = baton.worker { platform = baton.platforms()[1] }
  chip:run(program_of(scene, signature), passed)
  return results
end

return golden
