-- baton.status: the exit status that belongs to an error (api: the program on disk).
local failure = require "baton.error"

local status = { ok = 0, differs = 1, wrong = 2, failed = 3, resource = 4, deadline = 124, interrupted = 130 }

local of_code = {
  invalid_argument = status.wrong, unknown_option = status.wrong, signature = status.wrong, out_of_range = status.wrong,
  bad_file = status.wrong,
  out_of_memory = status.resource, window_full = status.resource, heap_full = status.resource,
  dep_pool_full = status.resource, scope_deadlock = status.resource, resource_limit = status.resource,
  timeout = status.deadline,
}

--- The exit status for anything that was raised while a program ran.
function status.of(err)
  return failure.is(err) and of_code[err.code] or status.failed
end

return status
