-- Busted loads this before the specs: the devices of this process are its own, whatever else runs on the machine. Workers have
-- thread isolation unless the command line or the environment says otherwise: many graph functions here look at, and change, what
-- is outside of them.
local busted = require "busted"
local command = require "spec.support.command"
local host = require "baton.host"

if require("baton.test").chose_isolation then host.setenv("BATON_ISOLATION", "thread") end
local folder = command.folder()
host.setenv("XDG_RUNTIME_DIR", folder)
busted.subscribe({ "exit" }, function() command.remove(folder) end)
