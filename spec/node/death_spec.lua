-- A child that dies at any point of the protocol costs at most what it was doing: the next one takes its place, with the
-- programs and the buffers of the old one.
local baton = require "baton"
local command = require "spec.support.command"
local host = require "baton.host"

local n = 16

local function increment()
  return baton.program {
    name = "increment", signature = { { "x", "inout", "f32", { n } } },
    kernels = { one = { core = "aiv", signature = { { "x", "inout" } }, code = [[
      #include <baton/kernel.h>
      BATON_KERNEL(one) { for (int64_t i = 0; i < baton_numel(args, 0); i++) baton_io(args, 0, float)[i] += 1; }]] } },
    orchestration = { entry = "go", code = [[
      #include <baton/orchestration.h>
      BATON_ORCHESTRATION(go) {
        baton_aiv(o, baton_kernel(o, "one"), BATON_ARGS(baton_inout(baton_param(o, args, 0))), NULL);
      }]] },
  }
end

local function open(options)
  options.level, options.isolation = 3, "process"
  return baton.worker(options)
end

describe("a child of a node", function()
  local program
  setup(function() program = increment() end)
  after_each(function() host.setenv "BATON_WORKER_DIE_AT" end)

  -- One run that touches host memory and child memory; returns what the host tensor holds afterwards.
  local function increment_both(node, buffer)
    local x = baton.tensor.zeros("f32", { n })
    node:run(function(orch)
      orch.submit_next_level(program, { x }, { worker = 0 })
      orch.submit_next_level(program, { buffer:tensor("f32", { n }) })
    end)
    return x:get(1)
  end

  for _, point in ipairs { "take", "begin", "reply", "replied" } do
    for nth = 1, 4 do
      it(("may die at '%s', the %d. time"):format(point, nth), function()
        host.setenv("BATON_WORKER_DIE_AT", ("%s:%d"):format(point, nth))
        local node <close> = open { devices = 1 }
        local lost = 0
        for _ = 1, 8 do
          local ok, err = pcall(function()
            local buffer <close> = node:malloc(0, 4 * n)
            node:copy_to(buffer, baton.tensor.zeros("f32", { n }))
            assert.equal(1, increment_both(node, buffer))
          end)
          if not ok then
            lost = lost + 1
            assert.equal("worker_lost", err.code, tostring(err))
            assert.equal(9, err.signal)
            assert.equal(0, err.worker)
          end
        end
        assert.is_true(lost <= 1)
        local buffer <close> = node:malloc(0, 4 * n)
        assert.equal(1, increment_both(node, buffer))
      end)
    end
  end

  for _, point in ipairs { "open", "ready", "segment" } do
    it(("may die at '%s', before it is ready"):format(point), function()
      host.setenv("BATON_WORKER_DIE_AT", point)
      local ok, err = pcall(open, { devices = 2 })
      assert.is_false(ok)
      assert.equal("worker_lost", err.code)
      assert.truthy(err.message:find "^worker %d: its child %(pid %d+%) was killed by signal 9 %(Killed%) before it was ready$")
    end)
  end

  it("is named as what it is if it is a sub worker", function()
    host.setenv("BATON_WORKER_DIE_AT", "ready")
    local ok, err = pcall(open, { devices = 0, subs = 1 })
    assert.is_false(ok)
    assert.same({ "worker_lost" }, { err.code, err.worker }) -- no chip is to blame
    assert.matches("^sub worker 0: its child %(pid %d+%) was killed", err.message)
  end)

  it("has so many seconds to begin", function()
    local folder = command.folder()
    local silent = command.write(folder .. "/silent", "#!/bin/sh\nexec sleep 100\n")
    os.execute("chmod +x " .. command.quote(silent))
    local begin = os.time()
    local ok, err = pcall(open, { devices = 1, worker_program = silent, startup_timeout = 0.5 })
    command.remove(folder)
    assert.is_false(ok)
    assert.equal("timeout", err.code)
    assert.is_true(os.time() - begin < 30) -- the default is a minute
  end)

  it("keeps its buffers through the death", function()
    host.setenv("BATON_WORKER_DIE_AT", "begin:9")
    local node <close> = open { devices = 1 }
    local buffer <close> = node:malloc(0, 4 * n)
    local zeros, seen = baton.tensor.zeros("f32", { n }), 0
    node:copy_to(buffer, zeros)
    for _ = 1, 12 do -- what a child was doing when it died may be done or not
      if pcall(node.copy_to, node, buffer, baton.tensor.full("f32", { n }, 7)) then seen = seen + 1 end
    end
    assert.is_true(seen >= 11)
    local back = baton.tensor.zeros("f32", { n })
    node:copy_from(back, buffer)
    assert.equal(7, back:get(n))
  end)

  it("is not started without its program, which is named", function()
    local ok, err = pcall(open, { devices = 1, worker_program = "/nowhere/baton-worker" })
    assert.is_false(ok)
    assert.equal("io_error", err.code)
    assert.equal("the worker program '/nowhere/baton-worker' (worker_program) cannot be executed: No such file or directory",
      err.message)
    assert.equal("/nowhere/baton-worker", err.path)
  end)
end)
