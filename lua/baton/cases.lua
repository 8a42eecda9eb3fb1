-- baton.cases: the cases that a command is asked for: read from its options, checked, and visited one after the other.
local case_runner = require "baton.case"
local data = require "baton.data"
local failure = require "baton.error"
local host = require "baton.host"
local options = require "baton.options"
local place = require "baton.place"
local scene_module = require "baton.scene"
local settings_module = require "baton.settings"
local status = require "baton.status"

local cases = {}

local default_seed = 42

--- Adds to a parser what `run` and `bench` have in common.
function cases.add_options(p)
  p:argument("scene", "Scene files."):args "+"
  settings_module.add_options(p)
  p:option("--case", "Run this case (repeatable); default: all that are not manual."):count "*"
  p:option("--param", "Set a parameter of the case: n=4096 (repeatable)."):count "*"
  p:option("--input", "Use a file instead of generated data: NAME=@FILE.npy or NAME=@FILE.npz:KEY (repeatable).")
    :count "*"
  p:option("--output", "Store a result: NAME=@FILE.npy (repeatable)."):count "*"
  p:flag("--skip-golden", "Do not check the results.")
  p:option("--rtol", "Relative tolerance.")
  p:option("--atol", "Absolute tolerance.")
  p:flag("--json", "Write one JSON value to standard output, everything else to standard error.")
  p:flag("-v --verbose", "Print the parameters of each case.")
end

--- The options as values; what is wrong with them is found before anything runs.
function cases.read_settings(arguments)
  local command, environment = settings_module.read(arguments)
  local number = settings_module.number
  return {
    command = command, environment = environment, seed = command.seed or environment.seed or default_seed,
    rounds = number("--rounds", arguments.rounds, 1, true), rtol = number("--rtol", arguments.rtol, 0),
    atol = number("--atol", arguments.atol, 0), skip_golden = arguments.skip_golden, verbose = arguments.verbose,
    cases = arguments.case, params = data.read_params(arguments.param), given = data.load_inputs(arguments.input),
    outputs = data.read_outputs(arguments.output),
  }
end

