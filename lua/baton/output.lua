-- baton.output: standard output of the commands, whose loss must be noticed.
local failure = require "baton.error"

local output = {}

local broken_pipe = 32

--- Takes what `write` or `flush` of standard output returned; raises `io_error` if it failed, except that nobody reads it
--- any more: that is no failure.
function output.check(written, why, number)
  if written or number == broken_pipe then return end
  error(failure.new { code = "io_error", message = "standard output: " .. why }, 0)
end

return output
