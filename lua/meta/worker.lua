---@meta
-- Workers, runs, and the tags of arguments.

---@class baton
local baton = {}

---What the runs of a worker start from; each call may override it key by key. Unknown keys raise `unknown_option`.
---@class baton.config
---@field ring_task_window? integer|"auto" tasks in flight; default 16,384 on tensormap_and_ringbuffer, 262,144 on host_build_graph, which holds a whole graph, and aicpu_build_graph, which holds scopes
---@field ring_heap? integer|string bytes for intermediates, as a number or "64MiB" (default "256MiB")
---@field ring_dep_pool? integer|"auto" edges beyond the four that each task has; default 65,536 on tensormap_and_ringbuffer, else 1,048,576
---@field runtime? string "host_build_graph"; default: the first that fits the program
---@field deadline? number seconds for a whole run; then it is cancelled and raises `timeout`
---@field timeout? number|baton.timeout seconds without a task that begins or ends; then kernels are left, and so is a C orchestration that makes no call: `op_timeout` (default 10)
---@field resident? string[] rounds: arguments that go up in the first round and when rebound only, and come back, if written, then and at the end

---Seconds by what is waited for; `op` must be less than `stream`.
---@class baton.timeout
---@field op? number while kernels run, as `timeout` alone (default 10)
---@field stream? number no task begins, ends or runs: the run fails with `stream_timeout`, and a C orchestration on the device is left by force (default: no limit)
---@field element? number `g.get` and `g.set` wait for tasks: `tensor_wait_timeout` (default: no limit)

---@class baton.worker_options
---@field level? integer 2: one chip (3: a node, see baton.node_options; 4: a node of nodes)
---@field platform? string "a2a3sim" (default) or "a5sim"; BATON_PLATFORM sets another default
---@field device? integer|string device number, from 0; BATON_DEVICE sets another default
---@field runtime? string default runtime of its runs; BATON_RUNTIME sets another default
---@field isolation? "thread"|"process" where kernels run: in threads of this process (default), or in a child: then a kernel that crashes, hangs or ends its process costs its run only, the child is replaced, and buffers are as before; BATON_ISOLATION sets another default, as do `baton repl` and `baton test`: "process"
---@field config? baton.config
---@field arena? baton.arena committed when the worker opens
---@field prewarm? baton.program[] compiled and registered when the worker opens
---@field wait_device? number seconds to wait for another process that owns the device (default 0)
---@field startup_timeout? number seconds for a child to be ready (default 60)
---@field worker_program? string what a child executes; default: baton-worker beside this program or library
---@field fault? baton.fault for tests

---The regions of device memory that a worker keeps from run to run, each in bytes or as "64MiB".
---@class baton.arena
---@field heap? integer|string intermediates of runs
---@field shared? integer|string state of engines
---@field image? integer|string what runtimes load

---For tests of what happens when a device fails: call number `nth` of a kind fails, with `forever` every later one too.
---@class baton.fault
---@field call "alloc"|"copy_in"|"copy_out"|"fill"|"stream_create"|"sync"|"stream_destroy"|"launch"
---@field nth? integer from 1 (default)
---@field forever? boolean

---Opens a chip: its memory and streams are made here, once. Raises `unsupported` for an unknown platform, naming those
---that there are. A device belongs to one process at a time, whose workers share it; a device of another process raises
---`device_busy` with the number of that process, after `wait_device` seconds. It is free again when the last worker on
---it is closed, or when the process ends in any way.
---@param options? baton.worker_options
---@return baton.worker
function baton.worker(options) end

---@alias baton.value baton.tensor|baton.child_tensor|baton.argument|number|boolean

---A chip. Closed by `close`, by `<close>` and by the collector; unfinished runs are cancelled first.
---@class baton.worker
---@field state "ready"|"busy"|"lost"|"closed" busy: runs are unfinished
---@field platform string nil when closed
local worker = {}

---Runs a program and waits: afterwards the outputs hold the results; after a failure no output has changed. Arguments
---are a list in signature order or a table keyed by the signature's names; what does not match raises `signature`.
---An error of the graph function is raised as it is. With process isolation the function is called here all the same; on
---tensormap_and_ringbuffer a wrong call of `g` may then be refused by a later one, or when the function returns. Child memory is taken as it is and written in place, also by a run
---that fails later. Inside an orchestration of the same worker it raises `state`, as does all that waits.
---@param program baton.program|baton.handle
---@param arguments? baton.value[]|table<string, baton.value>
---@param config? baton.config
---@return baton.timing
function worker:run(program, arguments, config) end

