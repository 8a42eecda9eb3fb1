-- baton.cli: the subcommands of the program.
local host = require "baton.host"
local output = require "baton.output"
local status = require "baton.status"

local cli = {}

local commands = {
  run = function(...) return require("baton.run").main(...) end,
  test = function(...) return require("baton.test").main(...) end,
  bench = function(...) return require("baton.bench").main(...) end,
  repl = function(...) return require("baton.repl").main(...) end,
  devices = function(...) return require("baton.devices").main(...) end,
  doctor = function(...) return require("baton.doctor").main(...) end,
  new = function(...) return require("baton.new").main(...) end,
}

local function call(command, ...)
  local outcome = commands[command](...)
  output.check(io.stdout:flush())
  return outcome
end

--- Runs a subcommand. Returns the exit status; what was raised is written as one line.
function cli.main(command, ...)
  local ok, outcome = xpcall(call, function(err)
    return type(err) == "string" and debug.traceback(err, 2) or err
  end, command, ...)
  if ok then return outcome end
  if host.interrupted() then return status.interrupted end
  io.stderr:write(("baton %s: %s\n"):format(command, tostring(outcome)))
  return status.of(outcome)
end

return cli
