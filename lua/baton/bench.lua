-- baton.bench: `baton bench SCENE… [options]`, the times of each round of a case.
local argparse = require "baton.argparse"
local case_runner = require "baton.case"
local cases = require "baton.cases"
local host = require "baton.host"
local json = require "baton.json"
local options = require "baton.options"
local place = require "baton.place"
local report = require "baton.report"
local settings_module = require "baton.settings"
local timings = require "baton.timings"

local bench = {}

local function parser()
  local p = argparse("baton bench", "Time each round of the cases of scenes, and check the results of the last one.")
  cases.add_options(p)
  p:option("--rounds", "Rounds of each case."):default "100"
  p:flag("--no-reuse", "Open and close everything in each round: worker, memory and graph.")
  p:flag("--show-host", "Show what the time on the host is spent on.")
  return p
end

-- Microseconds between two moments, to a nanosecond.
local function between(from, to) return math.floor((to - from) * 1e9 + 0.5) / 1e3 end

-- The columns of a table; `steps` are what the time on the host consists of.
local function new_columns(steps)
  local columns = { host = {}, device = {}, orch = {}, sched = {}, steps = {} }
  for i, title in ipairs(steps) do columns.steps[i] = { title = title, values = {} } end
  return columns
end

-- Notes a round: what it reports itself, and the moments at which it began and each of its steps ended.
local function note_round(columns, round, timing, moments)
  columns.host[round] = between(moments[1], moments[#moments])
  columns.device[round], columns.orch[round], columns.sched[round] = timing.device, timing.orch, timing.sched
  for i, step in ipairs(columns.steps) do step.values[round] = between(moments[i], moments[i + 1]) end
end

-- Rounds of one worker, which is opened once.
local function time_reusing(prepared, worker, count)
  local columns = new_columns { "Init", "Launch", "Finalize" }
  local rounds <close> = prepared:rounds(worker)
  for round = 1, count do
    prepared:restore()
    local begun = host.now()
    rounds:init_round()
    local ready = host.now()
    rounds:launch()
    local launched = host.now()
    rounds:finalize_round()
    note_round(columns, round, rounds:timing(), { begun, ready, launched, host.now() })
  end
  rounds:finalize()
  return columns, worker:stats()
end

-- Statistics of a worker are added to those of the workers before it.
local function add_stats(sum, stats)
  for name, value in pairs(stats) do
    local before = sum[name] or 0
    if name == "compilations" then -- counted for the whole process
      sum[name] = value
    elseif name:find "_high$" or name:find "_peak$" then
      sum[name] = math.max(before, value)
    else
      sum[name] = before + value
    end
  end
end

-- Rounds each of which opens and closes a worker.
local function time_opening(prepared, open, count)
  local columns, stats = new_columns { "Open", "Run", "Close" }, {}
  for round = 1, count do
    prepared:restore()
    if prepared.program then prepared.program:forget() end
    local begun = host.now()
    local worker <close> = open()
    local opened = host.now()
    local timing = worker:run(prepared.callable, prepared.args, prepared.config)
    local ended = host.now()
    local of_node = not prepared.program and worker:stats() or nil -- a closed node tells none
    worker:close()
    note_round(columns, round, timing, { begun, opened, ended, host.now() })
    add_stats(stats, of_node or worker:stats())
  end
  return columns, stats
end

-- Times a case; returns what is reported of it.
local function time_case(scene, case, _, settings, where)
  local function open() return place.open(scene, where.platform, settings) end
  local prepared, columns, stats
  do
    local worker <close> = open()
    prepared = case_runner.prepare(scene, case, worker, settings)
    if prepared.program then prepared.program:compile(where.platform) end
    if settings.reuse then columns, stats = time_reusing(prepared, worker, settings.rounds) end
  end
  if not settings.reuse then columns, stats = time_opening(prepared, open, settings.rounds) end
  local worst = prepared:compare()
  return { ok = worst == nil, worst = worst, checked = prepared.expected ~= nil, rounds = settings.rounds,
    args = prepared.args, columns = columns, stats = stats, reuse = settings.reuse }
end

-- What is printed under the line of a case.
local function details(result, show_host)
  local columns = result.columns
  if not columns then return "" end
  local shown = { { title = "Host", values = columns.host }, { title = "Device", values = columns.device },
    { title = "Orch", values = columns.orch }, { title = "Sched", values = columns.sched } }
  if show_host then table.move(columns.steps, 1, #columns.steps, #shown + 1, shown) end
  return timings.table(shown, result.rounds) .. "\n"
end

local function json_summary(values)
  local summary, shown = timings.summary(values), {}
  for _, name in ipairs(timings.summaries) do shown[name] = summary[name] or json.null end
  return shown
end

local measured = { "host", "device", "orch", "sched" }

local function json_case(result)
  local columns = result.columns
  local value = { scene = result.scene, platform = result.platform or json.null, runtime = result.runtime or json.null,
    case = result.case or json.null, isolation = result.isolation or json.null, reuse = result.reuse ~= false,
    ok = result.ok == true, error = report.json_error(result.error), worst = report.json_worst(result.worst),
    rounds = json.array(), summary = {}, stats = result.stats or json.null }
  for round = 1, columns and result.rounds or 0 do
    local row = { round = round }
    for _, name in ipairs(measured) do row[name .. "_us"] = columns[name][round] or json.null end
    value.rounds[round] = row
  end
  for _, name in ipairs(measured) do
    value.summary[name .. "_us"] = json_summary(columns and columns[name] or {})
  end
  return value
end

--- Runs the command with its arguments; returns the exit status.
function bench.main(...)
  local arguments = settings_module.parse(parser(), { ... })
  local settings = options.merge(cases.read_settings(arguments), { reuse = not arguments.no_reuse })
  local out = report.new(arguments.json, {
    json = json_case, times = function() return "" end,
    details = function(result) return details(result, arguments.show_host) end,
  })
  return cases.visit({ run = time_case }, arguments.scene, settings, out)
end

return bench
