-- Nodes in plain lua5.4, which loads Baton as a module: children are started from the path of the module.
local command = require "spec.support.command"
local nodes = require "spec.support.node_programs"

describe("in plain lua5.4 a node", function()
  for _, isolation in ipairs(nodes.isolations) do
    it("passes the conformance suite with isolation " .. isolation, function()
      local path = "LUA_CPATH=" .. command.quote(command.baton:match "(.*)/" .. "/?.so")
      if command.shell(("env %s lua5.4 -e 'require \"baton\"'"):format(path)).status ~= 0 then
        return pending "no lua5.4 that loads baton.so of this build"
      end
      local folder = command.folder()
      local program = command.quote(command.baton)
      local result = command.shell(([[
        module=$(dirname %s)
        export BATON_PROGRAM=%s BATON_TEST_GATE=%s/gate BATON_ISOLATIONS=%s
        LUA_CPATH="$module/?.so;;" lua5.4 spec/support/plain.lua -o plainTerminal spec/node/conformance_spec.lua]]):format(
        program, program, folder, isolation))
      command.remove(folder)
      assert.equal(0, result.status, result.out .. result.err)
      assert.truthy(result.out:find("0 failures / 0 errors", 1, true), result.out)
    end)
  end
end)