-- The cases to run: those asked for; else those that are not manual, and of these the first only if the user's own
-- files replace the data or keep the result.
local function select_cases(scene, settings)
  local selected = {}
  for _, name in ipairs(settings.cases) do selected[#selected + 1] = scene:case(name) end
  if #settings.cases > 0 then return selected end
  for _, case in ipairs(scene.cases) do
    if not case.manual then selected[#selected + 1] = case end
  end
  if next(settings.given) or next(settings.outputs) then return { selected[1] or scene.cases[1] } end
  return selected
end

-- Everything about a scene that can be wrong before a worker is opened.
local function check_scene(scene, selected, settings)
  for _, case in ipairs(selected) do data.check_params(scene, settings.params, case.params) end
  if selected[1] then case_runner.check_files(scene, options.merge(selected[1].params, settings.params), settings) end
  if next(settings.outputs) and #selected > 1 then
    options.fail("invalid_argument", ("--output needs one case, %d of scene %s are selected"):format(#selected,
      scene.name), "choose with --case")
  end
end

local function save_outputs(args, outputs)
  for _, name in ipairs(options.keys(outputs)) do args[name]:save(outputs[name]) end
end

-- Runs a case as pcall does. The deadline of its run is the worker's business; this one ends a scene's own Lua code.
local function attempt(command, scene, case, where, worker, settings)
  local deadline = settings.config.deadline
  local expired, ok, outcome = host.with_deadline(deadline, command.run, scene, case, worker, settings, where)
  if expired and not ok and not (failure.is(outcome) and outcome.code == "timeout") then
    outcome = failure.new { code = "timeout",
      message = ("scene %s: not over after the deadline of %g s"):format(scene.name, deadline) }
  end
  return ok, outcome
end

-- Runs one case and reports it; returns the exit status.
local function run_case(command, scene, case, where, worker, settings, out)
  local result = options.merge(where, { scene = scene.name, case = case.name, level = scene.level,
    given = options.keys(settings.given) })
  if settings.verbose then
    local shown = options.merge(case.params, settings.params)
    for _, name in ipairs(options.keys(shown)) do out:note(("  %s = %s"):format(name, tostring(shown[name]))) end
  end
  local config = { runtime = where.runtime, deadline = place.deadline(scene, case, settings) }
  local ok, outcome = attempt(command, scene, case, where, worker,
    options.merge(settings, { config = config }))
  if ok then
    result = options.merge(result, outcome)
    ok, outcome = pcall(save_outputs, outcome.args, settings.outputs)
  end
  if not ok then result = options.merge(result, { ok = false, error = outcome }) end
  out:add(result)
  if not ok then return status.of(outcome) end
  return result.ok and status.ok or status.differs
end

-- Loads the scenes; those that fail are reported and left out.
local function load_scenes(paths, out)
  local scenes, worst = {}, status.ok
  for _, path in ipairs(paths) do
    local ok, loaded = pcall(scene_module.load, path)
    if ok then
      scenes[#scenes + 1] = loaded
    else
      out:add { scene = path, ok = false, error = loaded }
      worst = status.wrong
    end
  end
  return scenes, worst
end

local function check_case_names(scenes, names)
  for _, name in ipairs(names) do
    local found, known = false, {}
    for _, scene in ipairs(scenes) do
      found = found or scene:case(name) ~= nil
      for _, case in ipairs(scene.cases) do known[#known + 1] = case.name end
    end
    if not found and #scenes > 0 then
      options.fail("invalid_argument", ("no case is called '%s'%s"):format(name, options.suggestion(name, known)),
        "cases: " .. table.concat(known, ", "))
    end
  end
end

-- Makes a worker ready again that a kernel of the case before has cost: it was left by force.
local function revive(worker)
  if not worker or worker.state ~= "lost" then return end
  if not worker.workers then return worker:restart() end
  for id = 0, worker.workers - 1 do
    if worker:describe(id).state == "lost" then worker:restart(id) end
  end
end

-- Visits the cases on one platform, on the runtimes that were asked for.
local function visit_platform(command, scene, platform, selected, settings, out)
  local worst = status.ok
  local worker <close> = command.open and command.open(scene, platform, settings)
  local isolation = place.isolation(scene, settings)
  for _, case in ipairs(selected) do
    for _, runtime in ipairs(place.runtimes(scene, case, settings)) do
      if host.interrupted() then return status.interrupted end
      local where = { platform = platform, runtime = runtime or nil, isolation = isolation }
      local reason = place.unfit_runtime(scene, runtime)
      if reason then
        out:skip({ scene = scene.name, platform = platform, case = case.name, runtime = where.runtime }, reason)
      else
        revive(worker)
        worst = math.max(worst, run_case(command, scene, case, where, worker, settings, out))
      end
    end
  end
  return worst
end

local function visit_scene(command, scene, settings, out)
  local worst = status.ok
  local selected = select_cases(scene, settings)
  check_scene(scene, selected, settings)
  for _, platform in ipairs(place.platforms(scene, settings)) do
    local reason = place.unfit_platform(scene, platform) or place.unfit_devices(scene, settings)
    if reason then
      for _, case in ipairs(selected) do out:skip({ scene = scene.name, platform = platform, case = case.name }, reason) end
    elseif #selected > 0 then
      worst = math.max(worst, visit_platform(command, scene, platform, selected, settings, out))
    end
  end
  return worst
end

local function visit_scenes(command, scenes, settings, out)
  local worst = status.ok
  for _, scene in ipairs(scenes) do
    if host.interrupted() then return status.interrupted end
    local ok, outcome = pcall(visit_scene, command, scene, settings, out)
    if not ok then
      out:add { scene = scene.name, ok = false, error = outcome }
      outcome = status.of(outcome)
    end
    worst = math.max(worst, outcome)
  end
  return worst
end

--- Visits the cases of the scene files and reports to `out`; returns the exit status. `command.run(scene, case, worker,
--- settings, where)` returns what is to be reported of a case, as case.run does; `command.open(scene, platform, settings)`,
--- if there is one, opens the worker for all cases of a scene on a platform.
function cases.visit(command, paths, settings, out)
  local scenes, worst = load_scenes(paths, out)
  check_case_names(scenes, settings.cases)
  worst = math.max(worst, visit_scenes(command, scenes, settings, out))
  out:finish()
  return worst
end

return cases
