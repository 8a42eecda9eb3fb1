---@meta baton
-- Types of `require "baton"` for editors: scenes, error objects and JSON. Tensors, programs and workers have files of
-- their own beside this one.

---@class baton
---@field version string the version, "0.1.0"
---@field error baton.error_module
---@field json baton.json
local baton = {}

---Checks a scene and returns it; a scene file ends with `return baton.scene { … }`. An unknown key or a field of the
---wrong type raises `unknown_option` or `invalid_argument` and names it.
---@param definition baton.scene_definition
---@return baton.scene
function baton.scene(definition) end

---The names of the platforms of this build, the default one first.
---@return string[]
function baton.platforms() end

---What a device of a platform has on this machine. Raises `unsupported` for an unknown name.
---@param name string
---@return baton.platform
function baton.platform(name) end

---The number of the process that has a device open, which may be this one; nil: nobody. It may be old by the time it is
---read.
---@param platform string
---@param device integer
---@return integer?
function baton.device_owner(platform, device) end

---@class baton.platform
---@field name string
---@field clusters integer
---@field aic integer matrix cores
---@field aiv integer vector cores
---@field control_threads integer of the control processor
---@field clock_hz integer of the counter that kernels see
---@field memory integer bytes
---@field threads integer CPUs that play the cores of a simulated chip

---@class baton.scene_definition
---@field name string
---@field level? integer 2 (default): a program on a chip; 3: an orchestrating function on a node; 4: on a node of nodes
---@field program? baton.program level 2
---@field orchestrate? fun(orch: table, args: table, params: table, round: integer) levels 3 and 4; `round` counts from 1
---@field worker? table options of the worker that it needs; at level 3 `devices` and `subs` say how many, at level 4 those of each entry of `children`
---@field platforms? string[] default: all
---@field runtimes? string[] default: all that fit
---@field config? table settings of its runs
---@field cases? baton.case[] default: one case called "default"
---@field args fun(params: table, seed: integer, given: table<string, baton.tensor>): table the arguments by name; what
---`--input` loaded is in `given`, wins, and need not be returned
---@field golden? (fun(args: table, params: table): table<string, baton.tensor>)|baton.compiled_golden the expected outputs;
---args as before the run. At levels 3 and 4 tensors that it does not return must come out of the run as they went in
---@field tolerance? baton.tolerance
---@field unchecked? string[] outputs without expected result

---Expected results from C: a kernel over the arguments of the program. Its inputs are as before the run, its outputs start
---as zeros. At levels 3 and 4 it gets the tensors and numbers among the arguments in the order of their names, all as before the run.
---@class baton.compiled_golden
---@field source string path, relative to the scene's file
---@field entry? string the kernel in it; default "golden"

---@class baton.case
---@field name string
---@field params? table what args and golden get; `--param` changes it
---@field manual? boolean runs only if `--case` names it
---@field config? table
---@field tolerance? baton.tolerance

---@class baton.tolerance
---@field rtol? number
---@field atol? number

---@class baton.scene
---@field name string
---@field level integer
---@field cases baton.case[]
local scene = {}

---The case of that name, or nil.
---@param name string
---@return baton.case?
function scene:case(name) end

---The entries of the program's signature: a list, and the same by name. Of a node there is none: what the arguments are
---like, with every tensor `inout`.
---@param args? table levels 3 and 4: the arguments by name
---@return table[] list
---@return table<string, table> by_name
function scene:signature(args) end

---The runtimes that its program can run on. Of a node one `false`, unless the scene names some: each program takes its own.
---@return (string|false)[]
function scene:fitting_runtimes() end

---What every failure raises. `tostring` gives one line.
---@class baton.error
---@field code string a word, for example "signature"
---@field message string one sentence with the values in it
---@field hint? string what to do
---@field task? string
---@field kernel? string
---@field core? integer
---@field device? integer
---@field worker? integer
---@field round? integer
---@field signal? integer
---@field after_ms? number
---@field cause? string
---@field path? string

---@class baton.error_module
local error_module = {}

---An error object for `error()`.
---@param fields { code: string, message: string, hint: string? }
---@return baton.error
function error_module.new(fields) end

---True if `value` is an error object.
---@param value any
---@return boolean
function error_module.is(value) end

---The entry of `names` that is nearest to `word` by edits, or nil if none is near.
---@param word string
---@param names string[]
---@return string?
function error_module.nearest(word, names) end

---@class baton.json
---@field null lightuserdata null
local json = {}

---A value as JSON. Tables with list elements and those marked by `json.array` are lists, others objects with sorted keys;
---integers and floats stay apart. Raises `invalid_argument` for what JSON cannot hold.
---@param value any
---@param indent? integer
---@return string
function json.encode(value, indent) end

---The value of a JSON text. Raises `invalid_argument` with line and column.
---@param text string
---@return any
function json.decode(text) end

---Marks a table as a list, so that an empty one is written as `[]`. Without argument: a new one.
---@param list? table
---@return table
function json.array(list) end

---`require "baton.busted"`: what specs use.
---@class baton.busted
local busted = {}

---The platforms of this machine; BATON_PLATFORM alone if it is set.
---@return string[]
function busted.platforms() end

---Calls `f(...)`, which must raise an error object with this code. Returns its message.
---@param code string
---@param f function
---@return string
function busted.raises(code, f, ...) end

---One `describe` for each platform with `fn(platform)` in it.
---@param fn fun(platform: string)
function busted.each_platform(fn) end

---One `describe` for a scene file with an `it` for every case × runtime × platform.
---@param path string
function busted.scene(path) end

---In this `describe`, or in this file, a test fails that leaves behind what it has opened: a worker that is not closed, or a
---buffer or an unfinished run that somebody holds, on a worker that was there before.
function busted.strict() end

return baton
