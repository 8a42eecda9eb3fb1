-- baton.place: where a case of a scene runs. Later wins: built-in defaults, environment, the scene's worker, scene, case,
-- command line.
local baton = require "baton"
local options = require "baton.options"

local place = {}

local function contains(list, value)
  for _, entry in ipairs(list) do
    if entry == value then return true end
  end
  return false
end

local function worker_config(scene) return scene.worker and scene.worker.config or {} end

--- The platforms to run on.
function place.platforms(scene, settings)
  local chosen = settings.command.platform or scene.worker and { scene.worker.platform } or {}
  if #chosen == 0 then chosen = settings.environment.platform or {} end
  if #chosen > 0 then return chosen end
  local default = baton.platforms()[1]
  if scene.platforms and not contains(scene.platforms, default) then default = scene.platforms[1] end
  return { default }
end

--- Why the scene does not run on a platform, or nil.
function place.unfit_platform(scene, platform)
  if scene.platforms and not contains(scene.platforms, platform) then
    return "the scene is for " .. table.concat(scene.platforms, ", ")
  end
end

--- The runtimes for a case; one that nobody asked for by name is the first that fits the program.
function place.runtimes(scene, case, settings)
  local worker = scene.worker or {}
  local own = options.merge({ runtime = settings.environment.runtime }, { runtime = worker.runtime },
    { runtime = worker_config(scene).runtime }, { runtime = (scene.config or {}).runtime },
    { runtime = (case.config or {}).runtime }, { runtime = settings.command.runtime })
  local fitting = scene:fitting_runtimes()
  if own.runtime == "all" then return fitting end
  return { own.runtime or fitting[1] }
end

-- How many chips a scene needs: the sum of those of its nodes.
local function devices_of(scene)
  local worker, count = scene.worker or {}, 0
  for _, child in ipairs(worker.children or { worker }) do count = count + (child.devices or 1) end
  return count
end

--- Why the scene does not run on the devices that the command line chooses, or nil.
function place.unfit_devices(scene, settings)
  local chosen, needed = settings.command.device, devices_of(scene)
  if scene.level > 2 and chosen and #chosen < needed then
    return ("the scene needs %d devices, -d chooses %d"):format(needed, #chosen)
  end
end

--- Why the scene does not run on a runtime although its program might, or nil. `runtime` is false where each program of a
--- node takes its own.
function place.unfit_runtime(scene, runtime)
  if scene.runtimes and not contains(scene.runtimes, runtime) then
    return "the scene is for " .. table.concat(scene.runtimes, ", ")
  end
end

--- Seconds that a run of the case may take, or nil.
function place.deadline(scene, case, settings)
  return settings.command.timeout or (case.config or {}).deadline or (scene.config or {}).deadline
    or worker_config(scene).deadline or settings.environment.timeout
end

--- How the kernels of the scene are kept apart from this process.
function place.isolation(scene, settings)
  return settings.command.isolation or scene.worker and scene.worker.isolation or settings.environment.isolation or "thread"
end

-- The options of a node: the chosen devices from `first` on, or as many free ones.
local function node_options(scene, needs, platform, settings, first)
  local chosen, devices = settings.command.device, needs.devices or 1
  if chosen then devices = table.move(chosen, first, first + devices - 1, 1, {}) end
  return options.merge(needs, { level = 3, platform = platform, devices = devices,
    isolation = place.isolation(scene, settings) })
end

local function open_node_of_nodes(scene, platform, settings)
  local children, first = {}, 1
  for i, needs in ipairs(scene.worker.children) do
    children[i] = node_options(scene, needs, platform, settings, first)
    first = first + (needs.devices or 1)
  end
  local own = options.merge(scene.worker, { level = 4, children = children })
  own.platform, own.isolation = nil, nil
  return baton.worker(own)
end

--- Opens the worker of a scene: a chip, a node, or a node of nodes, where `isolation` is that of each child.
function place.open(scene, platform, settings)
  if scene.level == 4 then return open_node_of_nodes(scene, platform, settings) end
  if scene.level == 3 then return baton.worker(node_options(scene, scene.worker or {}, platform, settings, 1)) end
  local device = settings.command.device or settings.environment.device
  local needs = options.merge({ device = device and device[1] }, scene.worker)
  needs.devices, needs.subs = nil, nil
  return baton.worker(options.merge(needs, { platform = platform, isolation = place.isolation(scene, settings),
    device = settings.command.device and device[1] }))
end

return place
