/* A node of nodes: its children as they open. */
#include "base/memory.h"
#include "device/device.h"
#include "node/node.h"

enum { DEVICES_MOST = 1024 };

static baton_status check_child(const baton_node_options *child,
                                baton_status (*check)(const baton_node_options *options, baton_error *err),
                                baton_error *err) {
  if (child->nchildren)
    return baton_error_set(err, BATON_UNSUPPORTED, "it has children itself: there are four levels");
  return check(child, err);
}

baton_status node_children_check(const baton_node_options *options,
                                 baton_status (*check)(const baton_node_options *options, baton_error *err),
                                 baton_error *err) {
  if (options->nchildren > BATON_NODE_WORKERS)
    return baton_error_set(err, BATON_OUT_OF_RANGE, "%u children asked for, at most %d are possible",
                           options->nchildren, BATON_NODE_WORKERS);
  if (options->nchildren && options->nchips)
    return baton_error_set(err, BATON_INVALID_ARGUMENT,
                           "a node has chips or children, not both: %u chips and %u children asked for",
                           options->nchips, options->nchildren);
  for (uint32_t i = 0; i < options->nchildren; i++)
    if (check_child(&options->children[i], check, err) != BATON_OK)
      return baton_error_context(err, "child %u", i);
  return BATON_OK;
}

baton_status node_children_refuse(const baton_node *node, const char *what, baton_error *err) {
  if (!node->has_nodes) return BATON_OK;
  baton_error_set(err, BATON_UNSUPPORTED, "%s: the workers of this node are nodes, not chips", what);
  return baton_error_text(err, BATON_FIELD_HINT,
                          "device memory belongs into the node function, where orch is that of the child");
}

/* --- Devices: children open at the same time, so each must know which ones are for the others ------------- */

typedef struct device_list {
  baton_node_chip *chips; /* with static names of platforms */
  uint32_t count;
} device_list;

/* Among the first `end` of those that have one. */
static int is_listed(const device_list *list, uint32_t end, const char *platform, uint32_t number) {
  for (uint32_t i = 0; i < end; i++)
    if (!list->chips[i].any_device && list->chips[i].platform == platform && list->chips[i].device == number)
      return 1;
  return 0;
}

static const device_platform *platform_of(const baton_node_chip *chip) {
  uint32_t i = 0;
  while (device_platforms(i)->name != chip->platform) i++;
  return device_platforms(i);
}

static baton_status pick(const device_list *list, baton_node_chip *chip, baton_error *err) {
  for (uint32_t number = 0; number < DEVICES_MOST; number++)
    if (!is_listed(list, list->count, chip->platform, number) && !device_owner(platform_of(chip), number)) {
      *chip = (baton_node_chip){.platform = chip->platform, .device = number};
      return BATON_OK;
    }
  return baton_error_set(err, BATON_DEVICE_BUSY, "no device of %s is free", chip->platform);
}

/* Those that have a number come first; the others take what is left. */
static baton_status pick_all(const device_list *list, baton_error *err) {
  for (uint32_t i = 0; i < list->count; i++) {
    const baton_node_chip *chip = &list->chips[i];
    if (!chip->any_device && is_listed(list, i, chip->platform, chip->device))
      return baton_error_set(err, BATON_INVALID_ARGUMENT, "device %u of %s is asked for twice", chip->device,
                             chip->platform);
  }
  for (uint32_t i = 0; i < list->count; i++)
    if (list->chips[i].any_device) BATON_TRY(pick(list, &list->chips[i], err));
  return BATON_OK;
}

static baton_status list_devices(const baton_node_options *options, device_list *list, baton_error *err) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < options->nchildren; i++) count += options->children[i].nchips;
  list->chips = base_calloc(count + 1, sizeof *list->chips);
  if (!list->chips) return base_out_of_memory(err, "the devices of nodes");
  for (uint32_t i = 0; i < options->nchildren; i++)
    for (uint32_t j = 0; j < options->children[i].nchips; j++) {
      baton_node_chip *chip = &list->chips[list->count++];
      *chip = options->children[i].chips[j];
      chip->platform = node_platform_name(chip->platform);
    }
  return pick_all(list, err);
}

/* --- Opening --------------------------------------------------------------------------------------------- */

static baton_status open_all(baton_node *node, const baton_node_options *options, const device_list *list,
                             int64_t deadline, baton_error *err) {
  const baton_node_chip *chips = list->chips;
  for (uint32_t i = 0; i < options->nchildren; i++) {
    node_worker *worker;
    baton_node_options child = options->children[i];
    child.chips = chips;
    chips += child.nchips;
    BATON_TRY(node_worker_open(node, NODE_CHIPS, NULL, &child, deadline, &worker, err));
    node_lock(node);
    node->workers[NODE_CHIPS][node->counts[NODE_CHIPS]++] = worker;
    node_unlock(node);
  }
  return BATON_OK;
}

baton_status node_children_open(baton_node *node, const baton_node_options *options, int64_t deadline,
                                baton_error *err) {
  device_list list = {0};
  baton_status status = list_devices(options, &list, err);
  if (status == BATON_OK) status = open_all(node, options, &list, deadline, err);
  base_free(list.chips);
  return status;
}
