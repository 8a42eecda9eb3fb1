require "baton.busted"
local command = require "spec.support.command"
local json = require "baton.json"
local scene_file = require "spec.support.scene"
local tensor = require "baton.tensor"

describe("on a scene of level 3", function()
  local folder
  setup(function() folder = command.folder() end)
  teardown(function() command.remove(folder) end)

  local function path(name) return folder .. "/" .. name end
  local function scene(changes) return scene_file.write_for_node(path "scene.lua", changes) end
  local function run(...) return command.run { "run", ... } end
  local function shown(result) return (result.out:gsub("%d+%.%d+ ms", "T"):gsub("  device %S+", "  device T")) end

  describe("baton run", function()
    it("opens a node and prints a line for each case", function()
      local result = run(scene())
      assert.equal("", result.err)
      assert.equal("sums  a2a3sim  -  small  1 round  PASS  host T  device T\n"
        .. "sums  a2a3sim  -  wide  1 round  PASS  host T  device T\n"
        .. "2 passed, 0 failed, 0 skipped\n", shown(result))
      assert.equal(0, result.status)
    end)

    it("runs rounds on chosen devices and platforms, with either isolation", function()
      for _, isolation in ipairs { "thread", "process" } do
        local result = run(scene(), "--case", "small", "--rounds", "3", "-p", "all", "-d", "2,5,7", "--isolation", isolation)
        assert.equal("sums  a2a3sim  -  small  3 rounds  PASS  host T  device T\n"
          .. "sums  a5sim  -  small  3 rounds  PASS  host T  device T\n2 passed, 0 failed, 0 skipped\n", shown(result),
          result.err)
      end
      local result = run(scene "scene.orchestrate = function(orch) orch.fail(tostring(orch.workers)) end", "-d", "4-9")
      assert.truthy(result.out:find("user_fail: 2", 1, true), result.out)
    end)

    it("takes its runtime from the command line, or those that the scene is for", function()
      local result = run(scene(), "--case", "small", "--runtime", "tensormap_and_ringbuffer")
      assert.equal("sums  a2a3sim  tensormap_and_ringbuffer  small  1 round  PASS  host T  device T\n"
        .. "1 passed, 0 failed, 0 skipped\n", shown(result))
      result = run(scene "scene.runtimes = { 'host_build_graph', 'tensormap_and_ringbuffer' }", "--case", "small",
        "--runtime", "all")
      assert.equal("sums  a2a3sim  host_build_graph  small  1 round  PASS  host T  device T\n"
        .. "sums  a2a3sim  tensormap_and_ringbuffer  small  1 round  PASS  host T  device T\n"
        .. "2 passed, 0 failed, 0 skipped\n", shown(result))
    end)

    it("skips a scene that needs more devices than were chosen", function()
      local result = run(scene(), "-d", "3", "--case", "small")
      assert.equal("sums  a2a3sim  small  SKIP  the scene needs 2 devices, -d chooses 1\n0 passed, 0 failed, 1 skipped\n",
        result.out)
      assert.equal(0, result.status)
    end)

    it("writes its level and isolation as JSON", function()
      local value = json.decode(run(scene(), "--case", "small", "--isolation", "process", "--json").out)
      local case = value.cases[1]
      assert.same({ 3, "process", "small", true, json.null, 1 },
        { case.level, case.isolation, case.case, case.ok, case.runtime, case.rounds })
      assert.equal("number", type(case.median_us.host))
    end)

    it("takes and stores the user's own files", function()
      tensor.full("f32", { 8 }, 10):save(path "a.npy")
      local result = run(scene(), "--input", "a=@" .. path "a.npy", "--output", "c=@" .. path "c.npy", "--seed", "3")
      assert.equal(0, result.status, result.out .. result.err)
      local want = tensor.uniform("f32", { 8 }, { seed = 3 }) + 10
      assert.tensor_close(tensor.load(path "c.npy"), want)
    end)

    it("names an input or output that the scene does not have", function()
      tensor.zeros("f32", { 8 }):save(path "z.npy")
      local result = run(scene(), "--input", "d=@" .. path "z.npy")
      assert.equal("sums  FAIL  invalid_argument: --input d: scene sums has no argument of that name, did you mean 'a'?; "
        .. "arguments: a, b, c\n0 passed, 1 failed, 0 skipped\n", result.out)
      assert.equal(2, result.status)
      result = run(scene(), "--case", "small", "--output", "e=@" .. path "z.npy")
      assert.equal("sums  FAIL  invalid_argument: --output e: scene sums has no output of that name, did you mean 'a'?; "
        .. "outputs: a, b, c\n0 passed, 1 failed, 0 skipped\n", result.out)
    end)

    it("restores all tensors before each round", function()
      local result = run(scene [[
        local orchestrate = scene.orchestrate
        scene.orchestrate = function(orch, args, p, round)
          assert(round == orch_round + 1)
          orch_round = round
          for i = 1, p.n do assert(args.c:get(i) == 0) end
          orchestrate(orch, args, p)
        end
        orch_round = 0]], "--case", "small", "--rounds", "4")
      assert.equal("sums  a2a3sim  -  small  4 rounds  PASS  host T  device T\n1 passed, 0 failed, 0 skipped\n", shown(result),
        result.err)
    end)
  end)

  describe("a result that is wrong", function()
    local function failed(expected, changes)
      local result = run(scene(changes), "--case", "small")
      assert.equal(("sums  a2a3sim  -  small  1 round  FAIL  %s  host T  device T\n0 passed, 1 failed, 0 skipped\n"):format(
        expected), shown(result))
      assert.equal(1, result.status)
    end

    it("is told by the tensor that golden returns", function()
      failed("c: 1 of 8 elements differ, the worst at [3]: got 1.5, want 99.0, 97.5 apart", [[
        scene.args = function(p)
          return { a = tensor.full("f32", { p.n }, 1.5), b = tensor.zeros("f32", { p.n }), c = tensor.zeros("f32", { p.n }) }
        end
        scene.golden = function(args) local c = args.a + args.b c:set(99, 3) return { c = c } end]])
    end)

    it("is also a tensor that golden does not return and that changes, unless it is unchecked", function()
      local changes = [[
        scene.worker.subs = 1
        local orchestrate = scene.orchestrate
        scene.orchestrate = function(orch, args, p)
          orchestrate(orch, args, p)
          orch.submit_sub(function(list) list.a:set(7, 2) end, { a = args.a })
        end
      ]]
      failed("a: 1 of 8 elements differ, the worst at [2]: got 7.0, want 1.5, 5.5 apart", changes)
      assert.equal(0, run(scene(changes .. "scene.unchecked = { 'a' }"), "--case", "small").status)
    end)
  end)

  describe("a scene file that is wrong", function()
    local function refused(status, expected, changes)
      local result = run(scene(changes), "--case", "small")
      assert.equal(expected:format(path "scene.lua"), result.out:match "^[^\n]+")
      assert.equal(status, result.status)
    end

    it("ends with status 2", function()
      local file = path "scene.lua"
      refused(2, file .. "  FAIL  invalid_argument: scene sums: field 'orchestrate' is missing, level 3 needs it",
        "scene.orchestrate = nil")
      refused(2, file .. "  FAIL  invalid_argument: scene sums: field 'program' does not belong to level 3",
        "scene.program = program")
      refused(2, file .. "  FAIL  invalid_argument: scene sums: worker: field 'devices' must be an integer from 1 to 64, got "
        .. "'0-1'; it says how many devices the scene needs; the command line chooses which: -d 0-1",
        "scene.worker = { devices = '0-1' }")
      refused(2, "sums  a2a3sim  -  small  0 rounds  FAIL  invalid_argument: scene sums: golden: 'd' is no tensor among the "
        .. "arguments, did you mean 'a'?; tensors: a, b, c", "scene.golden = function(args) return { d = args.a } end")
      refused(2, "sums  a2a3sim  -  small  0 rounds  FAIL  invalid_argument: scene sums: golden: c has shape [4], the output has "
        .. "[8]", "scene.golden = function(args) return { c = args.a:slice(1, 1, 4) } end")
    end)

    it("shows what the orchestrating function raised", function()
      refused(3, "sums  a2a3sim  -  small  0 rounds  FAIL  %s:34: not today", "scene.orchestrate = function() error 'not today' end")
      refused(2, "sums  a2a3sim  -  small  0 rounds  FAIL  out_of_range: malloc: worker 2: this node has the workers 0 to 1",
        "scene.orchestrate = function(orch) orch.malloc(2, 4) end")
    end)
  end)

  it("a golden result in C gets tensors and numbers in the order of their names", function()
    command.write(path "golden.c", [[
      #include <baton/kernel.h>
      BATON_KERNEL(golden) {
        const float *a = baton_in(args, 0, float), *b = baton_in(args, 1, float);
        float *c = baton_io(args, 2, float);
        for (int64_t i = 0, n = baton_numel(args, 2); i < n; i++) c[i] += a[i] + b[i] + (float)baton_scalar_f64(args, 3);
      }]])
    local changes = [[
      local args = scene.args
      scene.args = function(...) local made = args(...) made.zero = ZERO made.text = "left out" return made end
      scene.golden = { source = "golden.c" }]]
    assert.equal(0, run(scene((changes:gsub("ZERO", "0"))), "--case", "small").status)
    local result = run(scene((changes:gsub("ZERO", "1"))), "--case", "small")
    assert.truthy(result.out:find("FAIL  c: 8 of 8 elements differ", 1, true), result.out)
  end)

  it("baton bench times the rounds", function()
    local value = json.decode(command.run({ "bench", scene(), "--case", "small", "--rounds", "5", "--json" }).out)
    assert.equal(5, #value.cases[1].rounds)
    assert.is_true(value.cases[1].ok)
    local result = command.run { "bench", scene(), "--case", "small", "--rounds", "2", "--no-reuse" }
    assert.equal(0, result.status, result.out .. result.err)
  end)
end)
