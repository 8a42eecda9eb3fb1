/* Handles of programs that users registered with a node. */
#include "node/node.h"

baton_status baton_node_register(baton_node *node, baton_program *program, baton_handle *out,
                                 baton_error *err) {
  node_callable *ignored;
  *out = 0;
  BATON_TRY(node_enter(node, "register", err));
  baton_status status = node_callable_find(node, program, &ignored, err);
  if (status == BATON_OK) {
    node_lock(node);
    status = chip_registry_add(&node->registry, program, out, err);
    node_unlock(node);
  }
  node_leave(node);
  return status;
}

baton_status baton_node_program(baton_node *node, baton_handle handle, baton_program **out,
                                baton_error *err) {
  node_lock(node);
  baton_status status = chip_registry_find(&node->registry, handle, out, err);
  node_unlock(node);
  return status;
}

baton_status node_unregister(baton_node *node, baton_handle handle, const char *where, baton_error *err) {
  baton_program *program;
  node_lock(node);
  baton_status status = chip_registry_remove(&node->registry, handle, where, &program, err);
  node_unlock(node);
  baton_program_close(program);
  return status;
}

baton_status baton_node_unregister(baton_node *node, baton_handle handle, baton_error *err) {
  return node_unregister(node, handle, NULL, err);
}
