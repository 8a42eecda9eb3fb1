-- A kernel that does not end before the spec lets it: it waits for a file. Kernels and orchestrations also leave files, as
-- marks of how far they have come.
local command = require "spec.support.command"
local host = require "baton.host"

local gate = {}

gate.seconds = 200 -- then whatever is awaited will never come

local code = [[
#include <baton/kernel.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
BATON_KERNEL(hold) {
  char path[4096];
  snprintf(path, sizeof path, "%s/open", getenv("BATON_TEST_GATE"));
  while (access(path, F_OK) != 0) baton_spin_hint(args);
  baton_io(args, 0, float)[0] += 1;
}]]

--- The kernel hold(x): adds 1 to x[0] when the gate is open.
gate.hold = { core = "aiv", waits = true, code = code, signature = { { "x", "inout" } } }

--- For the code of an orchestration: mark(name) leaves a mark.
gate.mark = [[
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static void mark(const char *name) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", getenv("BATON_TEST_GATE"), name);
  close(open(path, O_WRONLY | O_CREAT, 0600));
}
]]

--- For runs that are held: nothing in them makes progress.
gate.config = { timeout = gate.seconds }

local folder

--- Closes the gate and removes the marks; `gone` after the last use.
function gate.close()
  gate.gone()
  folder = command.folder()
  host.setenv("BATON_TEST_GATE", folder)
end

function gate.gone()
  if folder then command.remove(folder) end
  folder = nil
end

--- Lets the kernels go on.
function gate.open() command.write(folder .. "/open", "") end

--- Whether a mark has been left. Also in a child of the spec.
function gate.marked(name)
  local file = io.open((folder or os.getenv "BATON_TEST_GATE") .. "/" .. name)
  return file ~= nil and file:close()
end

--- Waits for a mark.
function gate.await(name)
  local last = os.time() + gate.seconds
  while not gate.marked(name) do assert(os.time() < last, name .. " has not been marked") end
end

return gate
