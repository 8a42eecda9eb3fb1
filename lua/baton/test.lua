-- baton.test: `baton test [options --] [busted arguments]`, busted in this very process.
local argparse = require "baton.argparse"
local host = require "baton.host"
local options = require "baton.options"
local settings = require "baton.settings"

--- chose_isolation: nobody has said which, it is the default of `baton test`.
local test = {}

local function parser()
  local p = argparse("baton test", "Run specs with busted in this process: baton test [options --] [busted arguments]")
  settings.add_options(p)
  return p
end

-- What stands before the first "--" and what follows it; without one everything is busted's.
local function split(arguments)
  for i, word in ipairs(arguments) do
    if word == "--" then
      return table.move(arguments, 1, i - 1, 1, {}), table.move(arguments, i + 1, #arguments, 1, {})
    end
  end
  return {}, arguments
end

-- The environment holds the defaults of every worker.
local function set_defaults(own)
  local parsed = settings.parse(parser(), own)
  local command, environment = settings.read(parsed)
  if command.platform and #command.platform > 1 then
    options.fail("invalid_argument", ("--platform %s: one platform expected"):format(parsed.platform),
      "without --platform, specs that use each_platform run on every one")
  end
  if command.device then parsed.device = tostring(command.device[1]) end
  for name, value in pairs(parsed) do host.setenv("BATON_" .. name:upper(), value) end
  if parsed.isolation or environment.isolation then return end
  host.setenv("BATON_ISOLATION", "process") -- a spec that crashes fails, and the others go on
  test.chose_isolation = true
end

-- busted leaves the process by itself unless it is called from a chunk that comes from a file.
local entry = [[require "busted.runner" { standalone = false }]]

--- Runs busted. Ends the process with status 1 if a spec failed, else returns 0.
function test.main(...)
  local own, arguments = split { ... }
  set_defaults(own)
  local found, why = pcall(require, "busted.runner")
  if not found then
    options.fail("unsupported", "busted for Lua 5.4 cannot be loaded: " .. tostring(why):match "^[^\n]*",
      "install it: apt-get install lua-busted")
  end
  arguments[0] = "busted"
  _G.arg = arguments
  assert(load(entry, "@busted"))()
  return 0
end

return test