---The same without waiting for the end. The graph function is called before this returns, inputs are copied; outputs are
---written when the run ends. Runs of one worker execute in the order of their submits. Whoever touches the host tensors
---meanwhile waits: for the end of runs that write them, and to write also of those that read them. A graph function on
---tensormap_and_ringbuffer plays the control processor, so it is called when the runs before have ended.
---@param program baton.program|baton.handle
---@param arguments? baton.value[]|table<string, baton.value>
---@param config? baton.config
---@return baton.run
function worker:submit(program, arguments, config) end

---Prepares rounds: everything that a run of these arguments needs is made now, once; each round moves the arguments that
---have to move and executes the tasks. What the list says is as for `run`.
---@param program baton.program|baton.handle
---@param arguments? baton.value[]|table<string, baton.value>
---@param config? baton.config
---@return baton.rounds
function worker:rounds(program, arguments, config) end

---Ends rounds, cancels unfinished runs, frees the buffers, drains, and closes the device. Raises what failed on the way; streams
---that the device does not give back stay for a second call, which tries once more. Closing twice is legal. Runs, buffers and
---handles then raise `closed`; `stats` and `dump` go on.
function worker:close() end

---Makes a worker ready again that is lost: a kernel crashed or hung and was left by force. Unfinished runs end first; buffers
---keep their contents, which that kernel may have spoiled. Without effect on a worker that is not lost.
function worker:restart() end

---Device memory that belongs to the worker, not to a run, not cleared. It lives until `free`, `close`, or until the worker
---is closed. When memory is short, this waits for what was submitted before.
---@param nbytes integer|string
---@return baton.buffer
function worker:malloc(nbytes) end

---Gives the memory back after everything submitted before, without waiting. The handle is dead at once: its use raises
---`stale_handle`, a second free `double_free`; both say where it was freed.
---@param buffer baton.buffer
function worker:free(buffer) end

---What a copy moves, in bytes.
---@class baton.copy_options
---@field offset? integer|string into the buffer (default 0)
---@field nbytes? integer|string of the host tensor's elements in C order, from the first on (default: all)

---Copies a host tensor into a buffer, after everything submitted before; done when it returns. Strided views are packed.
---What does not fit raises `out_of_range`.
---@param buffer baton.buffer
---@param host baton.tensor
---@param options? baton.copy_options
function worker:copy_to(buffer, host, options) end

---Copies from a buffer into a host tensor; otherwise as copy_to.
---@param host baton.tensor
---@param buffer baton.buffer
---@param options? baton.copy_options
function worker:copy_from(host, buffer, options) end

---Compiles and loads a program now instead of at its first run. Equal content gives the same handle and loads nothing.
---Legal at any time.
---@param program baton.program
---@return baton.handle
function worker:register(program) end

---From now on the handle raises `stale_handle` and says where it was unregistered; runs that use its program go on.
---@param handle baton.handle
function worker:unregister(handle) end

---Commits the regions of the arena, after everything submitted before. Regions that are large enough stay as they are; if
---one is not, all are committed anew. True if it changed anything. If one region fails, all three are released and
---`out_of_memory` names it; a smaller call may follow.
---@param sizes baton.arena
---@return boolean changed
function worker:setup_arena(sizes) end

---What a worker counts.
---@class baton.stats
---@field streams_created integer
---@field streams_destroyed integer
---@field images_uploaded integer kernels that the worker was given
---@field compilations integer of the whole process
---@field graph_builds integer
---@field graph_replays integer
---@field arenas_committed integer
---@field allocations integer
---@field frees integer
---@field bytes_to_device integer
---@field bytes_from_device integer
---@field committed_bytes integer of device memory, now
---@field committed_peak integer
---@field runs integer
---@field rounds integer
---@field tasks integer
---@field edges integer
---@field window_high integer tasks in flight, of a graph all: a `ring_task_window` of so many would do; so it is with the next two
---@field heap_high integer bytes of intermediates
---@field dep_pool_high integer edges
---@field children_started integer

---Counts since the worker was opened; of a closed worker those of its end. `compilations` is of the whole process.
---@return baton.stats
function worker:stats() end

---Who runs what: runs in flight, what their lanes have begun last, buffers, memory. Plain text for people; its form may change. Returned, or written to a
---file.
---@param path? string
---@return string|nil
function worker:dump(path) end

---Device memory of a worker.
---@class baton.buffer
---@field worker integer of its node; 0 for a chip by itself
---@field nbytes integer
local buffer = {}

---A tensor in the buffer, from byte `offset` on: child memory, which runs take as it is, with no copy in or back.
---@param dtype string
---@param shape integer[]|integer
---@param offset? integer|string
---@return baton.child_tensor
function buffer:tensor(dtype, shape, offset) end

---Frees the memory as worker:free does. Closing twice, or what was freed, is legal.
function buffer:close() end

