-- baton.case: runs one case of a scene on a worker and checks what comes out.
local compiled_golden = require "baton.golden"
local failure = require "baton.error"
local options = require "baton.options"
local timings = require "baton.timings"

local case = {}

local function is_tensor(value)
  local class = getmetatable(value)
  return type(class) == "table" and class.__name == "baton.tensor"
end

-- Calls a function of the scene. What it raises as a text is the scene's mistake.
local function call_scene(scene, what, f, ...)
  local ok, result = pcall(f, ...)
  if ok then return result end
  if failure.is(result) then error(result, 0) end
  options.fail("invalid_argument", ("scene %s: %s: %s"):format(scene.name, what, tostring(result)))
end

local function is_output(entry) return entry[2] == "out" or entry[2] == "inout" end

--- The arguments of a run by name: what the scene makes, and what the user gave (`settings.given`).
function case.arguments(scene, params, settings)
  local given = settings.given or {}
  local made = call_scene(scene, "args", scene.args, params, settings.seed, options.merge(given))
  if type(made) ~= "table" then
    options.fail("invalid_argument", ("scene %s: args returned %s, not a table of arguments by name"):format(scene.name,
      options.describe(made)))
  end
  return options.merge(made, given)
end

-- Copies of the tensors that a run changes although it reads them.
local function copy_inouts(signature, args)
  local copies = {}
  for _, entry in ipairs(signature) do
    local value = args[entry[1]]
    if entry[2] == "inout" and is_tensor(value) then copies[entry[1]] = value:clone() end
  end
  return copies
end

local function check_expected(scene, by_name, args, name, want)
  local what = ("scene %s: golden"):format(scene.name)
  if not by_name[name] or not is_output(by_name[name]) then
    local outputs = {}
    for output, entry in pairs(by_name) do
      if is_output(entry) then outputs[#outputs + 1] = output end
    end
    table.sort(outputs)
    options.fail("invalid_argument", ("%s: %s is no output of the program%s"):format(what, options.describe(name),
      options.suggestion(name, outputs)), "outputs: " .. table.concat(outputs, ", "))
  end
  if not is_tensor(want) then
    options.fail("invalid_argument", ("%s: %s must be a tensor, got %s"):format(what, name, options.describe(want)))
  end
  local got_shape, want_shape = table.concat(args[name].shape, ","), table.concat(want.shape, ",")
  if got_shape ~= want_shape then
    options.fail("invalid_argument", ("%s: %s has shape [%s], the output has [%s]"):format(what, name, want_shape,
      got_shape))
  end
end

-- The expected results by name, or nil if there is nothing to compare with.
local function expected_results(scene, params, args)
  if not scene.golden then return nil end
  local signature, by_name = scene:signature()
  local before = options.merge(args, copy_inouts(signature, args))
  local results
  if type(scene.golden) == "table" then
    results = compiled_golden.run(scene, before)
  else
    results = call_scene(scene, "golden", scene.golden, before, params)
  end
  if type(results) ~= "table" then
    options.fail("invalid_argument", ("scene %s: golden returned %s, not a table of tensors by name"):format(scene.name,
      options.describe(results)))
  end
  local unchecked = {}
  for _, name in ipairs(scene.unchecked or {}) do unchecked[name] = true end
  for _, name in ipairs(options.keys(results)) do check_expected(scene, by_name, args, name, results[name]) end
  for _, entry in ipairs(signature) do
    if is_output(entry) and not results[entry[1]] and not unchecked[entry[1]] then
      options.fail("invalid_argument", ("scene %s: golden returns nothing for output '%s'"):format(scene.name, entry[1]),
        "return it, or name it in `unchecked`")
    end
  end
  return results
end

local ends_in_golden = { invalid_argument = true, out_of_range = true, signature = true }

-- Expected results. A golden function that stumbles over an argument knows less of it than the program, which is asked then.
local function expect(scene, params, args, run)
  local ok, results = pcall(expected_results, scene, params, args)
  if ok then return results end
  if failure.is(results) and ends_in_golden[results.code] then run() end
  error(results, 0)
end

-- The output that differs most and tensor.allclose's report of it, or nil if all are close.
local function compare(args, expected, tolerance)
  local worst
  for _, name in ipairs(options.keys(expected)) do
    local close, report = args[name]:allclose(expected[name], tolerance)
    if not close and (not worst or report.differ > worst.report.differ) then
      worst = { tensor = name, report = report }
    end
  end
  return worst
end

local prepared_class = {}
prepared_class.__index = prepared_class

--- Inout arguments as they were at first.
function prepared_class:restore()
  if self.used then
    for name, copy in pairs(self.inouts) do self.args[name]:copy(copy) end
  end
  self.used = true
end

--- The output that differs most from what is expected, { tensor =, report = }; nil if all are close.
function prepared_class:compare() return self.expected and compare(self.args, self.expected, self.tolerance) or nil end

--- What `entry`, a case of `scene`, is run with: { program, args, config, expected, … }, to be restored before each run.
--- `settings`: params, given, seed, rtol, atol, skip_golden, config. Raises what ends the case early.
function case.prepare(scene, entry, worker, settings)
  local params = options.merge(entry.params, settings.params)
  local args = case.arguments(scene, params, settings)
  local config = options.merge(scene.config, entry.config, settings.config)
  local prepared = { program = scene.program, args = args, config = config,
    inouts = copy_inouts(scene:signature(), args),
    tolerance = options.merge(scene.tolerance, entry.tolerance, { rtol = settings.rtol, atol = settings.atol }) }
  if not settings.skip_golden then
    prepared.expected = expect(scene, params, args, function() return worker:run(scene.program, args, config) end)
  end
  return setmetatable(prepared, prepared_class)
end

-- A function that runs the case once and returns its timing. Many runs are rounds, but for resident outputs: these would
-- come back after the last one only.
local function runner(prepared, worker, many)
  local program, args, config = prepared.program, prepared.args, prepared.config
  if not many or config.resident then return function() return worker:run(program, args, config) end end
  local rounds = worker:rounds(program, args, config)
  return function()
    rounds:init_round()
    rounds:launch()
    rounds:finalize_round()
    return rounds:timing()
  end, rounds
end

--- Runs `entry`, a case of `scene`, on `worker`. `settings` as for `prepare`, and rounds.
--- Returns { ok, worst, checked, rounds, median_us = {host, device}, args }; raises what ends the case early.
function case.run(scene, entry, worker, settings)
  local prepared, count = case.prepare(scene, entry, worker, settings), settings.rounds or 1
  local result = { checked = prepared.expected ~= nil, rounds = 0, args = prepared.args }
  local host, device = {}, {}
  local run, held = runner(prepared, worker, count > 1)
  local rounds <close> = held -- luacheck: ignore rounds
  for round = 1, count do
    prepared:restore()
    local timing = run()
    host[round], device[round] = timing.host, timing.device
    result.rounds = round
    result.worst = result.worst or prepared:compare()
  end
  result.ok = result.worst == nil
  result.median_us = { host = timings.summary(host).median, device = timings.summary(device).median }
  return result
end

return case
