-- The table of benchmark_rounds.sh: what `baton bench --json` said with reuse (first argument) and without (second).
local json = require "baton.json"

local function read(path)
  local file = assert(io.open(path))
  local value = json.decode(file:read "a")
  file:close()
  return value.cases
end

local function name_of(case)
  local words = {}
  for i, key in ipairs { "scene", "platform", "runtime", "case" } do
    words[i] = case[key] == json.null and "-" or case[key]
  end
  return table.concat(words, "  ")
end

local passed, failed = 0, 0

-- Whether a case ran; what it failed with is printed.
local function counts(case)
  if case.ok then
    passed = passed + 1
    return true
  end
  failed = failed + 1
  print(("%s  FAIL  %s"):format(name_of(case), case.error ~= json.null and case.error.message or "results differ"))
  return false
end

local columns = { { "host", "host_us" }, { "device", "device_us" }, { "orch", "orch_us" } }

local lines, widths = {}, {}

local function add_line(cells)
  lines[#lines + 1] = cells
  for i, cell in ipairs(cells) do widths[i] = math.max(widths[i] or 0, utf8.len(cell)) end
end

local function add_numbers(label, numbers)
  local cells = { label }
  for i, value in ipairs(numbers) do cells[i + 1] = ("%.1f"):format(value) end
  add_line(cells)
end

-- First round, then the steady state of each column, then host without reuse, and how much cheaper reuse is.
local function numbers_of(with, without)
  local host = with.summary.host_us
  local numbers = { host.first }
  for _, column in ipairs(columns) do numbers[#numbers + 1] = with.summary[column[2]].steady_mean end
  numbers[#numbers + 1] = without.summary.host_us.steady_mean
  numbers[#numbers + 1] = without.summary.host_us.steady_mean / host.steady_mean
  return numbers
end

local opening, sums = {}, {}
for _, case in ipairs(read(arg[2])) do
  if counts(case) then opening[name_of(case)] = case end
end
add_line { "scene  platform  runtime  case", "first", "host", "device", "orch", "no reuse", "ratio" }
for _, case in ipairs(read(arg[1])) do
  local name = name_of(case)
  if counts(case) and opening[name] then
    local numbers = numbers_of(case, opening[name])
    add_numbers(name, numbers)
    local group = case.platform .. "  " .. case.runtime
    if not sums[group] then
      sums[group] = { 0, 0, 0, 0, 0 }
      sums[#sums + 1] = group
    end
    for i in ipairs(sums[group]) do sums[group][i] = sums[group][i] + numbers[i] end
  end
end
for _, group in ipairs(sums) do
  local sum = sums[group]
  sum[6] = sum[5] / sum[2]
  add_numbers("sum  " .. group, sum)
end

for _, cells in ipairs(lines) do
  local shown = { cells[1] .. (" "):rep(widths[1] - utf8.len(cells[1])) }
  for i = 2, #cells do shown[i] = (" "):rep(widths[i] - utf8.len(cells[i])) .. cells[i] end
  print(table.concat(shown, "  "))
end
print(("%d passed, %d failed"):format(passed, failed))
os.exit(failed == 0)
