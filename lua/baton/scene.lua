-- baton.scene: a program or, at levels 3 and 4, an orchestrating function; its cases, the data for them and the results that are
-- expected.
local failure = require "baton.error"
local options = require "baton.options"

local scene = {}

local most_workers = 64 -- chips of a node, and sub workers

local class = { __name = "baton.scene" }
class.__index = class
function class:__tostring() return ("scene %s, %d cases"):format(self.name, #self.cases) end

local scene_fields = {
  name = "string!", level = "integer", program = "any", orchestrate = "function", worker = "table",
  platforms = "table", runtimes = "table", config = "table", cases = "table", args = "function!", golden = "any",
  tolerance = "table", unchecked = "table",
}
local case_fields = {
  name = "string!", params = "table", manual = "boolean", config = "table", tolerance = "table",
}

local function check_tolerance(what, tolerance)
  if tolerance then options.check(what .. ": tolerance", tolerance, { rtol = "number", atol = "number" }) end
end

local function check_names(what, list)
  if list then options.check_names(what, list) end
end

-- Returns the cases with their defaults filled in.
local function check_cases(what, cases)
  local checked, seen = {}, {}
  for i, case in ipairs(cases) do
    local label = ("%s: cases[%d]"):format(what, i)
    options.check(label, case, case_fields)
    check_tolerance(label, case.tolerance)
    if seen[case.name] then
      options.fail("invalid_argument", ("%s: cases[%d] and cases[%d] are both named '%s'"):format(what, seen[case.name],
        i, case.name))
    end
    seen[case.name] = i
    checked[i] = options.merge({ params = {} }, case)
  end
  if #checked == 0 then options.fail("invalid_argument", what .. ": cases is empty") end
  return checked
end

local function check_golden(what, golden)
  if type(golden) == "table" then
    options.check(what .. ": golden", golden, { source = "string!", entry = "string" })
  elseif golden ~= nil and type(golden) ~= "function" then
    options.fail("invalid_argument", ("%s: field 'golden' must be a function or a table, got %s"):format(what,
      options.describe(golden)))
  end
end

local function check_level(what, definition)
  local level = definition.level or 2
  local wanted, other = "program", "orchestrate"
  if level < 2 or level > 4 then
    options.fail("invalid_argument", ("%s: level must be 2, 3 or 4, got %d"):format(what, level))
  end
  if level > 2 then wanted, other = other, wanted end
  if definition[wanted] == nil then
    options.fail("invalid_argument", ("%s: field '%s' is missing, level %d needs it"):format(what, wanted, level))
  elseif definition[other] ~= nil then
    options.fail("invalid_argument", ("%s: field '%s' does not belong to level %d"):format(what, other, level))
  end
  return level
end

-- What a node needs: so many chips, the command line chooses which, and so many sub workers.
local function check_node(what, worker)
  local function check(field, least)
    local value = worker[field]
    if value ~= nil and (math.type(value) ~= "integer" or value < least or value > most_workers) then
      options.fail("invalid_argument", ("%s: worker: field '%s' must be an integer from %d to %d, got %s"):format(what, field,
        least, most_workers, options.describe(value)), field == "devices"
        and "it says how many devices the scene needs; the command line chooses which: -d 0-1" or nil)
    end
  end
  check("devices", 1)
  check("subs", 0)
  if worker.device ~= nil then
    options.fail("invalid_argument", what .. ": worker: field 'device' does not belong to a node",
      "say with 'devices' how many it needs; the command line chooses which: -d 0-1")
  end
end

-- What a node of nodes needs: so many nodes, each as above, and so many sub workers of its own.
local function check_children(what, worker)
  local children = worker.children
  if type(children) ~= "table" or #children == 0 then
    options.fail("invalid_argument", ("%s: worker: field 'children' must be a list of what each node needs, got %s"):format(what,
      options.describe(children)))
  end
  for i, child in ipairs(children) do
    if type(child) ~= "table" then
      options.fail("invalid_argument", ("%s: worker: children[%d] must be a table, got %s"):format(what, i,
        options.describe(child)))
    end
    check_node(("%s: children[%d]"):format(what, i), child)
  end
  if worker.devices ~= nil then
    options.fail("invalid_argument", what .. ": worker: field 'devices' does not belong to level 4",
      "each of the children says how many it needs")
  end
  check_node(what, worker)
end

--- baton.scene{...}: checks the definition and returns the scene.
function scene.new(definition)
  local what = "scene"
  if type(definition) == "table" and type(definition.name) == "string" then what = "scene " .. definition.name end
  options.check(what, definition, scene_fields)
  local level = check_level(what, definition)
  if level == 3 then check_node(what, definition.worker or {}) end
  if level == 4 then check_children(what, definition.worker or {}) end
  check_names(what .. ": platforms", definition.platforms)
  check_names(what .. ": runtimes", definition.runtimes)
  check_names(what .. ": unchecked", definition.unchecked)
  check_tolerance(what, definition.tolerance)
  check_golden(what, definition.golden)
  local cases = check_cases(what, definition.cases or { { name = "default" } })
  local made = options.merge(definition, { level = level, cases = cases })
  return setmetatable(made, class)
end

function scene.is(value) return getmetatable(value) == class end

--- The case called `name`, or nil.
function class:case(name)
  for _, case in ipairs(self.cases) do
    if case.name == name then return case end
  end
end

-- What the arguments of a node say of themselves, by their names: it may write any tensor.
local function signature_of(args)
  local list = {}
  for _, name in ipairs(options.keys(args)) do
    local value = args[name]
    if options.is_tensor(value) then
      list[#list + 1] = { name, "inout", value.dtype }
    elseif math.type(value) then
      list[#list + 1] = { name, math.type(value) == "integer" and "i64" or "f64" }
    end
  end
  return list
end

--- The entries of the program's signature: a list, and the same by name. Of a node there is none: what `args` are like.
function class:signature(args)
  local list, by_name = self.program and self.program.signature or {}, {}
  if self.level > 2 then list = signature_of(args) end
  for _, entry in ipairs(list) do by_name[entry[1]] = entry end
  return list, by_name
end

--- The runtimes that its program can run on, the default one first. One `false` for a node: each program of the run takes
--- its own.
function class:fitting_runtimes()
  if self.level > 2 then return self.runtimes or { false } end
  return self.runtimes or self.program and self.program.runtimes or {}
end

local too_many_files = { [23] = true, [24] = true } -- errno

local function read_file(path)
  local file, why, number = io.open(path, "rb")
  if not file then options.fail(too_many_files[number] and "resource_limit" or "bad_file", "scene " .. why) end
  local text
  text, why = file:read("a")
  file:close()
  if not text then options.fail("bad_file", ("scene %s: %s"):format(path, why)) end
  return text
end

-- A scene file is Lua: what it raises itself becomes the message, with the place in the file that it names.
local function execute(path, chunk)
  local ok, result = xpcall(chunk, function(err)
    return type(err) == "string" and failure.new { code = "bad_file", message = "scene " .. err } or err
  end, path)
  if not ok then error(result, 0) end
  return result
end

--- Loads a scene file. Raises `bad_file` if the file is missing, is no Lua or does not return a scene.
function scene.load(path)
  local text = read_file(path):gsub("^#[^\n]*", "")
  local chunk, why = load(text, "@" .. path, "t")
  if not chunk then options.fail("bad_file", "scene " .. why) end
  local result = execute(path, chunk)
  if result == nil then
    options.fail("bad_file", ("scene %s returns nothing"):format(path), "end the file with `return baton.scene { … }`")
  elseif not scene.is(result) then
    options.fail("bad_file", ("scene %s returns %s, not a scene"):format(path, options.describe(result)),
      "end the file with `return baton.scene { … }`")
  end
  result.folder = path:match "^(.*)/" or "."
  return result
end

return scene
