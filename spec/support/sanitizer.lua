-- Which sanitizer this program is built with.
local sanitizer = {}

local maps <close> = assert(io.open "/proc/self/maps")

--- "asan", "tsan" or nil.
sanitizer.name = maps:read("a"):match "lib([at]san)"

return sanitizer
