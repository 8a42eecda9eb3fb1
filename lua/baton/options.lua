-- baton.options: checks that the Lua modules share. Every failure is an error object (api: code, message, hint).
local failure = require "baton.error"

local options = {}

--- Raises an error object.
function options.fail(code, message, hint)
  error(failure.new { code = code, message = message, hint = hint }, 0)
end

--- The keys of a table, sorted.
function options.keys(t)
  local keys = {}
  for key in pairs(t) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

--- ", did you mean 'NAME'?" for the name nearest to `word`, or an empty string.
function options.suggestion(word, names)
  local nearest = type(word) == "string" and failure.nearest(word, names)
  return nearest and (", did you mean '%s'?"):format(nearest) or ""
end

--- What a message says of a value.
function options.describe(value)
  local kind = type(value)
  if kind == "string" then return ("'%s'"):format(value) end
  if kind == "number" or kind == "boolean" or kind == "nil" then return tostring(value) end
  return "a " .. kind
end

local function has_type(value, expected)
  if expected == "any" then return true end
  if expected == "integer" then return math.type(value) == "integer" end
  return type(value) == expected
end

--- Checks that `t` has only the keys of `known`, a table from name to type: "string", "table", "function", "integer",
--- "number", "boolean" or "any"; "!" after the type: must be there. `what` begins the messages.
function options.check(what, t, known)
  local names = options.keys(known)
  if type(t) ~= "table" then
    options.fail("invalid_argument", ("%s: a table expected, got %s"):format(what, options.describe(t)))
  end
  for key in pairs(t) do
    if not known[key] then
      options.fail("unknown_option", ("%s: unknown key %s%s"):format(what, options.describe(key),
        options.suggestion(key, names)), "known keys: " .. table.concat(names, ", "))
    end
  end
  for _, name in ipairs(names) do
    local expected, required = known[name]:match("^(%a+)(!?)$")
    if t[name] == nil and required ~= "" then
      options.fail("invalid_argument", ("%s: field '%s' is missing"):format(what, name))
    elseif t[name] ~= nil and not has_type(t[name], expected) then
      options.fail("invalid_argument", ("%s: field '%s' must be %s %s, got %s"):format(what, name,
        expected:match("^[aeiou]") and "an" or "a", expected, options.describe(t[name])))
    end
  end
end

--- Whether a value is a host tensor.
function options.is_tensor(value)
  local class = getmetatable(value)
  return type(class) == "table" and class.__name == "baton.tensor"
end

--- Checks that `t` is a list of strings.
function options.check_names(what, t)
  for i, name in ipairs(t) do
    if type(name) ~= "string" then
      options.fail("invalid_argument", ("%s[%d] must be a string, got %s"):format(what, i, options.describe(name)))
    end
  end
  for key in pairs(t) do
    if math.type(key) ~= "integer" or key < 1 or key > #t then
      options.fail("invalid_argument", ("%s must be a list, it has the key %s"):format(what, options.describe(key)))
    end
  end
end

--- A new table with the entries of all arguments; later ones win, nil counts as empty.
function options.merge(...)
  local merged = {}
  for i = 1, select("#", ...) do
    for key, value in pairs(select(i, ...) or {}) do merged[key] = value end
  end
  return merged
end

return options
