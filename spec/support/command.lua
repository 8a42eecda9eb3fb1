-- Runs programs and keeps what they print: the product itself as a child, with exact arguments.
local host = require "baton.host"

local command = {}

--- The path of the running `baton`.
command.baton = host.executable()

--- One word for the shell.
function command.quote(text) return "'" .. tostring(text):gsub("'", "'\\''") .. "'" end

--- The contents of a file.
function command.read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("a")
  file:close()
  return text
end

--- Writes a file and returns its path.
function command.write(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  assert(file:close())
  return path
end

--- A fresh folder; `remove` takes it away.
function command.folder()
  local pipe = assert(io.popen("mktemp -d"))
  local path = pipe:read("l")
  pipe:close()
  return path
end

function command.remove(folder) os.execute("rm -rf " .. command.quote(folder)) end

--- The beginning of a shell command whose process is killed after so many seconds. It prints the number of that process
--- first: a signal for the command goes to it, because `timeout` loses one that comes before it knows its child.
function command.guard(seconds)
  return ([[timeout --foreground -s KILL %d sh -c 'echo $$; exec "$@"' -]]):format(seconds)
end

-- What `baton test --platform …` and the caller's environment say is for this process: a child has the built-in defaults.
local forget_settings = "unset BATON_PLATFORM BATON_DEVICE BATON_RUNTIME BATON_ISOLATION BATON_TIMEOUT BATON_SEED"

--- Runs a shell line; returns { status =, out =, err = }. A signal n gives the status 128 + n. What it starts has devices
--- of its own, so that a worker of the spec itself is in nobody's way.
function command.shell(line)
  local folder = command.folder()
  local _, how, number = os.execute(("( %s; export XDG_RUNTIME_DIR=%s; %s ) >%s/out 2>%s/err"):format(forget_settings,
    folder, line, folder, folder))
  local result = { status = how == "signal" and 128 + number or number, out = command.read(folder .. "/out"),
    err = command.read(folder .. "/err") }
  command.remove(folder)
  return result
end

--- Runs `baton` with these arguments; `options.input` is its standard input, `options.env` goes in front ("A=1 B=2").
function command.run(arguments, options)
  options = options or {}
  local words = { options.env and "env " .. options.env or "", command.quote(command.baton) }
  for _, word in ipairs(arguments) do words[#words + 1] = command.quote(word) end
  local line = table.concat(words, " ") .. " </dev/null"
  if options.input then line = ("printf %%s %s | "):format(command.quote(options.input)) .. table.concat(words, " ") end
  return command.shell(line)
end

return command
