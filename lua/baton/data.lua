-- baton.data: the values of --input, --output and --param.
local failure = require "baton.error"
local options = require "baton.options"
local tensor = require "baton.tensor"

local data = {}

local function split(option, text, form)
  local name, value = text:match("^([^=]+)=(.*)$")
  if not name or value == "" then
    options.fail("invalid_argument", ("%s %s: expected %s"):format(option, text, form))
  end
  return name, value
end

-- "NAME=@FILE" -> NAME, FILE
local function split_file(option, text)
  local name, value = split(option, text, "NAME=@FILE")
  local path = value:match("^@(.+)$")
  if not path then
    options.fail("invalid_argument", ("%s %s: expected NAME=@FILE"):format(option, text),
      ("put an @ in front of the file: %s=@%s"):format(name, value))
  end
  return name, path
end

-- A file that cannot be read is the command's mistake, whatever the reason.
local function load_tensor(option, name, path)
  local archive, key = path:match("^(.+%.npz):([^:]+)$")
  local ok, loaded = pcall(tensor.load, archive or path, key)
  if ok then return loaded end
  if not failure.is(loaded) then error(loaded, 0) end
  options.fail(loaded.code == "io_error" and "bad_file" or loaded.code, ("%s %s: %s"):format(option, name, loaded.message),
    loaded.hint)
end

--- Reads a list of "NAME=@file.npy" and "NAME=@file.npz:key"; returns the tensors by name.
function data.load_inputs(texts)
  local inputs = {}
  for _, text in ipairs(texts) do
    local name, path = split_file("--input", text)
    if inputs[name] then options.fail("invalid_argument", ("--input %s is given twice"):format(name)) end
    inputs[name] = load_tensor("--input", name, path)
  end
  return inputs
end

--- Reads a list of "NAME=@file.npy"; returns paths by name.
function data.read_outputs(texts)
  local outputs = {}
  for _, text in ipairs(texts) do
    local name, path = split_file("--output", text)
    if outputs[name] then options.fail("invalid_argument", ("--output %s is given twice"):format(name)) end
    outputs[name] = path
  end
  return outputs
end

local function read_value(text)
  if text == "true" or text == "false" then return text == "true" end
  return tonumber(text) or text
end

--- Reads a list of "name=value": integers, floats, true, false, and everything else as text.
function data.read_params(texts)
  local params = {}
  for _, text in ipairs(texts) do
    local name, value = split("--param", text, "NAME=VALUE")
    params[name] = read_value(value)
  end
  return params
end

--- Checks that every parameter exists in `known` (the parameters of a case) and has the type that it has there.
function data.check_params(scene, params, known)
  for _, name in ipairs(options.keys(params)) do
    local value, declared = params[name], known[name]
    if declared == nil then
      options.fail("unknown_option", ("scene %s has no parameter '%s'%s"):format(scene.name, name,
        options.suggestion(name, options.keys(known))), "parameters: " .. table.concat(options.keys(known), ", "))
    end
    local integer = math.type(declared) == "integer" and math.type(value) ~= "integer"
    if type(value) ~= type(declared) or integer then
      options.fail("invalid_argument", ("--param %s=%s: %s expected"):format(name, tostring(value),
        integer and "an integer" or "a " .. type(declared)))
    end
  end
end

--- Checks that every name stands in the signature, which is that of the scene's program; `outputs`: as something it writes.
function data.check_names(scene, signature, option, files, outputs)
  local names, known = {}, {}
  for _, entry in ipairs(signature) do
    local writes = entry[2] == "out" or entry[2] == "inout"
    if not outputs or writes then
      names[#names + 1] = entry[1]
      known[entry[1]] = true
    end
  end
  for _, name in ipairs(options.keys(files)) do
    if not known[name] then
      options.fail("invalid_argument", ("%s %s: scene %s has no %s of that name%s"):format(option, name, scene.name,
        outputs and "output" or "argument", options.suggestion(name, names)),
        (outputs and "outputs: " or "arguments: ") .. table.concat(names, ", "))
    end
  end
end

return data
