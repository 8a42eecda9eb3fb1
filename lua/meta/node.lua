---@meta
-- Nodes: one sequential function drives many chips.

---@class baton
local baton = {}

---Options of `baton.worker` with `level = 3`. Unknown keys raise `unknown_option`.
---@class baton.node_options
---@field level 3
---@field devices? string|integer|(integer|string|baton.node_chip)[] one worker each, with the ids 0, 1, … in this order: "0-3", "0,2", "a2a3sim:0,a5sim:1", a list, or how many free ones (0: none, sub workers only). Default: BATON_DEVICE, or device 0
---@field platform? string of devices that name none: "a2a3sim" (default) or "a5sim"; BATON_PLATFORM sets another default
---@field subs? integer sub workers, for functions of the host (default 0)
---@field isolation? "thread"|"process" where kernels and functions of the host run: threads of this process (default), or a child process for each worker; BATON_ISOLATION sets another default, as do `baton repl` and `baton test`: "process"
---@field heap? integer|string bytes of shared host memory for intermediates (default "1GiB", touched when used)
---@field arena? baton.arena of each chip, committed when the node opens
---@field prewarm? baton.program[] compiled, and registered with every worker, when the node opens
---@field runtime? string default runtime of device programs; BATON_RUNTIME sets another default
---@field config? baton.config defaults of runs and of device programs
---@field startup_timeout? number seconds for all workers to be ready (default 60)
---@field wait_device? number seconds to wait for another process that owns a device (default 0)
---@field worker_program? string what children execute; default: baton-worker beside this program or library

---Options of `baton.worker` with `level = 4`: a node whose workers are nodes. Each child is a process, as are the sub workers.
---@class baton.node_of_nodes_options
---@field level 4
---@field children baton.node_options[] one worker each, with the ids 0, 1, … in this order; no two have the same device, and a number of free ones is chosen when all open. What a child names in `prewarm` is registered with all
---@field subs? integer sub workers of this node itself (default 0)
---@field isolation? "process"
---@field heap? integer|string bytes of shared host memory for intermediates (default "1GiB", touched when used)
---@field prewarm? baton.program[]
---@field runtime? string
---@field config? baton.config defaults of runs and of programs
---@field startup_timeout? number
---@field worker_program? string

---A chip of a node.
---@class baton.node_chip
---@field platform? string
---@field device? integer default: any free one

---Opens all workers of a node at the same time; if one fails, those that were opened are closed again, and the error has
---its number as `worker`.
---@param options baton.node_options|baton.node_of_nodes_options
---@return baton.node
function baton.worker(options) end

---Chips, with the numbers 0 … workers-1, and sub workers. Closed by `close`, by `<close>` and by the collector; unfinished
---runs are cancelled first.
---@class baton.node
---@field workers integer ids that were given out, those of removed workers too
---@field subs integer
---@field state "ready"|"busy"|"lost"|"closed" lost: a worker is, see `describe`; busy: runs are unfinished
local node = {}

---Calls the function with `orch` and the arguments as they are, and waits for all tasks that it submitted. An error that it
---raises is raised as it is, when what had begun has ended; what had not begun does not begin. Otherwise the first failure of
---a task is raised. Runs of a node execute one after the other. Inside an orchestrating function of the same node it raises
---`state`, as does all that waits.
---@param fn fun(orch: baton.orch, arguments: any)
---@param arguments? any
---@param config? baton.config
---@return baton.timing
function node:run(fn, arguments, config) end

---The same, but returns when the function has returned.
---@param fn fun(orch: baton.orch, arguments: any)
---@param arguments? any
---@param config? baton.config
---@return baton.run
function node:submit(fn, arguments, config) end

---The same function again and again: each `launch` calls it with the number of the round, from 1, and returns;
---`finalize_round` waits for its tasks. What is registered, uploaded and allocated on workers stays between rounds;
---`orch.alloc` tensors end with their round. The function gets a copy of the table of arguments, one level deep, in which
---`init_round { NAME = value }` replaces entries by others of the same kind, tensors of the same dtype and shape.
---`config.resident` names host tensors in it that are copied once to each worker that uses them: a device program that only
---reads one, or a contiguous part of it, is given its copy there. Without a place of its own such a task goes to the worker that
---the round has given the fewest. After a task of the rounds that writes the tensor, a failed round or `init_round` with another
---one it is copied again; what anybody else writes after the copy is not seen. Errors of a round have its number as `round`.
---@param fn fun(orch: baton.orch, arguments: any, round: integer)
---@param arguments? any
---@param config? baton.config
---@return baton.rounds
function node:rounds(fn, arguments, config) end