---A tensor in a buffer: the fields and views of a host tensor, no elements.
---@class baton.child_tensor
---@field dtype string
---@field shape integer[] read-only
---@field ndim integer
---@field numel integer
---@field nbytes integer
---@field strides integer[] in elements, read-only
---@field buffer baton.buffer
local child_tensor = {}

---@param dim integer from 1
---@return integer
function child_tensor:size(dim) end

---`count` elements of a dimension from `first` on.
---@param dim integer
---@param first integer
---@param count integer
---@return baton.child_tensor
function child_tensor:slice(dim, first, count) end

---A tile: first and count for every dimension.
---@param first1 integer
---@param count1 integer
---@param ... integer
---@return baton.child_tensor
function child_tensor:view(first1, count1, ...) end

---Element `i` of a dimension, which goes away.
---@param dim integer
---@param i integer
---@return baton.child_tensor
function child_tensor:select(dim, i) end

---The same elements under another shape; contiguous tensors only.
---@param shape integer[]|integer
---@return baton.child_tensor
function child_tensor:reshape(shape) end

---@param dim1 integer
---@param dim2 integer
---@return baton.child_tensor
function child_tensor:transpose(dim1, dim2) end

---A program that is registered with a worker. Collecting it unregisters it.
---@class baton.handle
local handle = {}

---Unregisters the program. Legal more than once.
function handle:close() end

---How long a run took, in microseconds.
---@class baton.timing
---@field host number from the submit until the outputs were back
---@field device number from the launch to the end of the last task
---@field orch number copies to the device and building the graph
---@field tasks integer
---@field slots table<integer, number>

---A submitted run. Closing or collecting an unfinished one cancels it.
---@class baton.run
local run = {}

---True when the run is over, well or not.
---@return boolean
function run:done() end

---Waits at most `seconds` (default: until the end). True when the run ended well, nil if the time is up; raises the
---run's error, the same one each time.
---@param seconds? number
---@return true|nil
function run:wait(seconds) end

---Starts nothing new of the run; `wait` raises `cancelled`. False if it was over.
---@return boolean
function run:cancel() end

---nil while the run goes on.
---@return baton.timing|nil
function run:timing() end

---Gives the run back; cancels it first if it goes on. Closing twice is legal.
function run:close() end

---One program, or one orchestrating function of a node, again and again. A step out of order raises `state` and changes nothing. If a step fails, its round is
---closed without outputs, and the next `init_round` starts clean.
---@class baton.rounds
local rounds = {}

---Opens a round: waits for what still writes its inputs and copies them to the device. `rebind` replaces arguments from
---now on, by name or position: tensors by others of the same dtype, shape and placement, scalars by others that fit.
---@param rebind? table<string|integer, baton.value>
function rounds:init_round(rebind) end

---Returns as soon as the device has the round, that of a node when its function has returned. An error of the graph function or
---the orchestrating function is raised as it is.
function rounds:launch() end

---Waits at most `seconds` (default: until the end). True when the round ended well and outputs are back, nil if the time
---is up; raises the error of the round.
---@param seconds? number
---@return true|nil
function rounds:finalize_round(seconds) end

---All three steps `count` times: yields the number and the timing of each round.
---@param count integer
---@return fun(): integer?, baton.timing?
function rounds:each(count) end

---Of the last round that ended; nil before the first one did.
---@return baton.timing|nil
function rounds:timing() end

---Ends the rounds: cancels one that is in flight, copies back what is resident and was written, gives everything back.
---Legal more than once; after a failure it may be repeated.
function rounds:finalize() end

---The same as `finalize`.
function rounds:close() end

---A tagged argument, or a typed scalar.
---@class baton.argument

---A list of arguments prepared once, for runs and submits, which copy it: `list[i] = v` or `list.name = v` replaces one
---entry.
---@param entries table
---@return table
function baton.args(entries) end

---The task reads all of `tensor`.
---@param tensor baton.tensor|baton.device_tensor
---@return baton.argument
function baton.input(tensor) end

---The task overwrites all of `tensor` and reads nothing of it; or, with `{dtype, shape}`, the runtime gives it memory,
---which the submit returns after the task.
---@param tensor baton.tensor|baton.device_tensor|{ [1]: string, [2]: integer[] }
---@return baton.argument
function baton.output(tensor) end

---The task reads and writes `tensor`.
---@param tensor baton.tensor|baton.device_tensor
---@return baton.argument
function baton.inout(tensor) end

---No edges from or to this argument.
---@param tensor baton.tensor|baton.device_tensor
---@return baton.argument
function baton.no_dep(tensor) end

---A number of a given type. What does not fit raises `out_of_range`.
---@param dtype string
---@param value number|boolean
---@return baton.argument
function baton.scalar(dtype, value) end
