-- paged_attention.lua [REPETITIONS [SECONDS]]: how long the medium case of the scene takes on a simulated chip, in the
-- lines of sample.h: on the device, from the launch to the end of the last task, and from the submit until the results
-- are back. Keys and values lie on the device, as they do where attention runs once a token; the graph is built before
-- the clock starts; the result is checked once.
local baton = require "baton"
local scene = require("baton.scene").load "scenes/paged_attention.lua"

local repetitions, seconds = tonumber(arg[1] or 20), tonumber(arg[2] or 0.5)
local params = scene:case("medium").params
local args = scene.args(params, 42, {})
local chip <close> = baton.worker { platform = "a2a3sim" }

local placed = {}
for name, value in pairs(args) do placed[name] = value end
for _, name in ipairs { "key_cache", "value_cache" } do
  local buffer = chip:malloc(args[name].nbytes)
  chip:copy_to(buffer, args[name])
  placed[name] = buffer:tensor(args[name].dtype, args[name].shape)
end

chip:run(scene.program, placed)
local close, difference = args.out:allclose(scene.golden(args, params).out, scene.tolerance)
if not close then error(tostring(difference), 0) end

local device, host = {}, {}
local enough = os.clock() + seconds
while #device < repetitions or os.clock() < enough do
  local timing = chip:run(scene.program, placed)
  device[#device + 1], host[#host + 1] = timing.device, timing.host
end

for name, values in pairs { paged_attention = device, paged_attention_host = host } do
  table.sort(values)
  local median = (values[(#values + 1) // 2] + values[#values // 2 + 1]) / 2
  print(("baton\t%s\tus\t%.6g\t%.6g\t%.6g"):format(name, median, values[1], values[#values]))
end
