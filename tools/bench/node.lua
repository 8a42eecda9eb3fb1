-- node.lua [REPETITIONS [SUBMITS]]: what a submit at a node costs from Lua, in the lines of sample.h: one tensor in a prepared list,
-- while the task that all of them must wait for runs; ns a submit.
local baton = require "baton"
local tensor = require "baton.tensor"

local repetitions, submits = tonumber(arg[1] or 15), math.tointeger(arg[2] or 4000)

local code = [[
#include <baton/kernel.h>
#include <time.h>
BATON_KERNEL(touch) { baton_io(args, 0, float)[0] += 1; }
BATON_KERNEL(hold) {
  baton_io(args, 0, float)[0] += 1;
  nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
}]]

local function host_function(entry)
  return baton.program { name = entry, signature = { { "x", "inout", "f32" } }, host = { code = code, entry = entry } }
end

local touch, hold = host_function "touch", host_function "hold"
local x = tensor.zeros("f32", { 256 })
local node <close> = baton.worker { level = 3, devices = "0" }

local function submit_held(orch)
  local submit, list = orch.submit_next_level, baton.args { x }
  submit(hold, list)
  for _ = 1, submits do submit(touch, list) end
end

-- Until the function has returned; all but the submits is over before the first of them ends.
local function once() return node:run(submit_held).orch * 1000 / submits end

once()
local samples = {}
for i = 1, repetitions do samples[i] = once() end
table.sort(samples)
local median = (samples[(#samples + 1) // 2] + samples[#samples // 2 + 1]) / 2
print(("baton\tnode_submit_lua\tns a submit\t%.6g\t%.6g\t%.6g"):format(median, samples[1], samples[#samples]))
