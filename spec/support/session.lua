-- A child that is spoken to while it runs: steps are taken one after the other, and a step that waits for a line of output
-- waits for exactly that.
local command = require "spec.support.command"

local session = {}

session.seconds = 120 -- then the child is killed and the spec fails

local function step_line(step)
  local kind, value = step[1], step[2]
  if kind == "type" then return ("printf '%%s\\n' %s >&7"):format(command.quote(value)) end
  if kind == "await" then return "await " .. command.quote(value) end
  if kind == "interrupt" then return "kill -INT $process" end
  if kind == "signal" then return ("kill -%s $process"):format(value) end
  if kind == "exit" then return "cat <&8" end
  error("no such step: " .. tostring(kind))
end

--- Runs `baton` with these arguments. Steps: { "type", TEXT }, { "await", LINE } (of standard output or error),
--- { "interrupt" } (Ctrl-C), { "signal", NAME }, { "exit" } (of the child, by itself). At the end the input is closed.
--- `options.program` is run instead of `baton`, `options.env` goes in front ("A=1 B=2"). Returns { status =, out = }: both
--- streams in one.
function session.run(arguments, steps, options)
  local folder = command.folder()
  local program = command.quote(options and options.program or command.baton)
  local words, lines = { options and options.env and "env " .. options.env or "", program }, {}
  for _, word in ipairs(arguments) do words[#words + 1] = command.quote(word) end
  for _, step in ipairs(steps) do lines[#lines + 1] = step_line(step) end
  local result = command.shell(([[
    trap '' PIPE
    mkfifo %s/in %s/out
    %s %s <%s/in >%s/out 2>&1 & guard=$!
    exec 7>%s/in 8<%s/out
    read -r process <&8
    await() {
      while IFS= read -r line <&8; do printf '%%s\n' "$line"; [ "$line" != "$1" ] || return 0; done
    }
    %s
    exec 7>&-
    cat <&8
    wait $guard]]):format(folder, folder, command.guard(session.seconds), table.concat(words, " "), folder, folder, folder, folder,
    table.concat(lines, "\n")))
  command.remove(folder)
  return { status = result.status, out = result.out .. result.err }
end

return session
