-- baton.devices: `baton devices`, the platforms of this build and what they have on this machine.
local argparse = require "baton.argparse"
local baton = require "baton"
local json = require "baton.json"
local settings = require "baton.settings"
local status = require "baton.status"

local devices = {}

local function parser()
  local p = argparse("baton devices", "List the platforms of this build and what a device of each has on this machine.")
  p:flag("--json", "Write one JSON value to standard output.")
  return p
end

local function size(bytes)
  for _, unit in ipairs { { 30, "GiB" }, { 20, "MiB" }, { 10, "KiB" } } do
    if bytes >= 1 << unit[1] then return ("%.4g %s"):format(bytes / (1 << unit[1]), unit[2]) end
  end
  return bytes .. " B"
end

local function megahertz(hz) return ("%.4g MHz"):format(hz / 1e6) end

local columns = {
  { "platform", function(p) return p.name end },
  { "clusters", function(p) return tostring(p.clusters) end },
  { "matrix cores", function(p) return tostring(p.aic) end },
  { "vector cores", function(p) return tostring(p.aiv) end },
  { "control threads", function(p) return tostring(p.control_threads) end },
  { "clock", function(p) return megahertz(p.clock_hz) end },
  { "memory", function(p) return size(p.memory) end },
  { "simulated on", function(p) return ("%d CPU%s"):format(p.threads, p.threads == 1 and "" or "s") end },
}

local function print_table(platforms)
  local rows = { {} }
  for i, column in ipairs(columns) do rows[1][i] = column[1] end
  for _, platform in ipairs(platforms) do
    local row = {}
    for i, column in ipairs(columns) do row[i] = column[2](platform) end
    rows[#rows + 1] = row
  end
  for _, row in ipairs(rows) do
    local cells = {}
    for i, cell in ipairs(row) do
      local width = 0
      for _, other in ipairs(rows) do width = math.max(width, #other[i]) end
      cells[i] = cell .. (" "):rep(width - #cell)
    end
    io.write((table.concat(cells, "  "):gsub("%s+$", "")), "\n")
  end
end

-- The devices that processes have open.
local function owned(platforms)
  local list = json.array()
  for _, platform in ipairs(platforms) do
    for device = 0, settings.most_devices - 1 do
      local pid = baton.device_owner(platform.name, device)
      if pid then list[#list + 1] = { platform = platform.name, device = device, pid = pid } end
    end
  end
  return list
end

--- Runs the command with its arguments; returns the exit status.
function devices.main(...)
  local arguments = settings.parse(parser(), { ... })
  local platforms = json.array()
  for i, name in ipairs(baton.platforms()) do platforms[i] = baton.platform(name) end
  if arguments.json then
    io.write(json.encode({ baton = baton.version, platforms = platforms, owned = owned(platforms) }, 2), "\n")
  else
    print_table(platforms)
    for _, one in ipairs(owned(platforms)) do
      io.write(("device %d of %s is in use by process %d\n"):format(one.device, one.platform, one.pid))
    end
  end
  return status.ok
end

return devices
