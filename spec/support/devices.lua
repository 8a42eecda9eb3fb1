-- Busted loads this before the specs: the devices of this process are its own, whatever else runs on the machine.
local busted = require "busted"
local command = require "spec.support.command"
local host = require "baton.host"

local folder = command.folder()
host.setenv("XDG_RUNTIME_DIR", folder)
busted.subscribe({ "exit" }, function() command.remove(folder) end)
