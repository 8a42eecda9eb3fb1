---@meta baton

--- A dtype name, "any", or a list of names: any of them.
---@alias baton.DtypeSet baton.Dtype|"any"|(baton.Dtype|"any")[]

--- One argument of a program or kernel. A tensor: `{name, "in"|"out"|"inout" [, dtype [, shape]]}`; a scalar: `{name,
--- dtype}`. A shape is a list of sizes (exact), names (bound where first seen, equal everywhere else) and `"*"`.
---@class baton.Parameter
---@field [1] string
---@field [2] "in"|"out"|"inout"|baton.DtypeSet
---@field [3]? baton.DtypeSet
---@field [4]? (integer|string)[]

--- Code for the machine's compiler: exactly one of `source`, `code` and `object`. Paths are relative to the Lua file
--- that calls `baton.program`.
---@class baton.CodeOptions
---@field source? string a file: C11, or C++17 if it ends in .cc or .cpp
---@field code? string C11 text
---@field object? string a shared object, loaded as it is
---@field entry? string the function; default: the kernel's key, for an orchestration and a function of the host the program's name
---@field cflags? string|string[] one argument each
---@field include? string|string[] folders of headers
---@field libs? string|string[] "m" for a system library; with a slash or a dot in it, a file

---@class baton.KernelOptions: baton.CodeOptions
---@field core "aic"|"aiv" matrix or vector core
---@field signature? baton.Parameter[] its tasks then need no tags and are checked
---@field strided? boolean takes any view; default: contiguous tensors only
---@field waits? boolean it may wait for other kernels while it runs: baton_wait_ge, baton_spin_hint, baton_block_barrier; in tasks with `sync_start` every kernel may

--- Exactly one of `graph`, `orchestration` and `host`.
---@class baton.ProgramOptions
---@field name string
---@field signature? baton.Parameter[] checked at every run
---@field kernels? table<string, baton.KernelOptions>
---@field graph? function submits the tasks of one run: `function(g, ...)` with the arguments of the signature
---@field orchestration? baton.CodeOptions a C function that submits them
---@field host? baton.CodeOptions a C function of the host instead, written like a kernel (`BATON_KERNEL`), without `kernels`: a node calls it in tasks of its workers and sub workers, over host memory
---@field edges? "explicit" only `deps` order the tasks, in every scope; default: also what they read and write
---@field keep? boolean false: every run on host_build_graph builds its graph anew; default: up to 8 graphs are kept
---@field cflags? string|string[] of the orchestration and of every kernel; so are the next two
---@field include? string|string[]
---@field libs? string|string[]

--- A device program. It compiles at its first use.
---@class baton.Program
---@field name string
---@field signature table[] as it was given; not to be changed
---@field runtimes string[] the runtimes that carry it, the default one first
local program = {}

--- Compiles and loads what the program needs; does nothing the second time. Raises `compile_failed` with the compiler's
--- output as it is, `bad_file` for a source or object that cannot be read.
---@param platform? string
function program:compile(platform) end

--- Drops the graphs that were built on host_build_graph and kept for the next runs.
function program:forget() end

--- Gives the program back; runs that use it keep it alive. Legal more than once.
function program:close() end

---@class baton
local baton = {}

--- Makes a program. Checks the options; compiles nothing yet.
---@param options baton.ProgramOptions
---@return baton.Program
function baton.program(options) end
