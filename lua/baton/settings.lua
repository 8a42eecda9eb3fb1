-- baton.settings: the options that several commands share, and the same from the environment. Each value is checked when it
-- is read, and a message names the knob that it came from: --timeout, BATON_TIMEOUT.
local options = require "baton.options"

local settings = {}

local runtimes = { "host_build_graph", "tensormap_and_ringbuffer", "aicpu_build_graph" }
local most_seconds = 1e9

settings.most_devices = 1024 -- of a platform, numbered from 0

local function refuse(knob, text, expected, hint)
  options.fail("invalid_argument", ("%s %s: %s expected"):format(knob, text, expected), hint)
end

--- The number in `text`, at least `least`; nil for no text.
function settings.number(knob, text, least, integer)
  if text == nil then return nil end
  local value = tonumber(text)
  if integer then value = math.tointeger(value) end
  if not value or value ~= value or value < least or value == math.huge then
    refuse(knob, text, ("%s of at least %s"):format(integer and "an integer" or "a number", least))
  end
  return value
end

-- One of `names`.
local function choice(knob, text, names)
  for _, name in ipairs(names) do
    if name == text then return text end
  end
  options.fail("invalid_argument", ("%s %s: no such %s%s"):format(knob, text, knob:lower():match "%a+$",
    options.suggestion(text, names)), "known: " .. table.concat(names, ", "))
end

local readers = {}

-- The environment is read by workers too, which take one platform and one device each.
local function is_variable(knob) return knob:sub(1, 2) ~= "--" end

-- "a2a3sim", "a2a3sim,a5sim", "all"
function readers.platform(knob, text)
  local known, list = require("baton").platforms(), {}
  if is_variable(knob) then return { choice(knob, text, known) } end
  if text == "all" then return known end
  for name in (text .. ","):gmatch "([^,]*)," do list[#list + 1] = choice(knob, name, known) end
  return list
end

-- "0", "0-3", "0,2"
function readers.device(knob, text)
  local list = {}
  if is_variable(knob) and not text:match "^%d+$" then
    refuse(knob, text, ("a device number below %d"):format(settings.most_devices))
  end
  for part in (text .. ","):gmatch "([^,]*)," do
    local first, last = part:match "^(%d+)%-(%d+)$"
    first = math.tointeger(tonumber(first or part:match "^%d+$"))
    last = last and math.tointeger(tonumber(last)) or first
    if not first or last < first or last >= settings.most_devices then
      refuse(knob, text, ("device numbers below %d such as 0, 0-3 or 0,2"):format(settings.most_devices))
    end
    for device = first, last do list[#list + 1] = device end
  end
  return list
end

function readers.runtime(knob, text)
  return text == "all" and not is_variable(knob) and text or choice(knob, text, runtimes)
end

function readers.isolation(knob, text) return choice(knob, text, { "thread", "process" }) end

function readers.timeout(knob, text)
  local seconds = tonumber(text)
  if not seconds or not (seconds > 0 and seconds <= most_seconds) then
    refuse(knob, text, "a number of seconds above 0 and at most 1e9")
  end
  return seconds
end

function readers.seed(knob, text) return settings.number(knob, text, 0, true) end

--- Adds the shared options to a parser.
function settings.add_options(parser)
  parser:option("-p --platform", "Platform, a list such as a2a3sim,a5sim, or all.")
  parser:option("-d --device", "Device numbers: 0, 0-3 or 0,2; a chip takes the first.")
  parser:option("--runtime", "Graph runtime, or all.")
  parser:option("--isolation", "thread or process.")
  parser:option("--timeout", "Deadline of each case in seconds.")
  parser:option("--seed", "Seed of generated data.")
end

--- What the command line says and what the environment says: two tables with the keys platform and device (lists),
--- runtime, isolation, timeout and seed.
function settings.read(arguments)
  local command, environment = {}, {}
  for _, name in ipairs(options.keys(readers)) do
    local variable = "BATON_" .. name:upper()
    local text, default = arguments[name], os.getenv(variable)
    if text then command[name] = readers[name]("--" .. name, text) end
    if default and default ~= "" then environment[name] = readers[name](variable, default) end
  end
  return command, environment
end

-- The parser takes "-1" for an option: behind an option it is the value, written as "--seed=-1".
local function join_negative(arguments)
  local joined, only_operands = {}, false
  for _, argument in ipairs(arguments) do
    local option = joined[#joined]
    if not only_operands and argument:match "^%-[%d.]" and option and option:match "^%-%-[%w-]+$" then
      joined[#joined] = option .. "=" .. argument
    else
      only_operands = only_operands or argument == "--"
      joined[#joined + 1] = argument
    end
  end
  return joined
end

--- Parses the arguments of a command; what is wrong raises `invalid_argument` in one line.
function settings.parse(parser, arguments)
  local ok, parsed = parser:pparse(join_negative(arguments))
  if not ok then options.fail("invalid_argument", (parsed:gsub("\n", ", "))) end
  return parsed
end

return settings
