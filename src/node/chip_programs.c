/* Which programs the child of a chip knows. */
#include "base/clock.h"
#include "base/memory.h"
#include "chip/kept.h"
#include "chip/program/pack.h"
#include "node/chip.h"
#include <string.h>

enum { TELL_SECONDS = 60 };

static uint64_t forgets_of(baton_program *program) {
  chip_kept *kept = chip_program_kept(program);
  pthread_mutex_lock(&kept->lock);
  uint64_t forgets = kept->forgets;
  pthread_mutex_unlock(&kept->lock);
  return forgets;
}

/* The place of the program, or else the one that is to be its. */
static node_chip_program *find_place(node_chip *chip, uint64_t program) {
  node_chip_program *oldest = &chip->places[0];
  for (uint32_t i = 0; i < NODE_CHIP_PROGRAMS; i++) {
    node_chip_program *place = &chip->places[i];
    if (place->program == program) return place;
    if (place->used < oldest->used) oldest = place;
  }
  return oldest;
}

/* Packs the program, if that has not been done; `programs` is held. */
static baton_status enter(node_chip *chip, baton_program *program, node_chip_program **out,
                          baton_error *err) {
  uint64_t number = chip_program_number(program);
  node_chip_program *place = *out = find_place(chip, number);
  if (place->program != number) {
    chip_text pack = {0};
    baton_status status = chip_program_pack_told(program, &pack, err);
    if (status != BATON_OK) {
      chip_text_free(&pack);
      return status;
    }
    chip_text_free(&place->pack);
    *place = (node_chip_program){.program = number, .pack = pack};
  }
  place->used = ++chip->uses;
  return BATON_OK;
}

static baton_status send(const node_chip *chip, const node_chip_program *place, baton_error *err) {
  uint64_t bytes = node_command_bytes(0, 0, place->pack.length);
  if (bytes > NODE_DATA_MOST)
    return baton_error_set(err, BATON_RESOURCE_LIMIT, "a program of %llu bytes, a child takes %d",
                           (unsigned long long)bytes, NODE_DATA_MOST);
  node_command *command = base_calloc(1, bytes);
  if (!command) return base_out_of_memory(err, "a program");
  *command = (node_command){.bytes = (uint32_t)bytes,
                            .operation = NODE_REGISTER,
                            .callable = (uint32_t)(place - chip->places) + 1,
                            .ndata = (uint32_t)place->pack.length};
  memcpy(node_command_data(command), place->pack.data, place->pack.length);
  baton_status status =
      node_endpoint_control(chip->endpoint, command, base_deadline(TELL_SECONDS), NULL, err);
  base_free(command);
  return status;
}

/* `server` and `programs` are held. */
static baton_status tell(node_chip *chip, baton_program *program, node_chip_program *place,
                         baton_error *err) {
  uint64_t forgets = forgets_of(program);
  if (place->told == chip->endpoint->started && place->forgets == forgets) return BATON_OK;
  BATON_TRY(send(chip, place, err));
  place->told = chip->endpoint->started;
  place->forgets = forgets;
  return BATON_OK;
}

baton_status node_chip_tell(node_chip *chip, baton_program *program, uint32_t *number, baton_error *err) {
  node_chip_program *place;
  pthread_mutex_lock(&chip->programs);
  baton_status status = enter(chip, program, &place, err);
  if (status == BATON_OK) status = tell(chip, program, place, err);
  if (status == BATON_OK) *number = (uint32_t)(place - chip->places) + 1;
  pthread_mutex_unlock(&chip->programs);
  return status;
}

/* A child that has nothing to do is told at once. What it says of the program is repeated by the run. */
baton_status node_chip_accept(void *context, baton_program *program, baton_error *err) {
  node_chip *chip = context;
  node_chip_program *place;
  int idle = pthread_mutex_trylock(&chip->server) == 0;
  pthread_mutex_lock(&chip->programs);
  baton_status status = enter(chip, program, &place, err);
  if (idle && status == BATON_OK) (void)tell(chip, program, place, NULL);
  pthread_mutex_unlock(&chip->programs);
  if (idle) pthread_mutex_unlock(&chip->server);
  return status;
}

void node_chip_programs_close(node_chip *chip) {
  for (uint32_t i = 0; i < NODE_CHIP_PROGRAMS; i++) chip_text_free(&chip->places[i].pack);
}
