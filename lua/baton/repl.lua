-- baton.repl: `baton repl [options] [SCENE]`, the prompt on a live device.
local argparse = require "baton.argparse"
local baton = require "baton"
local case_runner = require "baton.case"
local data = require "baton.data"
local failure = require "baton.error"
local host = require "baton.host"
local options = require "baton.options"
local place = require "baton.place"
local scene_module = require "baton.scene"
local settings_module = require "baton.settings"
local show = require "baton.show"
local status = require "baton.status"

local repl = {}

local chunk_name = "=stdin"
local default_seed = 42
local no_scene = { level = 2, fitting_runtimes = function() return {} end }

-- What the global `help` says, by the name of the worker that is open.
local help = {
  chip = [[
chip    the chip that is open: run submit rounds malloc free copy_to copy_from register restart stats dump
        chip:run(program, args); chip:submit(program, args) is a run: done wait cancel timing
baton   the library: baton.program, baton.worker; tensor: tensor.zeros, tensor.load
node = baton.worker { level = 3, devices = 2, subs = 1 } opens a node]],
  node = [[
node    the node that is open: run submit rounds malloc free copy_to copy_from register add remove describe stats dump
        node:run(orchestrate, args); node:submit(function(orch, args) … end, args) is a run: done wait cancel timing
baton   the library: baton.program, baton.worker; tensor: tensor.zeros, tensor.load]],
}
local how = [[

An expression prints its value, none after a semicolon; _ is the last one. lua/meta describes every function.]]

local function parser()
  local p = argparse("baton repl", "An interactive prompt on a chip. Globals: baton, tensor, help, chip; with a scene also "
    .. "scene, program, args; with one of level 3 or 4 node instead of chip and orchestrate instead of program. Ctrl-C "
    .. "interrupts, Ctrl-D leaves.")
  p:argument("scene", "A scene file: its program and the arguments of a case are ready to use."):args "?"
  settings_module.add_options(p)
  p:option("--case", "The case whose arguments are made; default: the first.")
  p:option("--param", "Set a parameter of the case: n=4096 (repeatable)."):count "*"
  p:option("--input", "Use a file instead of generated data: NAME=@FILE.npy (repeatable)."):count "*"
  p:flag("-v --verbose", "Show the time of each input also where no terminal is.")
  return p
end

-- What the input is read into --------------------------------------------------------------------------------------

-- `_` is the last value; only weakly, so that the memory of a device can be freed.
local function remember_last()
  local last = setmetatable({}, { __mode = "v" })
  local class = getmetatable(_G) or {}
  local before = class.__index
  class.__index = function(globals, key)
    if key == "_" then return last.value end
    if type(before) == "function" then return before(globals, key) end
    return before and before[key]
  end
  setmetatable(_G, class)
  return last
end

local function find_case(scene, name)
  if not name then return scene.cases[1] end
  local case, known = scene:case(name), {}
  if case then return case end
  for i, entry in ipairs(scene.cases) do known[i] = entry.name end
  options.fail("invalid_argument", ("no case is called '%s'%s"):format(name, options.suggestion(name, known)),
    "cases: " .. table.concat(known, ", "))
end

local function load_scene(arguments, settings)
  if not arguments.scene then return no_scene, {} end
  local scene = scene_module.load(arguments.scene)
  local case = find_case(scene, arguments.case)
  settings.params, settings.given = data.read_params(arguments.param), data.load_inputs(arguments.input)
  data.check_params(scene, settings.params, case.params)
  local params = options.merge(case.params, settings.params)
  case_runner.check_files(scene, params, settings)
  _G.scene = scene
  _G[scene.level > 2 and "orchestrate" or "program"] = case_runner.callable(scene, params)
  _G.args = case_runner.arguments(scene, params, settings)
  return scene, case
end

-- Runs on the prompt's worker, a chip or a node, take what the command line says.
local function open_worker(scene, case, settings)
  local platform = place.platforms(scene, settings)[1]
  local runtime = place.runtimes(scene, case, settings)[1] or nil
  local reason = place.unfit_devices(scene, settings)
  if reason then options.fail("invalid_argument", ("scene %s: %s"):format(scene.name, reason)) end
  local config = options.merge(scene.worker and scene.worker.config, scene.config, case.config,
    { deadline = place.deadline(scene, case, settings), runtime = runtime })
  return place.open(options.merge(scene, { worker = options.merge(scene.worker, { config = config }) }), platform, settings)
end

-- History ----------------------------------------------------------------------------------------------------------

-- The file with the lines of earlier sessions; nil if the environment names no folder or it cannot be made.
local function history_path()
  local state, home = os.getenv "XDG_STATE_HOME", os.getenv "HOME"
  if not state or state:sub(1, 1) ~= "/" then state = home and home:sub(1, 1) == "/" and home .. "/.local/state" or nil end
  if not state or not host.make_folder(state .. "/baton") then return nil end
  return state .. "/baton/history"
