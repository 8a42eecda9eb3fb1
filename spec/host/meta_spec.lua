local baton = require "baton"
local command = require "spec.support.command"

-- Names that the stubs in lua/meta document, by the variable in front of them: documented.worker.run
local function read_stubs()
  local documented = {}
  local list = assert(io.popen("ls lua/meta/*.lua"))
  for path in list:lines() do
    for noun, name in command.read(path):gmatch "\nfunction ([%w_]+)[.:]([%w_]+)%(" do
      documented[noun] = documented[noun] or {}
      documented[noun][name] = true
    end
  end
  list:close()
  return documented
end

local function add_functions(names, t)
  for name, value in pairs(t) do
    if type(value) == "function" then names[name] = true end
  end
  return names
end

-- The methods of a class: its __index is a function that keeps them in its first upvalue, or the table itself.
local function add_methods(names, object)
  local index = getmetatable(object).__index
  if type(index) == "function" then
    local _, methods = debug.getupvalue(index, 1)
    index = methods
  end
  return add_functions(names, index)
end

-- What is bound, by the same variables.
local function collect()
  local graph, device_tensor = {}, {}
  local program = baton.program { name = "empty", signature = { { "x", "in" } }, kernels = {}, graph = function(g, x)
    add_functions(graph, g)
    add_methods(device_tensor, x)
  end }
  local chip <close> = baton.worker {}
  local run = chip:submit(program, { baton.tensor.zeros("f32", { 1 }) })
  run:wait()
  local orch, task, node <close> = {}, {}, baton.worker { level = 3, devices = 0, subs = 1, isolation = "thread" }
  node:run(function(o)
    add_functions(orch, o)
    add_methods(task, o.submit_sub(function() end))
  end)
  local buffer, handle = chip:malloc(16), chip:register(program)
  local rounds <close> = chip:rounds(program, { baton.tensor.zeros("f32", { 1 }) })
  return {
    baton = add_functions({}, baton), json = add_functions({}, baton.json), error_module = add_functions({}, baton.error),
    tensor = add_methods(add_functions({}, baton.tensor), baton.tensor.zeros("f32", { 1 })),
    program = add_methods({}, program), worker = add_methods({}, chip), run = add_methods({}, run), g = graph,
    rounds = add_methods({}, rounds), node = add_methods({}, node), orch = orch, sub_task = task,
    device_tensor = device_tensor, buffer = add_methods({}, buffer), handle = add_methods({}, handle),
    child_tensor = add_methods({}, buffer:tensor("f32", { 4 })),
  }
end

describe("lua/meta", function()
  local documented, bound = read_stubs(), collect()

  local function missing(from, names)
    local list = {}
    for name in pairs(names) do
      if not (from or {})[name] then list[#list + 1] = name end
    end
    table.sort(list)
    return list
  end

  for noun, names in pairs(bound) do
    it("documents every function of " .. noun, function() assert.same({}, missing(documented[noun], names)) end)

    it("documents no function of " .. noun .. " that does not exist", function()
      assert.same({}, missing(names, documented[noun] or {}))
    end)
  end
end)
