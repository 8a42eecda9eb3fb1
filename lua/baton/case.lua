-- baton.case: runs one case of a scene on a worker, a chip or a node, and checks what comes out.
local compiled_golden = require "baton.golden"
local data = require "baton.data"
local failure = require "baton.error"
local options = require "baton.options"
local timings = require "baton.timings"

local case = {}

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

--- Checks the names of `settings.given` and `settings.outputs`, what --input and --output say. Of a node those that the scene
--- itself makes are known.
function case.check_files(scene, params, settings)
  local given, outputs = settings.given, settings.outputs or {}
  if not next(given) and not next(outputs) then return end
  local args = scene.level > 2 and case.arguments(scene, params, { seed = settings.seed }) or {}
  local signature = scene:signature(args)
  data.check_names(scene, signature, "--input", given, false)
  data.check_names(scene, signature, "--output", outputs, true)
end

-- Copies of the tensors that a run changes although it reads them.
local function copy_inouts(signature, args)
  local copies = {}
  for _, entry in ipairs(signature) do
    local value = args[entry[1]]
    if entry[2] == "inout" and options.is_tensor(value) then copies[entry[1]] = value:clone() end
  end
  return copies
end

local function check_expected(scene, by_name, args, name, want)
  local what, of_what = ("scene %s: golden"):format(scene.name), "no output of the program"
  if scene.level > 2 then of_what = "no tensor among the arguments" end
  if not by_name[name] or not is_output(by_name[name]) then
    local outputs = {}
    for output, entry in pairs(by_name) do
      if is_output(entry) then outputs[#outputs + 1] = output end
    end
    table.sort(outputs)
    options.fail("invalid_argument", ("%s: %s is %s%s"):format(what, options.describe(name), of_what,
      options.suggestion(name, outputs)), (scene.level > 2 and "tensors: " or "outputs: ") .. table.concat(outputs, ", "))
  end
  if not options.is_tensor(want) then
    options.fail("invalid_argument", ("%s: %s must be a tensor, got %s"):format(what, name, options.describe(want)))
  end
  local got_shape, want_shape = table.concat(args[name].shape, ","), table.concat(want.shape, ",")
  if got_shape ~= want_shape then
    options.fail("invalid_argument", ("%s: %s has shape [%s], the output has [%s]"):format(what, name, want_shape,
      got_shape))
  end
end

-- Names without an expected result. At levels 3 and 4, where no signature tells outputs from inputs, they are inputs, which must
-- not change: what they are at first is expected of them, and they are returned.
local function check_others(scene, signature, results)
  local unchecked, inputs = {}, {}
  for _, name in ipairs(scene.unchecked or {}) do unchecked[name] = true end
  for _, entry in ipairs(signature) do
    local name = entry[1]
    if is_output(entry) and not results[name] and not unchecked[name] then
      if scene.level == 2 then
        options.fail("invalid_argument", ("scene %s: golden returns nothing for output '%s'"):format(scene.name, name),
          "return it, or name it in `unchecked`")
      end
      inputs[#inputs + 1] = name
    end
  end
  return inputs
end

-- The expected results by name, and the names of inputs that must not change; or nil if there is nothing to compare with.
local function expected_results(scene, params, args)
  if not scene.golden then return nil end
  local signature, by_name = scene:signature(args)
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
  for _, name in ipairs(options.keys(results)) do check_expected(scene, by_name, args, name, results[name]) end
  return results, check_others(scene, signature, results)
end

local ends_in_golden = { invalid_argument = true, out_of_range = true, signature = true }

-- Expected results. A golden function that stumbles over an argument knows less of it than the program, which is asked then.
local function expect(scene, params, args, run)
  local ok, results, inputs = pcall(expected_results, scene, params, args)
  if ok then return results, inputs end
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

local as_it_was = { rtol = 0, atol = 0, equal_nan = true }

--- The output that differs most from what is expected, { tensor =, report = }; nil if all are close.
function prepared_class:compare()
  if not self.expected then return nil end
  local worst = compare(self.args, self.expected, self.tolerance)
  if worst then return worst end
  local inputs = {}
  for _, name in ipairs(self.inputs) do inputs[name] = self.inouts[name] end
  return compare(self.args, inputs, as_it_was)
end

--- What a worker runs: the program, or the function of a node.
function case.callable(scene, params)
  if scene.level == 2 then return scene.program end
  return function(orch, args, round) return scene.orchestrate(orch, args, params, round or 1) end
end

--- What `entry`, a case of `scene`, is run with: { callable, program, args, config, expected, … }, to be restored before each
--- run; `program` at level 2 only. `settings`: params, given, seed, rtol, atol, skip_golden, config. Raises what ends the case early.
function case.prepare(scene, entry, worker, settings)
  local params = options.merge(entry.params, settings.params)
  local args = case.arguments(scene, params, settings)
  local config = options.merge(scene.config, entry.config, settings.config)
  local prepared = { callable = case.callable(scene, params), program = scene.program, args = args, config = config,
    inouts = copy_inouts(scene:signature(args), args),
    tolerance = options.merge(scene.tolerance, entry.tolerance, { rtol = settings.rtol, atol = settings.atol }) }
  if not settings.skip_golden then
    prepared.expected, prepared.inputs = expect(scene, params, args, function()
      return worker:run(prepared.callable, args, config)
    end)
  end
  return setmetatable(prepared, prepared_class)
end

-- The rounds of a node, as those of a chip: each is a run.
local node_rounds = { __close = function() end }
node_rounds.__index = node_rounds

function node_rounds:init_round() self.round = self.round + 1 end

function node_rounds:launch()
  local callable, round = self.prepared.callable, self.round
  self.run = self.worker:submit(function(orch, args) callable(orch, args, round) end, self.prepared.args, self.prepared.config)
end

function node_rounds:finalize_round() self.run:wait() end
function node_rounds:timing() return self.run:timing() end
function node_rounds:finalize() end -- luacheck: ignore self

--- Rounds of what was prepared, to be closed.
function prepared_class:rounds(worker)
  if self.program then return worker:rounds(self.program, self.args, self.config) end
  return setmetatable({ prepared = self, worker = worker, round = 0 }, node_rounds)
end

-- A function that runs the case once and returns its timing. Many runs are rounds, but for resident outputs: these would
-- come back after the last one only.
local function runner(prepared, worker, many)
  local callable, args, config = prepared.callable, prepared.args, prepared.config
  if not many or config.resident then return function() return worker:run(callable, args, config) end end
  local rounds = prepared:rounds(worker)
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