end

local function recall(path)
  local file = path and io.open(path)
  if not file then return end
  for line in file:lines() do host.remember_line(line) end
  file:close()
end

local function remember(path, line)
  if line:match "^%s*$" then return end
  host.remember_line(line)
  local file = path and io.open(path, "a")
  if not file then return end
  file:write(line, "\n")
  file:close()
end

-- One input --------------------------------------------------------------------------------------------------------

local function is_incomplete(why) return why ~= nil and why:match "<eof>$" ~= nil end

-- The function of an input; or nil, the message, and whether more lines may make it right.
local function compile(text)
  local chunk, why = load("return " .. text, chunk_name, "t")
  if chunk then return chunk end
  local expression = is_incomplete(why) and why
  chunk, why = load(text, chunk_name, "t")
  if chunk then return chunk end
  return nil, expression or why, expression or is_incomplete(why)
end

-- Reads lines until they are a function or wrong. nil: the input has ended; false: it was dropped.
local function read_input(state)
  local text
  repeat
    local line, series = host.read_line(text and state.continuation or state.prompt)
    if line == nil then return text and { why = select(2, compile(text)) } or nil end
    if line == false then return false, series end
    if state.terminal then remember(state.history, line) end
    text = text and text .. "\n" .. line or line
    local chunk, why, incomplete = compile(text)
    if not incomplete then return { chunk = chunk, why = why, silent = text:match ";%s*$" ~= nil } end
  until false
end

-- Leaves out of a traceback what is not the user's: the prompt itself, and `error`.
local function shorten(text)
  local message, trace = text:match "^(.-)\nstack traceback:\n(.*)$"
  if not message then return text end
  trace = trace:gsub("\t%[C%]: in function 'error'\n", ""):match "^(.-)\t?[^\n]*in main chunk" or ""
  return trace == "" and message or ("%s\nstack traceback:\n%s"):format(message, trace:gsub("\n$", ""))
end

-- On standard error, behind what was printed before.
local function say(text)
  io.stdout:flush()
  io.stderr:write(text, "\n")
end

local function print_error(err)
  local text = shorten(tostring(err))
  if failure.is(err) then
    text = ("%s: %s"):format(err.code, err.message)
    if err.hint then text = ("%s\n  hint: %s"):format(text, err.hint) end
    if err.cause then text = ("%s\n  cause: %s"):format(text, err.cause) end
  end
  say(text)
end

local function print_values(values)
  local texts = {}
  for i = 1, values.n do texts[i] = show.value(values[i]) end
  print(table.concat(texts, "\t"))
end

local function evaluate(state, input)
  local begun = host.now()
  local values = table.pack(host.guard(input.chunk))
  local interrupted, ok = values[1], values[2]
  local elapsed = host.now() - begun
  if not ok then
    if interrupted and not failure.is(values[3]) then say "interrupted" else print_error(values[3]) end
  else
    values = table.pack(table.unpack(values, 3, values.n))
    if values.n > 0 then
      state.last.value = values[1]
      if not input.silent then print_values(values) end
    end
  end
  if state.times then say(("(%.3f ms)"):format(elapsed * 1000)) end
end

-- Returns the exit status.
local function loop(state)
  while true do
    local input, series = read_input(state)
    if input == nil then return status.ok end
    if input then
      if input.chunk then evaluate(state, input) else print_error(input.why) end
    elseif not state.terminal or series >= 3 then
      return status.interrupted
    end
  end
end

--- Runs the command with its arguments; returns the exit status.
function repl.main(...)
  local arguments = settings_module.parse(parser(), { ... })
  local command, environment = settings_module.read(arguments)
  environment.isolation = environment.isolation or "process" -- what is tried out may crash
  host.setenv("BATON_ISOLATION", command.isolation or environment.isolation) -- for workers that are opened by hand
  local settings = { command = command, environment = environment, seed = command.seed or environment.seed or default_seed }
  local scene, case = load_scene(arguments, settings)
  local worker <close> = open_worker(scene, case, settings)
  local name = scene.level > 2 and "node" or "chip"
  _G.baton, _G.tensor, _G.help, _G[name] = baton, baton.tensor, help[name] .. how, worker
  local terminal = host.is_terminal(0)
  local state = { prompt = "baton> ", continuation = "    >> ", terminal = terminal, last = remember_last(),
    times = terminal or arguments.verbose, history = terminal and history_path() or nil }
  host.begin_prompt()
  recall(state.history)
  if terminal then
    print(("Baton %s, %s, %s: %s. Try help; Ctrl-C interrupts, Ctrl-D leaves."):format(baton.version, _VERSION,
      tostring(worker), name))
  end
  return loop(state)
end

return repl
