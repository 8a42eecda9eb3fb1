/* node/point.h - named points of the protocol, for tests that end a server exactly there.
**
** The points: "open" and "ready" before a child opens its executor and before it says that it is ready; "take" when a command is
** out of its ring, "begin" before it is carried out, "reply" before its reply is published, "replied" after that; "segment" when
** a segment has come and is not mapped yet; "end" before the answer to NODE_END. */
#ifndef NODE_POINT_H
#define NODE_POINT_H

/* Called at each point, on the thread that passes it; NULL: nothing happens there. Set before the server begins. */
extern void (*node_point_hook)(const char *name);

static inline void node_point(const char *name) {
  if (node_point_hook) node_point_hook(name);
}

#endif
