-- How much memory this process has.
local memory = {}

--- Sanitizers keep what is freed and need more for everything.
memory.is_telling = os.getenv "BATON_TEST_SMALL" == nil

--- Resident KiB, after a collection.
function memory.resident()
  collectgarbage()
  for line in io.lines "/proc/self/status" do
    local kib = line:match "^VmRSS:%s*(%d+)"
    if kib then return tonumber(kib) end
  end
end

return memory
