-- baton.run: `baton run SCENE… [options]`.
local argparse = require "baton.argparse"
local case_runner = require "baton.case"
local cases = require "baton.cases"
local place = require "baton.place"
local report = require "baton.report"
local settings_module = require "baton.settings"

local run = {}

local function parser()
  local p = argparse("baton run", "Run scenes and check their results against the expected ones.")
  cases.add_options(p)
  p:option("--rounds", "Run each case this many times, checking each."):default "1"
  return p
end

--- Runs the command with its arguments; returns the exit status.
function run.main(...)
  local arguments = settings_module.parse(parser(), { ... })
  local settings = cases.read_settings(arguments)
  return cases.visit({ run = case_runner.run, open = place.open }, arguments.scene, settings, report.new(arguments.json))
end

return run
