-- Values that no function expects, and what must come of them: a result, or an error that says what is wrong.
local baton = require "baton"
local failure = require "baton.error"
local tensor = baton.tensor

local hostile = {}

local function resist() error "it resists" end

local function huge()
  local t = {}
  for i = 1, 10000 do t[i] = i end
  return t
end

local function cyclic()
  local t = {}
  t[1], t.x, t.self = t, t, t
  return t
end

local function closed_tensor()
  local t = tensor.zeros("f32", { 1 })
  t:close()
  return t
end

--- A list of { name, value }; `more` are those of a spec, by name.
function hostile.values(more)
  local resisting = setmetatable({}, { __index = resist, __newindex = resist, __len = resist, __pairs = resist,
    __call = resist, __tostring = resist, __name = "resisting" })
  local list = {
    { "nil" }, { "NaN", 0 / 0 }, { "inf", math.huge }, { "-inf", -math.huge }, { "-1", -1 }, { "0", 0 }, { "0.5", 0.5 },
    { "2^63", 2.0 ^ 63 }, { "2^31", 1 << 31 }, { "2^32", 1 << 32 }, { "maxinteger", math.maxinteger },
    { "mininteger", math.mininteger }, { "true", true }, { "false", false }, { "an empty string", "" }, { "'1'", "1" },
    { "a zero byte", "a\0b" }, { "no UTF-8", "\xff\xfe" }, { "a long string", ("é"):rep(100000) }, { "a format", "%s%n%d" },
    { "an empty table", {} }, { "a huge table", huge() }, { "a cyclic table", cyclic() }, { "a list with a hole", { 1, nil, 3 } },
    { "odd keys", { [true] = 1, [1.5] = 2, [print] = 3 } }, { "a resisting table", resisting },
    { "a list of such", { resisting, resisting } }, { "a C function", coroutine.running }, { "a function that raises", resist },
    { "a coroutine", coroutine.create(resist) }, { "a file", io.stdout }, { "a tensor", tensor.zeros("f32", { 1 }) },
    { "a closed tensor", closed_tensor() }, { "a wide tensor", tensor.zeros("u8", { 1, 2, 1, 2, 1, 2, 1, 2 }) },
    { "an argument", baton.output { "f32", { 1 } } }, { "a list of arguments", baton.args { 1 } },
  }
  for name, value in pairs(more or {}) do list[#list + 1] = { name, value } end
  return list
end

-- What is wrong with the error of a call; nil if it is as it should be.
local function complaint(err)
  if type(err) == "string" and err:find("it resists", 1, true) then return nil end
  if not failure.is(err) then return "no error object: " .. tostring(err) end
  if err.message == "" then return "it says nothing" end
end

-- Nodes, runs, rounds and buffers; others have no such function.
local function close(object) pcall(function() object:close() end) end

--- Calls `f` with a hostile value in place of each of the `count` arguments that are right, one after the other, and behind them.
--- Adds what is wrong with errors to `complaints`; returns how many calls that were. What a call returns is closed.
function hostile.try(name, f, arguments, count, values, complaints)
  for position = 1, count + 1 do
    for _, entry in ipairs(values) do
      local list = table.move(arguments, 1, count, 1, {})
      list[position] = entry[2]
      local ok, result = pcall(f, table.unpack(list, 1, math.max(count, position)))
      local wrong = not ok and complaint(result)
      if wrong then complaints[#complaints + 1] = ("%s, argument %d, %s: %s"):format(name, position, entry[1], wrong) end
      if ok then close(result) end
    end
  end
  return (count + 1) * #values
end

--- The same for the entries of a table, of options or of arguments, which `call` gets.
function hostile.try_entries(name, call, entries, values, complaints)
  local calls = 0
  for key in pairs(entries) do
    local function with(value)
      local changed = {}
      for k, v in pairs(entries) do changed[k] = v end
      changed[key] = value
      return call(changed)
    end
    calls = calls + hostile.try(("%s, %s"):format(name, key), with, {}, 0, values, complaints)
  end
  return calls
end

return hostile
