---@meta
-- The graph vocabulary: what the graph function of a program is handed.

---A table of functions for one run: `g.aiv(…)`, with a dot. Dead after the graph function returned.
---@class baton.g
---@field clusters integer clusters of this device: one matrix core and two vector cores each
---@field aiv_count integer vector cores of this device
local g = {}

---@alias baton.task_argument baton.device_tensor|baton.argument|number|boolean

---@class baton.task_options
---@field deps? baton.task[] edges besides the inferred ones
---@field name? string for messages; default: the kernel's
---@field blocks? integer instances of the task, each on a core of its own (`g.mix`: a cluster) while it runs; more than there are cores run in waves. For what depends on it it is one task, which fails if an instance does
---@field sync_start? boolean all instances are on their cores before the first one runs, and may wait for each other: `baton_block_barrier`, `baton_wait_ge`. More blocks than cores raise `sync_start_too_wide`
---@field predicate? { [1]: baton.device_tensor, [2]: integer|integer[], [3]: "=="|"~="|"<"|"<="|">"|">=", [4]: integer|boolean } `{ tensor, index, op, value }`: the element, of an integer type, is compared when the task is ready. False: outputs stay as they are, and what depends on the task goes on. The task reads the element: it waits for whoever writes it
---@field priority? integer -100 … 100, 0 if absent: a CPU that looks for a ready task takes one of the highest priority, and of those the one that became ready first; but it goes on with short tasks that it has taken already, and short tasks of priority 0 that are ready when they are submitted run at once
---@field timing_slot? integer 0 … 15: from the first begin to the last end of all tasks of a slot passes `timing().slots[slot]`

---One task on a matrix core: `g.aic(kernel, list, options)`, the list in signature order or keyed by the names of the
---kernel's signature; or `g.aic(kernel, a, b, c)`. Directions come from the kernel's signature, tags override them;
---without either a tensor counts as `inout`, and as `input` if it belongs to an `in` argument of the program.
---@param kernel string
---@param arguments baton.task_argument[]|table<string, baton.task_argument>|baton.task_argument
---@param ... any
---@return baton.task task
---@return baton.device_tensor ... one for each `baton.output{…}`
function g.aic(kernel, arguments, ...) end

---One task on a vector core; as g.aic.
---@param kernel string
---@param arguments baton.task_argument[]|table<string, baton.task_argument>|baton.task_argument
---@param ... any
---@return baton.task task
---@return baton.device_tensor ... one for each `baton.output{…}`
function g.aiv(kernel, arguments, ...) end

---One task on a whole cluster: a kernel on its matrix core and on each of its vector cores, all at the same time. It is
---over when all are. All share one list of arguments, or each has its own: `{ aic = {…}, aiv0 = {…}, aiv1 = {…} }`. Several
---lists may name the same tensor, to hand it from kernel to kernel; kernels that wait for each other are declared with
---`waits = true`.
---@param kernels { aic?: string, aiv0?: string, aiv1?: string }
---@param arguments baton.task_argument[]|table<string, baton.task_argument|baton.task_argument[]>|baton.task_argument
---@param ... any
---@return baton.task task
---@return baton.device_tensor ... one for each `baton.output{…}`
function g.mix(kernels, arguments, ...) end

---A task that runs nothing: a barrier over its arguments and deps.
---@param arguments baton.task_argument[]
---@param options? baton.task_options
---@return baton.task
function g.dummy(arguments, options) end

---An intermediate on the device heap, contiguous, not cleared unless `fill` is given. Lives to the end of its scope and until the tasks that use
---it are done; used later it raises `stale_handle`. A full heap raises `heap_full`, or `scope_deadlock` if only the
---end of an open scope would make room.
---@param dtype string
---@param shape integer[]|integer
---@param options? { fill: number|boolean }
---@return baton.device_tensor
function g.alloc(dtype, shape, options) end

---Intermediates made inside die at the end, which waits for nothing. `g.scope(fn)` returns what `fn` returns;
---`local s <close> = g.scope()` closes with its block. In `mode = "manual"` no edges are inferred inside, only `deps`
---order; in an auto scope inside of it they are again.
---@param options? { mode: "auto"|"manual" }|function
---@param fn? function
---@return any
function g.scope(options, fn) end

---One element of a tensor while building, indices from 1: waits for the tasks that write it. On host_build_graph only
---arguments of the program that no earlier task of the graph writes; else `unsupported`. A kept graph is run again only
---if the value is the same.
---@param tensor baton.device_tensor
---@param ... integer
---@return number|boolean
function g.get(tensor, ...) end

---Stores one element while building: waits for the tasks that write or read it. On host_build_graph only arguments that
---no earlier task of the graph uses. What the type cannot hold raises `out_of_range`.
---@param tensor baton.device_tensor
---@param value number|boolean
---@param ... integer
function g.set(tensor, value, ...) end

---A scalar argument of the program as an opaque value, for tasks only: a kept graph takes the value of each run.
---@param name string
---@return baton.argument
function g.scalar(name) end

---Submits the sub-graph that `fn` builds as one call. `fn` is called once for each key and for arguments of the same types,
---shapes, strides and aliasing; later calls, in later runs too, submit the same tasks over the tensors and scalars of that
---call. It is handed the arguments, scalars as opaque values for tasks, and may use only them and what it makes itself;
---tensors that it returns come back from every call. `g.get`, `g.set` and deps on tasks from outside fail in it; a program
---keeps 256 sub-graphs, `program:forget()` drops them. The task is over when all of the sub-graph is.
---@param key string
---@param fn fun(...): baton.device_tensor?, ...
---@param arguments table
---@param options? { deps: baton.task[] }
---@return baton.task
---@return baton.device_tensor? ...
function g.record(key, fn, arguments, options) end

---Ends the run with `user_fail` and this message.
---@param message string
function g.fail(message) end

---A task of this run, for `deps`.
---@alias baton.task integer

---A tensor in device memory, for the length of one graph function: the fields and views of a host tensor, no elements.
---@class baton.device_tensor
---@field dtype string
---@field shape integer[] read-only
---@field ndim integer
---@field numel integer
---@field nbytes integer
---@field strides integer[] in elements, read-only
local device_tensor = {}

---@param dim integer from 1
---@return integer
function device_tensor:size(dim) end

---`count` elements of a dimension from `first` on.
---@param dim integer
---@param first integer
---@param count integer
---@return baton.device_tensor
function device_tensor:slice(dim, first, count) end

---A tile: first and count for every dimension.
---@param first1 integer
---@param count1 integer
---@param ... integer
---@return baton.device_tensor
function device_tensor:view(first1, count1, ...) end

---Element `i` of a dimension, which goes away.
---@param dim integer
---@param i integer
---@return baton.device_tensor
function device_tensor:select(dim, i) end

---The same elements under another shape; contiguous tensors only.
---@param shape integer[]|integer
---@return baton.device_tensor
function device_tensor:reshape(shape) end

---@param dim1 integer
---@param dim2 integer
---@return baton.device_tensor
function device_tensor:transpose(dim1, dim2) end
