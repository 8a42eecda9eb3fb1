local command = require "spec.support.command"
local json = require "baton.json"
local scene_file = require "spec.support.scene"
local tensor = require "baton.tensor"

describe("baton run", function()
  local folder
  setup(function() folder = command.folder() end)
  teardown(function() command.remove(folder) end)

  local function path(name) return folder .. "/" .. name end
  local function scene(changes) return scene_file.write(path "scene.lua", changes) end
  local function run(...) return command.run { "run", ... } end

  -- The line that begins with `start`, with times taken out.
  local function line(text, start)
    for candidate in text:gmatch "[^\n]+" do
      if candidate:sub(1, #start) == start then return (candidate:gsub("%d+%.%d+ ms", "T")) end
    end
  end

  -- Runs and checks the status and the one line about the scene.
  local function expect(status, expected, result, start)
    local shown = line(result.out .. result.err, start or "sum")
    assert.equal(expected, shown, result.out .. result.err)
    assert.equal(status, result.status)
  end

  describe("on a scene that is right", function()
    it("prints a line for each case that is not manual, and a summary", function()
      local result = run(scene())
      assert.equal("", result.err)
      assert.equal("sum  a2a3sim  host_build_graph  small  1 round  PASS  host T  device T\n"
        .. "sum  a2a3sim  host_build_graph  wide  1 round  PASS  host T  device T\n"
        .. "2 passed, 0 failed, 0 skipped\n", (result.out:gsub("%d+%.%d+ ms", "T")))
      assert.equal(0, result.status)
    end)

    it("runs the cases that --case names, manual ones too, for as many rounds as asked", function()
      local result = run(scene(), "--case", "huge", "--rounds", "3")
      expect(0, "sum  a2a3sim  host_build_graph  huge  3 rounds  PASS  host T  device T", result)
      assert.equal("1 passed, 0 failed, 0 skipped", line(result.out, "1 passed"))
    end)

    it("checks every round of a case whose output stays on the chip", function()
      local result = run(scene [[scene.config = { resident = { "b", "c" } }]], "--case", "small", "--rounds", "3")
      expect(0, "sum  a2a3sim  host_build_graph  small  3 rounds  PASS  host T  device T", result)
    end)

    it("restores inout arguments before each round", function()
      local result = run(scene [[
        scene.program = baton.program { name = "sum",
          signature = { { "a", "in", "f32", { "n" } }, { "c", "inout", "f32", { "n" } } },
          kernels = { add = { core = "aiv", signature = { { "a", "in" }, { "c", "inout" } }, code = [=[
            #include <baton/kernel.h>
            BATON_KERNEL(add) {
              const float *a = baton_in(args, 0, float);
              float *c = baton_io(args, 1, float);
              for (int64_t i = 0, n = baton_numel(args, 1); i < n; i++) c[i] += a[i];
            }]=] } },
          graph = function(g, a, c) g.aiv("add", a, c) end }
        scene.args = function(p) return { a = tensor.full("f32", { p.n }, p.x), c = tensor.full("f32", { p.n }, 1) } end
        scene.golden = function(args) return { c = args.a + args.c } end]], "--case", "small", "--rounds", "3")
      expect(0, "sum  a2a3sim  host_build_graph  small  3 rounds  PASS  host T  device T", result)
    end)

    it("takes the user's files, and stores results", function()
      tensor.arange("f32", { 5 }):save(path "a.npy")
      tensor.full("f32", { 5 }, 10):save(path "b.npy")
      local result = run(scene(), "--input", "a=@" .. path "a.npy", "--input", "b=@" .. path "b.npy", "--output",
        "c=@" .. path "c.npy")
      assert.equal(0, result.status, result.out .. result.err)
      assert.same({ 10, 11, 12, 13, 14 }, tensor.load(path "c.npy"):totable())
    end)

    it("sets parameters and seeds", function()
      local file = scene()
      local function store(...)
        assert.equal(0, run(file, "--case", "small", "--output", "c=@" .. path "c.npy", ...).status)
        return tensor.load(path "c.npy"):totable()
      end
      assert.equal(3, #store("--param", "n=3"))
      assert.same(store("--seed", "7"), store("--seed", "7"))
      assert.not_same(store("--seed", "7"), store("--seed", "8"))
    end)

    it("writes one JSON value to standard output and the rest to standard error", function()
      local result = run(scene(), "--case", "small", "--json")
      local value = json.decode(result.out)
      local case = value.cases[1]
      assert.equal(1, value.passed)
      assert.equal("sum/a2a3sim/host_build_graph/small/2/thread/1", table.concat({ case.scene, case.platform, case.runtime,
        case.case, case.level, case.isolation, case.rounds }, "/"))
      assert.is_true(case.ok)
      assert.equal(json.null, case.error)
      assert.equal(json.null, case.worst)
      assert.equal("number", type(case.median_us.host))
      assert.equal("1 passed, 0 failed, 0 skipped", line(result.err, "1 passed"))
    end)

    it("skips a platform that the scene is not for", function()
      local result = run(scene "scene.platforms = { 'a5sim' }", "-p", "a2a3sim", "--case", "small")
      expect(0, "sum  a2a3sim  small  SKIP  the scene is for a5sim", result)
    end)
  end)

  describe("with several scenes, platforms and runtimes", function()
    it("runs each case on every runtime and platform that was asked for", function()
      local file = scene()
      assert.equal("sum  a2a3sim  host_build_graph  small  1 round  PASS  host T  device T\n"
        .. "sum  a2a3sim  tensormap_and_ringbuffer  small  1 round  PASS  host T  device T\n"
        .. "sum  a5sim  host_build_graph  small  1 round  PASS  host T  device T\n"
        .. "sum  a5sim  tensormap_and_ringbuffer  small  1 round  PASS  host T  device T\n"
        .. "4 passed, 0 failed, 0 skipped\n",
        (run(file, "--case", "small", "-p", "a2a3sim,a5sim", "--runtime", "all").out:gsub("%d+%.%d+ ms", "T")))
      expect(0, "sum  a5sim  tensormap_and_ringbuffer  small  1 round  PASS  host T  device T",
        run(file, "--case", "small", "--platform", "a5sim", "--runtime", "tensormap_and_ringbuffer", "--device", "2-3"))
    end)

    it("leaves out a runtime that the scene is not for", function()
      local result = run(scene "scene.runtimes = { 'host_build_graph' }", "--case", "small", "--runtime",
        "tensormap_and_ringbuffer")
      expect(0, "sum  a2a3sim  tensormap_and_ringbuffer  small  SKIP  the scene is for host_build_graph", result)
      assert.equal("0 passed, 0 failed, 1 skipped", line(result.out, "0 passed"))
    end)

    it("goes on after a scene that fails, and the largest status counts", function()
      local result = run(path "none.lua", scene_file.write(path "wrong.lua",
        "scene.name = 'wrong' scene.golden = function(a) return { c = a.a } end"), scene(), "--case", "small")
      expect(2, "sum  a2a3sim  host_build_graph  small  1 round  PASS  host T  device T", result)
      assert.equal("1 passed, 2 failed, 0 skipped", line(result.out, "1 passed"))
    end)
  end)

  describe("with settings from several places", function()
    local function runtime_of(result) return (result.out:match "^%S+%s+%S+%s+(%S+)") end

    it("takes the environment before the defaults, then the scene's worker, scene, case and the command line", function()
      local function used(changes, env, ...)
        local file = scene(changes)
        return runtime_of(command.run({ "run", file, "--case", "small", ... }, { env = env }))
      end
      local ring, graph = "tensormap_and_ringbuffer", "host_build_graph"
      assert.equal(graph, used("", ""))
      assert.equal(ring, used("", "BATON_RUNTIME=" .. ring))
      assert.equal(graph, used("scene.worker = { runtime = 'host_build_graph' }", "BATON_RUNTIME=" .. ring))
      assert.equal(ring, used("scene.worker = { runtime = 'host_build_graph' } scene.config = { runtime = '" .. ring .. "' }",
        "BATON_RUNTIME=" .. graph))
      assert.equal(graph, used("scene.config = { runtime = '" .. ring .. "' } scene.cases[1].config = { runtime = '" .. graph
        .. "' }", "BATON_RUNTIME=" .. ring))
      assert.equal(ring, used("scene.cases[1].config = { runtime = '" .. graph .. "' }", "", "--runtime", ring))
    end)

    it("takes the platform and the seed from the environment", function()
      local result = command.run({ "run", scene(), "--case", "small", "--output", "c=@" .. path "env.npy" },
        { env = "BATON_PLATFORM=a5sim BATON_SEED=7" })
      expect(0, "sum  a5sim  host_build_graph  small  1 round  PASS  host T  device T", result)
      assert.equal(0, run(scene(), "--case", "small", "--seed", "7", "--output", "c=@" .. path "seed.npy").status)
      assert.same(tensor.load(path "seed.npy"):totable(), tensor.load(path "env.npy"):totable())
    end)
  end)

  describe("with a deadline", function()
    it("ends Lua code of the scene that does not end", function()
      -- the flush: the thread sanitizer delivers no signal into a loop without system calls
      local file = scene "scene.golden = function() while true do pcall(io.stderr.flush, io.stderr) end end"
      expect(124, "sum  a2a3sim  host_build_graph  small  0 rounds  FAIL  timeout: scene sum: not over after the deadline of "
        .. "0.05 s", run(file, "--case", "small", "--timeout", "0.05"))
    end)

    it("goes on with the next case", function()
      local file = scene [[
        local golden = scene.golden
        scene.golden = function(args, p) while p.n == 8 do pcall(io.stderr.flush, io.stderr) end return golden(args) end]]
      local result = command.run({ "run", file }, { env = "BATON_TIMEOUT=1" })
      expect(124, "sum  a2a3sim  host_build_graph  wide  1 round  PASS  host T  device T", result,
        "sum  a2a3sim  host_build_graph  wide")
    end)
  end)

  describe("on a golden result in C", function()
    local function golden(code, changes)
      command.write(path "golden.c", "#include <baton/kernel.h>\n" .. code)
      return run(scene("scene.golden = { source = 'golden.c', entry = 'expected' } " .. (changes or "")), "--case", "small")
    end
    local sum = [[
      BATON_KERNEL(expected) {
        const float *a = baton_in(args, 0, float), *b = baton_in(args, 1, float);
        float *c = baton_out(args, 2, float);
        for (int64_t i = 0, n = baton_numel(args, 2); i < n; i++) c[i] += a[i] + b[i] + WRONG;
      }]]

    it("calls the function with the arguments and compares what it writes", function()
      expect(0, "sum  a2a3sim  host_build_graph  small  1 round  PASS  host T  device T", golden("#define WRONG 0\n" .. sum))
      local result = golden("#define WRONG 1\n" .. sum)
      assert.truthy(line(result.out, "sum"):find("FAIL  c: 8 of 8 elements differ", 1, true), result.out)
      assert.equal(1, result.status)
    end)

    it("says what does not compile and what is not there", function()
      local result = golden "BATON_KERNEL(expected) { nonsense; }"
      assert.truthy(result.out:find("compile_failed: sum: golden: kernel golden: ", 1, true), result.out)
      assert.truthy(result.out:find("nonsense", 1, true), result.out)
      assert.equal(3, result.status)
      assert.equal(3, golden("BATON_KERNEL(other) { (void)args; }").status)
      result = golden("", "scene.golden.source = 'nowhere.c'")
      assert.truthy(result.out:find("nowhere.c", 1, true), result.out)
    end)
  end)

  describe("on a result that differs", function()
    local wrong = "scene.golden = function(args) local c = args.a + args.b c:set(99, 3) return { c = c } end"

    it("prints the worst element and ends with status 1", function()
      tensor.zeros("f32", { 8 }):save(path "zeros.npy")
      local result = run(scene(wrong), "--case", "small", "--param", "x=0.0", "--input", "b=@" .. path "zeros.npy")
      expect(1, "sum  a2a3sim  host_build_graph  small with b  1 round  FAIL  c: 1 of 8 elements differ, "
        .. "the worst at [3]: got 0.0, want 99.0, 99.0 apart  host T  device T", result)
    end)

    it("goes on with the other cases and scenes", function()
      local other = scene_file.write(path "other.lua", "scene.name = 'other'")
      local result = run(scene(wrong), other)
      assert.equal("2 passed, 2 failed, 0 skipped", line(result.out, "2 passed"))
      assert.equal(1, result.status)
    end)

    it("passes with a tolerance that allows it, or without the check", function()
      local file = scene(wrong)
      assert.equal(0, run(file, "--atol", "100").status)
      assert.equal("sum  a2a3sim  host_build_graph  small  1 round  PASS  unchecked  host T  device T",
        line(run(file, "--skip-golden").out, "sum"))
    end)

    it("finds a NaN, and JSON says it as text", function()
      local file = scene [[
        local args = scene.args
        scene.args = function(...) local made = args(...) made.a:set(0/0, 2) return made end
        scene.golden = function(made) return { c = tensor.zeros("f32", made.c.shape) } end
        scene.tolerance = { atol = 100 }]]
      local result = run(file, "--case", "small")
      local shown = line(result.out, "sum"):gsub("%-nan", "nan")
      assert.equal("sum  a2a3sim  host_build_graph  small  1 round  FAIL  c: 1 of 8 elements differ, "
        .. "the worst at [2]: got nan, want 0.0, nan apart  host T  device T", shown)
      local worst = json.decode(run(file, "--case", "small", "--json").out).cases[1].worst
      assert.equal("c/2/0.0", worst.tensor .. "/" .. worst.index[1] .. "/" .. worst.want)
      assert.truthy(worst.got:find "nan")
    end)
  end)

  describe("on a scene file that is wrong", function()
    local function refused(expected, file) expect(2, file .. "  FAIL  bad_file: " .. expected, run(file), file) end

    it("says that it is missing, a directory or no Lua", function()
      refused(("scene %s: No such file or directory"):format(path "none.lua"), path "none.lua")
      refused(("scene %s: Is a directory"):format(folder), folder)
      local file = command.write(path "broken.lua", "return {\n")
      refused(("scene %s:2: unexpected symbol near <eof>"):format(file), file)
    end)

    it("says what it returns instead of a scene, and what it raises", function()
      local hint = "; end the file with `return baton.scene { … }`"
      local file = command.write(path "empty.lua", "")
      refused(("scene %s returns nothing%s"):format(file, hint), file)
      file = command.write(path "table.lua", "return {}")
      refused(("scene %s returns a table, not a scene%s"):format(file, hint), file)
      file = command.write(path "raises.lua", "error 'not today'")
      refused(("scene %s:1: not today"):format(file), file)
    end)

    it("says what golden did wrong", function()
      local function golden(expected, changes)
        expect(2, "sum  a2a3sim  host_build_graph  small  0 rounds  FAIL  invalid_argument: scene sum: golden"
          .. expected, run(scene("scene.golden = " .. changes), "--case", "small"))
      end
      golden(": 'cc' is no output of the program, did you mean 'c'?; outputs: c", "function(a) return { cc = a.a } end")
      golden(": 'a' is no output of the program, did you mean 'c'?; outputs: c", "function(a) return { a = a.a } end")
      golden(": c has shape [2], the output has [8]", "function() return { c = tensor.zeros('f32', { 2 }) } end")
      golden(": c must be a tensor, got 5", "function() return { c = 5 } end")
      golden(" returned nil, not a table of tensors by name", "function() end")
      golden(" returns nothing for output 'c'; return it, or name it in `unchecked`", "function() return {} end")
    end)

    it("says where args or golden raised an error", function()
      local file = scene "scene.golden = function() error 'no idea' end"
      local result = run(file, "--case", "small")
      expect(2, ("sum  a2a3sim  host_build_graph  small  0 rounds  FAIL  invalid_argument: scene sum: golden: %s:28: no idea")
        :format(file), result)
    end)
  end)

  describe("on a command that is wrong", function()
    local function refused(expected, ...)
      local result = run(...)
      assert.equal("baton run: " .. expected .. "\n", result.err)
      assert.equal("", result.out)
      assert.equal(2, result.status)
    end

    it("names an unknown option, case and parameter", function()
      local file = scene()
      refused("invalid_argument: unknown option '--inptu', Did you mean '--input'?", file, "--inptu", "x")
      refused("invalid_argument: missing argument 'scene'")
      refused("invalid_argument: no case is called 'smal', did you mean 'small'?; cases: small, wide, huge", file, "--case",
        "smal")
      expect(2, "sum  FAIL  unknown_option: scene sum has no parameter 'm', did you mean 'n'?; parameters: n, x",
        run(file, "--param", "m=5"))
      expect(2, "sum  FAIL  invalid_argument: --param n=4.5: an integer expected", run(file, "--param", "n=4.5"))
    end)

    it("names a value that is no number", function()
      refused("invalid_argument: --rounds x: an integer of at least 1 expected", scene(), "--rounds", "x")
      refused("invalid_argument: --rtol -1: a number of at least 0 expected", scene(), "--rtol=-1")
      refused("invalid_argument: --rtol -1: a number of at least 0 expected", scene(), "--rtol", "-1")
      refused("invalid_argument: --seed -1: an integer of at least 0 expected", scene(), "--seed", "-1")
    end)

    it("names an input or output that the scene does not have", function()
      tensor.zeros("f32", { 8 }):save(path "z.npy")
      expect(2, "sum  FAIL  invalid_argument: --input d: scene sum has no argument of that name, did you mean 'a'?; "
        .. "arguments: a, b, c", run(scene(), "--input", "d=@" .. path "z.npy"))
      expect(2, "sum  FAIL  invalid_argument: --output a: scene sum has no output of that name, did you mean 'c'?; "
        .. "outputs: c", run(scene(), "--output", "a=@" .. path "z.npy"))
      refused(("invalid_argument: --input a=z.npy: expected NAME=@FILE; put an @ in front of the file: a=@z.npy"), scene(),
        "--input", "a=z.npy")
    end)
  end)

  describe("on files that are wrong", function()
    it("refuses a malformed input before anything runs", function()
      local file = command.write(path "bad.npy", "not numpy")
      local result = run(scene(), "--input", "a=@" .. file)
      assert.equal("bad_file", result.err:match "^baton run: ([%w_]+): ")
      assert.truthy(result.err:find(file, 1, true))
      assert.equal(2, result.status)
    end)

    it("reports an output that cannot be written", function()
      local missing = path "none/c.npy"
      local result = run(scene(), "--case", "small", "--output", "c=@" .. missing)
      local shown = line(result.out, "sum")
      assert.truthy(shown:find("FAIL  io_error: ", 1, true), shown)
      assert.truthy(shown:find(missing, 1, true), shown)
      assert.truthy(shown:find("No such file or directory", 1, true), shown)
      assert.equal(3, result.status)
    end)

    it("reports a full disk", function()
      local result = run(scene(), "--case", "small", "--output", "c=@/dev/full")
      local shown = line(result.out, "sum")
      assert.truthy(shown:find("FAIL  io_error: ", 1, true), shown)
      assert.truthy(shown:find("No space left on device", 1, true), shown)
      assert.equal(3, result.status)
      local report = command.shell(("%s run %s --case small --json >/dev/full"):format(command.quote(command.baton),
        command.quote(scene())))
      assert.truthy(report.err:find("io_error: standard output: No space left on device", 1, true), report.err)
      assert.equal(3, report.status)
      local many = (command.quote(scene()) .. " "):rep(20) -- more than fits into one buffer
      report = command.shell(("%s run %s --case small --json >/dev/full"):format(command.quote(command.baton), many))
      assert.truthy(report.err:find("io_error: standard output: No space left on device", 1, true), report.err)
      assert.equal(3, report.status)
    end)

    it("goes on quietly when nobody reads its output", function()
      os.execute("mkfifo " .. path "closed")
      local result = command.shell(([[
        { read -r go <%s; %s run %s --output c=@%s --case small; echo $? >%s; } | { exec <&-; echo go >%s; }]]):format(
        path "closed", command.quote(command.baton), scene(), path "c.npy", path "status", path "closed"))
      assert.same({ status = 0, out = "", err = "" }, result)
      assert.equal("0\n", command.read(path "status"))
      assert.equal(8, tensor.load(path "c.npy").numel)
    end)
  end)
end)
