-- What checks of faults share: each raises an error that says what does not hold.
local check = {}

check.patience = 100 -- seconds after which what should happen has not

function check.expect(condition, what)
  if not condition then error(what, 2) end
end

--- What `f` raises, which has one of these codes.
function check.raised(codes, f, ...)
  local ok, err = pcall(f, ...)
  check.expect(not ok, "nothing was raised")
  local code = type(err) == "table" and err.code or tostring(err)
  check.expect((" " .. codes .. " "):find(" " .. code .. " ", 1, true), ("%s expected, got %s"):format(codes, tostring(err)))
  return err
end

--- Waits until `f` says so; `seconds` are those of check.patience without.
function check.await(what, f, seconds)
  local last = os.time() + (seconds or check.patience)
  while not f() do check.expect(os.time() < last, what .. " has not happened") end
end

--- Whether there is a process with this number that is not dead.
function check.process_lives(pid)
  local file = io.open(("/proc/%d/stat"):format(pid))
  if not file then return false end
  local text = file:read "a" -- nil: it has gone since
  local state = text and text:match "%) (%a)"
  file:close()
  return state ~= "Z" and state ~= nil
end

--- Waits until none of these processes lives.
function check.await_ends(pids, seconds)
  for _, pid in ipairs(pids) do
    if pid > 0 then check.await("the end of a child", function() return not check.process_lives(pid) end, seconds) end
  end
end

return check
