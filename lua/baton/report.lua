-- baton.report: what `baton run` and `baton bench` print: a line a case and a summary, or one JSON value.
local failure = require "baton.error"
local json = require "baton.json"
local output = require "baton.output"

local report = {}

local class = {}
class.__index = class

local function milliseconds(us) return us and ("%.3f ms"):format(us / 1000) or "-" end

local function verdict(result)
  if result.error then return "FAIL  " .. tostring(result.error) end
  local worst = result.worst
  if worst then return ("FAIL  %s: %s"):format(worst.tensor, tostring(worst.report)) end
  return result.checked and "PASS" or "PASS  unchecked"
end

-- NaN and infinities have no form in JSON: they are given as text.
local function json_number(value)
  if value ~= value or value == math.huge or value == -math.huge then return tostring(value) end
  return value
end

local function json_text(text) return utf8.len(text) and text or text:gsub("[\x80-\xff]", "?") end

local error_fields = { "code", "message", "hint", "task", "kernel", "core", "device", "worker", "round", "signal",
  "after_ms", "cause", "path" }

function report.json_error(err)
  if err == nil then return json.null end
  if not failure.is(err) then return { code = "user_fail", message = json_text(tostring(err)) } end
  local fields = {}
  for _, name in ipairs(error_fields) do
    local value = err[name]
    fields[name] = type(value) == "string" and json_text(value) or value
  end
  return fields
end

function report.json_worst(worst)
  if not worst then return json.null end
  local difference = worst.report
  return { tensor = worst.tensor, index = json.array(table.move(difference.index, 1, #difference.index, 1, {})),
    got = json_number(difference.got), want = json_number(difference.want) }
end

local function json_case(result)
  local median = result.median_us or {}
  return {
    scene = json_text(result.scene), platform = result.platform or json.null, runtime = result.runtime or json.null,
    case = result.case or json.null, level = result.level or json.null, isolation = result.isolation or json.null,
    rounds = result.rounds or 0, ok = result.ok == true, error = report.json_error(result.error),
    worst = report.json_worst(result.worst),
    median_us = { host = median.host or json.null, device = median.device or json.null },
  }
end

local function median_times(result)
  local median = result.median_us
  return median and ("  host %s  device %s"):format(milliseconds(median.host), milliseconds(median.device)) or ""
end

--- A report. With `as_json` the lines go to stderr and stdout gets the JSON value at the end. `form` says what is different
--- from `baton run`: json(result) is the case in that value, times(result) ends its line, details(result) comes below it.
function report.new(as_json, form)
  form = form or { json = json_case, times = median_times, details = function() return "" end }
  return setmetatable({ as_json = as_json, form = form, out = as_json and io.stderr or io.stdout, cases = {}, passed = 0,
    failed = 0, skipped = 0 }, class)
end

-- "small", or "small with A, B" where these are the user's own.
local function case_label(result)
  local given = table.concat(result.given or {}, ", ")
  return given == "" and result.case or result.case .. " with " .. given
end

--- Counts and prints one result.
function class:add(result)
  local count = result.ok and "passed" or "failed"
  self[count] = self[count] + 1
  self.cases[#self.cases + 1] = self.form.json(result)
  local where = result.case and ("%s  %s  %s  %s  %d round%s"):format(result.scene, result.platform, result.runtime or "-",
    case_label(result), result.rounds or 0, result.rounds == 1 and "" or "s") or result.scene
  self.out:write(where, "  ", verdict(result), self.form.times(result), "\n", self.form.details(result))
  self.out:flush()
end

--- Counts and prints a case that this machine or the options leave out.
function class:skip(result, reason)
  self.skipped = self.skipped + 1
  local runtime = result.runtime and result.runtime .. "  " or ""
  self.out:write(("%s  %s  %s%s  SKIP  %s\n"):format(result.scene, result.platform, runtime, result.case, reason))
end

--- A line that is neither a case nor the summary.
function class:note(text) self.out:write(text, "\n") end

--- Prints the summary, or the JSON value.
function class:finish()
  self.out:write(("%d passed, %d failed, %d skipped\n"):format(self.passed, self.failed, self.skipped))
  if self.as_json then
    local value = { baton = require("baton").version, cases = json.array(self.cases), passed = self.passed,
      failed = self.failed, skipped = self.skipped }
    output.check(io.stdout:write(json.encode(value, 2), "\n"))
  end
end

return report