---Device memory of a worker, as worker:malloc. It belongs to the worker, not to a run.
---@param worker integer
---@param nbytes integer|string
---@return baton.buffer
function node:malloc(worker, nbytes) end

---Gives the memory back after everything submitted before; as worker:free.
---@param buffer baton.buffer
function node:free(buffer) end

---Copies a host tensor into a buffer, after everything submitted before; done when it returns. As worker:copy_to.
---@param buffer baton.buffer
---@param host baton.tensor
---@param options? baton.copy_options
function node:copy_to(buffer, host, options) end

---@param host baton.tensor
---@param buffer baton.buffer
---@param options? baton.copy_options
function node:copy_from(host, buffer, options) end

---Sends a program to every worker now instead of at its first use. Equal content gives the same handle.
---@param program baton.program
---@return baton.handle
function node:register(program) end

---From now on the handle raises `stale_handle` and says where it was unregistered.
---@param handle baton.handle
function node:unregister(handle) end

---As worker:setup_arena, of one worker.
---@param worker integer
---@param sizes baton.arena
---@return boolean changed
function node:setup_arena(worker, sizes) end

---The device of a worker; `unsupported` for one that is a node.
---@param worker integer
---@return integer device
---@return string platform
function node:device(worker) end

---What a worker is. `pid` is that of its child, `started` how often it was started. A worker that is a node has `devices` and
---`subs` instead of `platform` and `device`.
---@param worker integer
---@return { platform: string?, device: integer?, devices: { platform: string, device: integer }[]?, subs: integer?, state: "ready"|"busy"|"lost"|"closed", started: integer, pid: integer? }
function node:describe(worker) end

---Makes a lost worker ready again: with process isolation a new child, with thread isolation as worker:restart. Buffers keep
---their contents. Sub workers do that by themselves, when what they ran has ended.
---@param worker integer
function node:restart(worker) end

---Another chip; unfinished runs may use it from now on. Without a device any free one, without a platform that of worker 0.
---@param chip? baton.node_chip
---@return integer worker
function node:add(chip) end

---Ends a worker after everything that was submitted to it. Its buffers die; its id is not given out again.
---@param worker integer
function node:remove(worker) end

---Counts of one worker, or the sums of all.
---@param worker? integer
---@return baton.stats
function node:stats(worker) end

---Who runs what, who waits for whom. Plain text for people; its form may change. Returned, or written to a file.
---@param path? string
---@return string|nil
function node:dump(path) end

---Cancels unfinished runs, frees the buffers, ends threads and children. Raises what failed on the way. Closing twice is
---legal. Runs, buffers and handles then raise `closed`.
function node:close() end

---A table of functions for one run: `orch.submit_sub(…)`, with a dot. Dead after the function returned. What must wait for
---what follows from the memory that tasks touch, as if they were run one after the other. Tasks are numbers, for `deps` and
---`wait`; those of Lua functions are objects, which also have results.
---@class baton.orch
---@field workers integer
---@field subs integer
local orch = {}

---@alias baton.node_value baton.tensor|baton.child_tensor|baton.device_tensor|baton.argument|number|boolean

---@class baton.node_task_options
---@field worker? integer|"any" default: the engine picks the owner of its child memory, else the worker with most of its data, else the least loaded
---@field config? baton.config of the device program
---@field deps? (baton.task|baton.sub_task)[] edges besides the inferred ones
---@field name? string for messages
---@field priority? integer -100 … 100, 0 if absent

---One task on one worker: a program, with host tensors, tensors in the worker's own memory (`buffer:tensor`), intermediates
---(`orch.alloc`) and scalars, in the order of its signature or by name. Directions come from the signature, tags override
---them; without either a tensor counts as `inout`. What can never run is refused: an unknown worker (`out_of_range`), memory
---of another one (`wrong_device`).
---
---At level 4 the workers are nodes. A program becomes a run of a child with that task only. A *node function*, a Lua function
---`fn(orch, args)` or "module:function", is called in the child as by `node:run`, with an `orch` of the child; it crosses as
---functions of `submit_sub` do, and so do its results, which its task has. Programs cross as well, as upvalues and in the
---arguments: compiled, and with a graph whose upvalues are those of its first use. Host tensors are mapped in the child and its own children, not copied. The task is over
---when all tasks of that run are. `orch.malloc`, `copy_to`, `copy_from` and `free` belong into the function: here they raise
---`unsupported`. What fails in a child has `path`, such as "node 2 / worker 0", unless it names a file.
---A child that has lost a worker is replaced by another process.
---@param callable baton.program|baton.handle|function|string functions at level 4
---@param arguments baton.node_value[]|table<string, baton.node_value>
---@param options? baton.node_task_options
---@return baton.task|baton.sub_task task
---@return baton.device_tensor ... one for each `baton.output{…}`
function orch.submit_next_level(callable, arguments, options) end

