-- baton.leaks: what the tests of a spec leave behind on workers, by the places where the workers were opened.
local baton = require "baton"

local leaks = {}

-- The line outside of this file that called.
local function caller()
  local here, level = debug.getinfo(1, "S").source, 3
  local info = debug.getinfo(level, "Sl")
  while info and (info.source == here or info.currentline < 0) do
    level = level + 1
    info = debug.getinfo(level, "Sl")
  end
  return info and ("%s:%d"):format(info.short_src, info.currentline) or "?"
end

--- Notes the workers that are opened from now on, until the function that it returns is called. The list has a
--- { worker =, place = } for each that is not closed, and keeps them from the collector, which would close them.
function leaks.watch()
  local open, list = baton.worker, {}
  baton.worker = function(...)
    local worker, place = open(...), caller()
    list[#list + 1] = { worker = worker, place = place }
    return worker
  end
  return list, function() baton.worker = open end
end

-- The buffers and runs that live on a worker: a text for each, keyed by its name.
local function things_of(entry)
  local things = {}
  for line in entry.worker:dump():gmatch "[^\n]+" do
    local number, bytes = line:match "^  buffer (%d+): (%d+) bytes, live"
    local run, program = line:match "^  run (%d+): (.-) on "
    if number then things["buffer " .. number] = ("a buffer of %s bytes"):format(bytes) end
    if run then things["run " .. run] = "a run of " .. program end
  end
  return things
end

--- What lives now: pass it to `left` later.
function leaks.now(list)
  local known = {}
  for _, entry in ipairs(list) do
    if entry.worker.state ~= "closed" then known[entry] = things_of(entry) end
  end
  return known
end

--- What has come since `known` and still lives, as sentences. Its workers are closed, so that each is told once. Buffers and
--- runs that nobody can reach any more go first.
function leaks.left(list, known)
  local found = {}
  collectgarbage()
  collectgarbage()
  for i = #list, 1, -1 do
    local entry = list[i]
    if entry.worker.state == "closed" then
      table.remove(list, i)
    elseif not known[entry] then
      found[#found + 1] = ("the worker opened at %s is not closed"):format(entry.place)
      entry.worker:close()
      table.remove(list, i)
    else
      for name, text in pairs(things_of(entry)) do
        if not known[entry][name] then
          found[#found + 1] = ("%s stays on the worker opened at %s"):format(text, entry.place)
        end
      end
    end
  end
  table.sort(found)
  return found
end

return leaks
