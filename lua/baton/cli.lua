-- baton.cli: the subcommands of the program.
local failure = require "baton.error"
local host = require "baton.host"
local status = require "baton.status"

local cli = {}

local function unsupported(command)
  return function()
    error(failure.new { code = "unsupported", message = ("baton %s is not supported yet"):format(command) }, 0)
  end
end

local commands = {
  run = function(...) return require("baton.run").main(...) end,
  test = function(...) return require("baton.test").main(...) end,
  bench = unsupported "bench",
  repl = function(...) return require("baton.repl").main(...) end,
  devices = function(...) return require("baton.devices").main(...) end,
  doctor = function(...) return require("baton.doctor").main(...) end,
  new = unsupported "new",
}

--- Runs a subcommand. Returns the exit status; what was raised is written as one line.
function cli.main(command, ...)
  local ok, outcome = xpcall(commands[command], function(err)
    return type(err) == "string" and debug.traceback(err, 2) or err
  end, ...)
  if ok then return outcome end
  if host.interrupted() then return status.interrupted end
  io.stderr:write(("baton %s: %s\n"):format(command, tostring(outcome)))
  return status.of(outcome)
end

return cli