---@class baton.node_group_options
---@field workers? (integer|"any")[] a place for each member; default: free ones
---@field config? baton.config
---@field deps? (baton.task|baton.sub_task)[]
---@field name? string
---@field priority? integer

---One task with a member on each of several distinct workers, which begin together: a list of arguments for each member.
---Nothing orders the members: what one writes another one should not touch.
---@param callable baton.program|baton.handle|function|string functions at level 4
---@param arguments (baton.node_value[]|table<string, baton.node_value>)[]
---@param options? baton.node_group_options
---@return baton.task task
---@return baton.device_tensor ... one for each `baton.output{…}`, in the order of the members
function orch.submit_next_level_group(callable, arguments, options) end

---@class baton.sub_options
---@field deps? (baton.task|baton.sub_task)[] edges besides the inferred ones
---@field name? string for messages
---@field priority? integer -100 … 100, 0 if absent

---A function of the host on a free sub worker; `unsupported` without sub workers. A program with `host`, with arguments as for
---`submit_next_level`: then the task is a number. Or a Lua function, or "module:function": it is called in a Lua state of the
---sub worker with the list as it is: tensors are mapped, not copied, and untagged ones count as `inout`; what else there
---is in it, nil, booleans, numbers, strings and tables of those, is copied. So is what the function captures: the same kinds
---of values, tensors, and Lua functions; a module is required there by name, `_ENV` becomes the globals of that state. Anything
---else raises `invalid_argument` and names the upvalue. Globals live as long as the sub worker, upvalues are loaded anew for
---each call, tensors and their views end with it. An error object that the function raises keeps its code; any other value
---is the message of `user_fail`; `cause` has the traceback. 16 MiB of values cross at most; large data goes in tensors.
---@param fn function|string|baton.program|baton.handle
---@param arguments? table
---@param options? baton.sub_options
---@return baton.sub_task|baton.task task
---@return baton.device_tensor ... one for each `baton.output{…}`: those with positions, then those with names
function orch.submit_sub(fn, arguments, options) end

---One task with a member on each of several sub workers, which begin together: a list of arguments for each member.
---@param fn function|string|baton.program|baton.handle
---@param arguments table[]
---@param options? baton.sub_options
---@return baton.sub_task|baton.task task
---@return baton.device_tensor ... one for each `baton.output{…}`
function orch.submit_sub_group(fn, arguments, options) end

---A task of Lua functions, for `deps` and `wait`, too.
---@class baton.sub_task
local sub_task = {}

---Waits for the function and gives what it has returned, the same each time; of a group that of one member. Raises what the function
---has raised. Inside the orchestrating function, or after it while there is the run that node:submit returned.
---@param member? integer from 1 (default)
---@return any ...
function sub_task:result(member) end

---Device memory of a worker, which lives on after the run. The buffer may be used at once.
---@param worker integer
---@param nbytes integer|string
---@return baton.buffer
function orch.malloc(worker, nbytes) end

---Gives the memory back after every task submitted before. The handle is dead at once.
---@param buffer baton.buffer
function orch.free(buffer) end

---A copy as a task, ordered with those before and after it.
---@param buffer baton.buffer
---@param host baton.tensor
---@param options? baton.copy_options
---@return baton.task
function orch.copy_to(buffer, host, options) end

---@param host baton.tensor
---@param buffer baton.buffer
---@param options? baton.copy_options
---@return baton.task
function orch.copy_from(host, buffer, options) end

---An intermediate in shared host memory, contiguous, not cleared. Lives to the end of its scope and until the tasks that use it
---are done; used later it raises `stale_handle`.
---@param dtype string
---@param shape integer[]|integer
---@return baton.device_tensor
function orch.alloc(dtype, shape) end

---Calls the function and ends its intermediates; waits for nothing. Without a function it returns a scope to close:
---`local s <close> = orch.scope()`.
---@param fn? function
---@return any ...
function orch.scope(fn) end

---Waits for a task, or for all of the run so far, and raises its failure.
---@param task? baton.task|baton.sub_task
function orch.wait(task) end

---Ends the run with the user's message: `user_fail`.
---@param message string
function orch.fail(message) end
