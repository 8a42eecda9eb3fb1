/* node/child.h - the program that serves one worker in a process of its own. */
#ifndef NODE_CHILD_H
#define NODE_CHILD_H

#include "node/scripts.h"

/* Main of the worker program. It ends when it is told to, and within two seconds when its parent dies, whatever runs in it then.
** Returns the exit status: 0; 1 after a failure, which the parent is told; 2 if nobody who knows how has started it.
**
** For tests, BATON_WORKER_DIE_AT=POINT[:NTH[:STARTED[:WORKER[:LEVEL]]]] in the environment: it kills itself when it passes a point
** of node/point.h for the NTH time (1), if it is the STARTED-th child (1) of its worker, that has the number WORKER within its kind
** (any), and LEVEL (3) is 4 for a child that is a node, 3 for any other: children of nodes inherit the environment. */
int node_child_main(int argc, char **argv, const node_script_calls *scripts);

#endif
