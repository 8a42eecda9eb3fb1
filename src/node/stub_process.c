#include "node/endpoint.h"
const node_endpoint_calls node_endpoint_process = {.name = "process"};
baton_status node_endpoint_keep(node_endpoint *endpoint, const node_kept *buffer, baton_error *err) {
  (void)endpoint, (void)buffer, (void)err;
  return BATON_OK;
}
void node_endpoint_forget(node_endpoint *endpoint, uint64_t number) { (void)endpoint, (void)number; }
