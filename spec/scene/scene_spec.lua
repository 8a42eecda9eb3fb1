local baton = require "baton"
local raises = require("baton.busted").raises
local tensor = require "baton.tensor"

local function definition(changes)
  local scene = { name = "s", program = {}, args = function() return {} end }
  for key, value in pairs(changes or {}) do scene[key] = value end
  return scene
end

describe("baton.scene", function()
  local function refused(code, changes) return raises(code, baton.scene, definition(changes)) end

  it("fills in level and cases", function()
    local scene = baton.scene(definition())
    assert.equal(2, scene.level)
    assert.equal("default", scene.cases[1].name)
    assert.same({}, scene.cases[1].params)
    assert.equal("scene s, 1 cases", tostring(scene))
  end)

  it("names an unknown key and the nearest known one", function()
    assert.equal("scene s: unknown key 'cses', did you mean 'cases'?", refused("unknown_option", { cses = {} }))
    assert.equal("scene s: cases[1]: unknown key 'parms', did you mean 'params'?",
      refused("unknown_option", { cases = { { name = "a", parms = {} } } }))
    assert.equal("scene s: tolerance: unknown key 'tol', did you mean 'atol'?",
      refused("unknown_option", { tolerance = { tol = 1 } }))
  end)

  it("names a field that is missing or has the wrong type", function()
    assert.equal("scene: field 'name' must be a string, got 3", raises("invalid_argument", baton.scene,
      definition { name = 3 }))
    assert.equal("scene: a table expected, got nil", raises("invalid_argument", baton.scene))
    assert.equal("scene s: field 'args' must be a function, got 'x'", refused("invalid_argument", { args = "x" }))
    assert.equal("scene s: field 'golden' must be a function or a table, got true",
      refused("invalid_argument", { golden = true }))
    assert.equal("scene s: unchecked[1] must be a string, got 1", refused("invalid_argument", { unchecked = { 1 } }))
    assert.equal("scene s: platforms must be a list, it has the key 'a2a3sim'",
      refused("invalid_argument", { platforms = { a2a3sim = true } }))
  end)

  it("refuses two cases of one name and a list without cases", function()
    assert.equal("scene s: cases[1] and cases[2] are both named 'a'",
      refused("invalid_argument", { cases = { { name = "a" }, { name = "a" } } }))
    assert.equal("scene s: cases is empty", refused("invalid_argument", { cases = {} }))
  end)

  it("wants a program at level 2 and an orchestration at level 3", function()
    assert.equal("scene s: level must be 2, 3 or 4, got 5", refused("invalid_argument", { level = 5 }))
    assert.equal("scene s: field 'orchestrate' is missing, level 3 needs it", refused("invalid_argument", { level = 3 }))
    assert.equal("scene s: field 'orchestrate' does not belong to level 2",
      refused("invalid_argument", { orchestrate = print }))
    assert.equal("scene s: field 'program' does not belong to level 3",
      refused("invalid_argument", { level = 3, orchestrate = print }))
  end)

  it("says at level 4 what each node needs", function()
    local function wrong(worker)
      return raises("invalid_argument", baton.scene,
        { name = "s", level = 4, orchestrate = function() end, args = function() return {} end, worker = worker })
    end
    assert.equal("scene s: worker: field 'children' must be a list of what each node needs, got nil", wrong())
    assert.equal("scene s: worker: children[2] must be a table, got 3", wrong { children = { {}, 3 } })
    assert.equal("scene s: children[1]: worker: field 'devices' must be an integer from 1 to 64, got '0-1'",
      wrong { children = { { devices = "0-1" } } })
    assert.equal("scene s: worker: field 'devices' does not belong to level 4", wrong { children = { {} }, devices = 2 })
    assert.equal("scene s: worker: field 'subs' must be an integer from 0 to 64, got -1", wrong { children = { {} }, subs = -1 })
  end)

  describe("at level 3", function()
    local function node_scene(changes)
      local scene = { name = "s", level = 3, orchestrate = function() end, args = function() return {} end }
      for key, value in pairs(changes or {}) do scene[key] = value end
      return scene
    end

    it("says with numbers what it needs", function()
      local function wrong(worker) return raises("invalid_argument", baton.scene, node_scene { worker = worker }) end
      assert.equal("scene s: worker: field 'devices' must be an integer from 1 to 64, got '0-1'", wrong { devices = "0-1" })
      assert.equal("scene s: worker: field 'devices' must be an integer from 1 to 64, got 65", wrong { devices = 65 })
      assert.equal("scene s: worker: field 'subs' must be an integer from 0 to 64, got -1", wrong { subs = -1 })
      assert.equal("scene s: worker: field 'device' does not belong to a node", wrong { device = 1 })
      local _, err = pcall(baton.scene, node_scene { worker = { devices = {} } })
      assert.equal("it says how many devices the scene needs; the command line chooses which: -d 0-1", err.hint)
    end)

    it("has a signature that follows from the arguments, and runtimes only if it names them", function()
      local scene = baton.scene(node_scene())
      local args = { y = tensor.zeros("f32", { 2 }), n = 3, x = tensor.zeros("i8", { 1 }), rate = 0.5, name = "text" }
      assert.same({ { "n", "i64" }, { "rate", "f64" }, { "x", "inout", "i8" }, { "y", "inout", "f32" } },
        (scene:signature(args)))
      assert.same({ false }, scene:fitting_runtimes())
      assert.same({ "host_build_graph" }, baton.scene(node_scene { runtimes = { "host_build_graph" } }):fitting_runtimes())
    end)
  end)
end)
