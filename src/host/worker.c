/* The program `baton-worker`: what a node starts for a worker with process isolation. It exports Lua's symbols, so that C modules
** load into it. */
#include "bind/script.h"
#include "node/child.h"

int main(int argc, char **argv) { return node_child_main(argc, argv, bind_script_calls()); }
