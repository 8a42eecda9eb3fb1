local baton = require "baton"
local glue = require "baton.busted"
local programs = require "spec.support.programs"
local tensor = require "baton.tensor"
local raises = glue.raises

describe("a submit", function()
  -- Runs `graph(g, x)` on x = {0} and returns its element. append makes 10 x + digit of x.
  local function run(graph)
    local chip <close> = baton.worker { runtime = "tensormap_and_ringbuffer" }
    local x = tensor.zeros("f32", { 1 })
    chip:run(programs.vector { signature = { { "x", "inout", "f32" } }, graph = graph }, { x })
    return x:get(1)
  end

  -- KiB that 10,000 submits leave behind.
  local function garbage(submit)
    submit()
    collectgarbage()
    collectgarbage "stop"
    local before = collectgarbage "count"
    for _ = 1, 10000 do submit() end
    local after = collectgarbage "count"
    collectgarbage "restart"
    return after - before
  end

  it("makes no garbage from a prepared list, by position and by name, nor from arguments one by one", function()
    local list, named, changed, single
    run(function(g, x)
      local in_order, by_name = baton.args { x, 0 }, baton.args { digit = 0, x = x }
      list = garbage(function() g.aiv("append", in_order) end)
      named = garbage(function() g.aiv("append", by_name) end)
      changed = garbage(function()
        in_order[2] = 0
        g.aiv("append", in_order)
      end)
      single = garbage(function() g.aiv("append", x, 0) end)
    end)
    assert.same({ 0, 0, 0, 0 }, { list, named, changed, single })
  end)

  it("takes a list by name for each kernel in the order of that kernel", function()
    assert.equal(3, run(function(g, x)
      local c = g.alloc("f32", { 1 })
      local list = baton.args { a = x, c = c, value = 3 }
      local add = baton.args { a = c, b = x, c = g.alloc("f32", { 1 }) }
      g.aiv("add_scalar", list)
      g.aiv("add", add)
      add.c, add.b = x, g.alloc("f32", { 1 }, { fill = 0 })
      g.aiv("add", add)
      assert.equal("vector: kernel append: argument 1 (x) is missing",
        raises("signature", g.aiv, "append", list))
      g.aiv("add_scalar", list)
    end))
  end)

  it("refuses tables of which it would have to guess the order, and takes any other", function()
    assert.equal(12345, run(function(g, x)
      local filled_backwards = {}
      filled_backwards[2], filled_backwards[1] = 1, x
      g.aiv("append", filled_backwards)
      g.aiv("append", { digit = 2, x = x })
      g.aiv("append", { x, 3 })
      g.aiv("append", { x, baton.scalar("f32", 4) })
      g.aiv("append", { baton.inout(x), 5 })
      local mixed = { digit = 1 }
      mixed[1] = x
      assert.equal("vector: kernel append: argument 1 (x) is missing", raises("signature", g.aiv, "append", mixed))
      assert.equal("vector: kernel append: no argument is named y",
        raises("signature", g.aiv, "append", { x = x, digit = 1, y = 1 }))
    end))
  end)

  it("knows a kernel by its name, whatever string that is in", function()
    assert.equal(1234, run(function(g, x)
      for digit, name in ipairs { "append", "app" .. "end", ("xappend"):sub(2), table.concat { "a", "ppend" } } do
        g.aiv(name, x, digit)
        collectgarbage()
      end
    end))
    assert.equal("vector: no kernel is named 'appen'",
      raises("invalid_argument", run, function(g, x) g.aiv("appen", x, 1) end))
  end)

  it("refuses a prepared list of another run", function()
    local kept
    run(function(g, x)
      kept = baton.args { x, 1 }
      g.aiv("append", kept)
    end)
    assert.equal("vector: kernel append: argument 1: a device tensor of another run; it lived until its graph function "
      .. "returned", raises("stale_handle", run, function(g) g.aiv("append", kept) end))
  end)
end)
