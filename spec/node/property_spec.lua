-- Random programs of a node give what they give one task after the other. A seed that fails is part of the message:
-- BATON_SEED=SEED runs it alone.
local nodes = require "spec.support.node_programs"
local tensor = require "baton.tensor"

local SIZE, HOSTS, BUFFERS = 12, 3, 4 -- elements of each place, places in host memory and in the memory of each chip

-- 64-bit xorshift.
local function generator(seed)
  local state = seed * 0x9E3779B97F4A7C15 | 1
  return function(count)
    state = state ~ state << 13
    state = state ~ state >> 7
    state = state ~ state << 17
    return (state >> 33) % count + 1
  end
end

-- A place: a part of host memory or of a buffer; `values` is what it holds in the model.
local function part(place, random)
  local count = random(SIZE)
  return { place = place, first = random(SIZE - count + 1), count = count }
end

local function same_part(random, place, like)
  return { place = place, first = random(SIZE - like.count + 1), count = like.count }
end

local function view(one)
  local place = one.place
  return (place.host or place.device):slice(1, one.first, one.count)
end

local function shares(a, b)
  return a.place == b.place and a.first < b.first + b.count and b.first < a.first + a.count
end

-- The places that a task on `worker` may touch.
local function pick(places, random, worker)
  while true do
    local place = places[random(#places)]
    if not place.worker or place.worker == worker then return place end
  end
end

local kinds = {}

function kinds.fill(orch, places, random, worker, options)
  local x, value = part(pick(places, random, worker), random), random(1000)
  orch.submit_next_level(nodes.fill, { view(x), value }, options)
  for i = 0, x.count - 1 do x.place.values[x.first + i] = value end
end

function kinds.mix(orch, places, random, worker, options)
  local c = part(pick(places, random, worker), random)
  local a, b
  repeat
    a, b = same_part(random, pick(places, random, worker), c), same_part(random, pick(places, random, worker), c)
  until not shares(a, c) and not shares(b, c)
  local k = random(1000)
  orch.submit_next_level(nodes.mix, { view(a), view(b), view(c), k }, options)
  for i = 0, c.count - 1 do
    c.place.values[c.first + i] = 3 * a.place.values[a.first + i] + b.place.values[b.first + i] + k
  end
end

-- Between the memories of a chip and of the host.
function kinds.transfer(orch, places, random)
  local host, buffer = pick(places, random, -1), places[HOSTS + random(#places - HOSTS)]
  local there = part(buffer, random)
  local here = same_part(random, host, there)
  local options = { offset = 8 * (there.first - 1), nbytes = 8 * there.count }
  local from, to = here, there
  if random(2) == 1 then
    orch.copy_to(buffer.buffer, view(here), options)
  else
    orch.copy_from(view(here), buffer.buffer, options)
    from, to = there, here
  end
  for i = 0, there.count - 1 do to.place.values[to.first + i] = from.place.values[from.first + i] end
end

-- The members of a group touch different memory.
function kinds.group(orch, places, random, _, _, workers)
  local members, chips, first = {}, {}, random(workers)
  for i = 1, 2 do
    local worker = (first + i) % workers
    local own
    repeat own = places[HOSTS + random(#places - HOSTS)] until own.worker == worker
    local x, value = part(own, random), random(1000)
    members[i], chips[i] = { view(x), value }, worker
    for e = 0, x.count - 1 do x.place.values[x.first + e] = value end
  end
  orch.submit_next_level_group(nodes.fill, members, { workers = chips })
end

function kinds.sub(orch, places, random)
  local x, add = part(pick(places, random, -1), random), random(1000)
  orch.submit_sub(function(args) args.x:add_(args.add) end, { x = view(x), add = add })
  for i = 0, x.count - 1 do x.place.values[x.first + i] = x.place.values[x.first + i] + add end
end

-- Reads in the middle of the run.
function kinds.look(_, places, random)
  local place = pick(places, random, -1)
  local i = random(SIZE)
  assert(place.host:get(i) == place.values[i], "a wrong value in the middle")
end

local names = { "fill", "fill", "mix", "mix", "mix", "mix", "transfer", "transfer", "group", "sub", "look" }

local function make_places(node, workers, random)
  local places = {}
  for i = 1, HOSTS + workers * BUFFERS do
    local place = { values = {} }
    for e = 1, SIZE do place.values[e] = random(100) end
    local host = tensor.from(place.values, "i64")
    if i <= HOSTS then
      place.host = host
    else
      place.worker = (i - 1) % workers
      place.buffer = node:malloc(place.worker, 8 * SIZE)
      place.device = place.buffer:tensor("i64", { SIZE })
      node:copy_to(place.buffer, host)
    end
    places[i] = place
  end
  return places
end

local function check(node, workers, places, random, tasks)
  node:run(function(orch)
    for _ = 1, tasks do
      local worker = random(workers) - 1
      kinds[names[random(#names)]](orch, places, random, worker, { worker = worker }, workers)
    end
  end)
  for i, place in ipairs(places) do
    local host = place.host or tensor.zeros("i64", { SIZE })
    if place.buffer then node:copy_from(host, place.buffer) end
    assert.same(place.values, host:totable(), "place " .. i)
  end
end

local chosen = tonumber(os.getenv "BATON_SEED")
local seeds = os.getenv "BATON_TEST_SMALL" and 3 or 30

for _, isolation in ipairs(nodes.isolations) do
  describe("random programs of a node with isolation " .. isolation, function()
    for workers = 2, 3 do
      it(("on %d chips give what they give one after the other"):format(workers), function()
        local node <close> = nodes.open(isolation, { devices = workers, subs = 1 })
        for seed = chosen or 1, chosen or seeds do
          local random = generator(seed * 64 + workers)
          local places = make_places(node, workers, random)
          for _ = 1, 2 do
            local ok, err = pcall(check, node, workers, places, random, 60)
            if not ok then error(("seed %d: %s"):format(seed, tostring(err)), 0) end
          end
          for _, place in ipairs(places) do
            if place.buffer then node:free(place.buffer) end
          end
        end
      end)
    end
  end)
end
