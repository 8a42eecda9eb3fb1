-- baton.show: values as a prompt prints them: what has a text of its own is shown by that, a plain table by its first entries.
local options = require "baton.options"

local show = {}

local most_entries, most_depth = 16, 2

local function has_text(value)
  local class = getmetatable(value)
  return type(class) == "table" and (class.__tostring or class.__name) ~= nil
end

local function show_key(key)
  if type(key) == "string" and key:match "^[%a_][%w_]*$" then return key end
  return ("[%s]"):format(type(key) == "string" and ("%q"):format(key) or tostring(key))
end

-- The keys behind the list part, texts and numbers sorted, others as they come.
local function other_keys(t, length)
  local plain, rest = {}, {}
  for key in next, t do
    if math.type(key) ~= "integer" or key < 1 or key > length then
      local list = (type(key) == "string" or type(key) == "number") and plain or rest
      list[#list + 1] = key
    end
  end
  table.sort(plain, function(a, b)
    if type(a) == type(b) then return a < b end
    return type(a) == "number"
  end)
  return table.move(rest, 1, #rest, #plain + 1, plain)
end

local show_nested

local function show_table(t, depth)
  local parts, length = {}, rawlen(t)
  local others = other_keys(t, length)
  local total = length + #others
  for i = 1, math.min(length, most_entries) do parts[i] = show_nested(rawget(t, i), depth) end
  for _, key in ipairs(others) do
    if #parts >= most_entries then break end
    parts[#parts + 1] = ("%s = %s"):format(show_key(key), show_nested(rawget(t, key), depth))
  end
  if total > #parts then parts[#parts + 1] = ("… %d more"):format(total - #parts) end
  return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
end

function show_nested(value, depth)
  if type(value) == "string" then return options.describe(value) end
  if type(value) ~= "table" or has_text(value) then
    local text = tostring(value)
    local first = text:match "^[^\n]*"
    return first == text and text or first .. " …"
  end
  return depth >= most_depth and "{ … }" or show_table(value, depth + 1)
end

--- One value as text.
function show.value(value)
  if type(value) ~= "table" or has_text(value) then return tostring(value) end
  return show_table(value, 1)
end

return show
