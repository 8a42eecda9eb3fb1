/* A graph that is dictated by who has sent the command. */
#include "chip/dictation.h"
#include "node/execute.h"
#include <string.h>

static void clear_reply(node_executor_lane *lane, uint64_t sequence) {
  *lane->reply = (node_reply){.bytes = sizeof *lane->reply, .sequence = sequence};
}

/* What has become of the last block. */
static void say_outcome(node_executor *executor, node_executor_lane *lane, const chip_follower *follower) {
  const baton_error *failure = &((const chip_orchestrator *)follower->o)->failure;
  char *data;
  if (failure->code) {
    baton_error_copy(&lane->err, failure);
    node_reply_failure(executor, lane, failure->code);
  } else if (follower->got.dtype != BATON_NO_DTYPE) {
    node_element element = {.dtype = follower->got.dtype, .value = follower->got.scalar.u64};
    if (node_reply_room(lane, sizeof element, &data, NULL) == BATON_OK)
      memcpy(data, &element, sizeof element);
  }
  lane->reply->asks = 1;
}

/* One reply, and the block that it asks for. False: it has ended. */
static int follow_next(node_executor *executor, node_executor_lane *lane, chip_follower *follower) {
  baton_error *failure = &((chip_orchestrator *)follower->o)->failure;
  const node_command *block = NULL;
  baton_error err = {0};
  say_outcome(executor, lane, follower);
  baton_status status =
      executor->feed.ask(executor->feed.context, lane->reply, follower->ended ? NULL : &block, &err);
  clear_reply(lane, lane->reply->sequence);
  if (status != BATON_OK && !failure->code) baton_error_copy(failure, &err);
  baton_error_clear(&err);
  if (status == BATON_OK && block) chip_follow(follower, node_command_data(block), block->ndata);
  return status == BATON_OK && block;
}

void node_build_fed(node_executor *executor, node_executor_lane *lane, uint64_t sequence, baton_orch *o,
                    const baton_args *args) {
  chip_follower follower = {.o = o, .args = args};
  clear_reply(lane, sequence);
  while (follow_next(executor, lane, &follower)) {
  }
  chip_follower_close(&follower);
}
