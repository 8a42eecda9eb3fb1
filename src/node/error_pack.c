/* Errors as bytes: a head with the numbers and the lengths of the texts, then the texts without their ends. */
#include "node/command.h"
#include <string.h>

enum { TEXTS = BATON_FIELD_PATH + 1, LONGEST_TEXT = 64 * 1024 - 1 };

static const uint32_t no_text = UINT32_MAX;

typedef struct error_head {
  uint32_t code, known;
  int32_t core, device, worker, signal;
  int64_t round;
  double after_ms;
  uint32_t lengths[TEXTS]; /* of each baton_error_field, or no_text */
} error_head;

static void texts_of(const baton_error *err, const char *texts[TEXTS]) {
  texts[BATON_FIELD_MESSAGE] = err->message;
  texts[BATON_FIELD_HINT] = err->hint;
  texts[BATON_FIELD_TASK] = err->task;
  texts[BATON_FIELD_KERNEL] = err->kernel;
  texts[BATON_FIELD_CAUSE] = err->cause;
  texts[BATON_FIELD_PATH] = err->path;
}

/* Bytes of all texts if each is cut to `most`. */
static uint64_t length_of_all(const uint32_t lengths[TEXTS], uint32_t most) {
  uint64_t sum = 0;
  for (int i = 0; i < TEXTS; i++)
    if (lengths[i] != no_text) sum += lengths[i] < most ? lengths[i] : most;
  return sum;
}

/* The most bytes that each text may have, so that all of them fit `room`. */
static uint32_t most_of_each(const uint32_t lengths[TEXTS], uint64_t room) {
  uint32_t fits = 0, above = LONGEST_TEXT + 1;
  while (above - fits > 1) {
    uint32_t middle = (fits + above) / 2;
    *(length_of_all(lengths, middle) <= room ? &fits : &above) = middle;
  }
  return fits;
}

uint64_t node_error_pack(const baton_error *err, void *out, uint64_t room) {
  const char *texts[TEXTS];
  error_head head = {.code = err->code,
                     .known = err->known,
                     .core = err->core,
                     .device = err->device,
                     .worker = err->worker,
                     .signal = err->signal,
                     .round = err->round,
                     .after_ms = err->after_ms};
  if (room < sizeof head) return 0;
  texts_of(err, texts);
  for (int i = 0; i < TEXTS; i++)
    head.lengths[i] = texts[i] ? (uint32_t)strnlen(texts[i], LONGEST_TEXT) : no_text;
  uint32_t most = most_of_each(head.lengths, room - sizeof head);
  char *at = (char *)out + sizeof head;
  for (int i = 0; i < TEXTS; i++) {
    if (!texts[i]) continue;
    if (head.lengths[i] > most) head.lengths[i] = most;
    memcpy(at, texts[i], head.lengths[i]);
    at += head.lengths[i];
  }
  memcpy(out, &head, sizeof head);
  return (uint64_t)(at - (char *)out);
}

/* True if `texts` are the bytes that the head promises. */
static int is_error(const error_head *head, const char *texts, uint64_t bytes) {
  const uint32_t all_known = 2 * BATON_KNOWN_AFTER_MS - 1;
  if (head->code == BATON_OK || head->code >= BATON_STATUS_COUNT || head->known & ~all_known) return 0;
  for (int i = 0; i < TEXTS; i++)
    if (head->lengths[i] != no_text && head->lengths[i] > LONGEST_TEXT) return 0;
  return length_of_all(head->lengths, LONGEST_TEXT) == bytes && !memchr(texts, 0, bytes);
}

int node_error_unpack(const void *data, uint64_t bytes, baton_error *err) {
  error_head head;
  const char *at = data;
  baton_error_clear(err);
  if (bytes < sizeof head) return 0;
  memcpy(&head, data, sizeof head);
  at += sizeof head;
  if (!is_error(&head, at, bytes - sizeof head)) return 0;
  if (!err) return 1;
  baton_error_set(err, (baton_status)head.code, "%s", "");
  err->known = head.known;
  err->core = head.core;
  err->device = head.device;
  err->worker = head.worker;
  err->signal = head.signal;
  err->round = head.round;
  err->after_ms = head.after_ms;
  for (int i = 0; i < TEXTS; i++) {
    if (head.lengths[i] == no_text) continue;
    baton_error_text(err, (baton_error_field)i, "%.*s", (int)head.lengths[i], at);
    at += head.lengths[i];
  }
  return 1;
}
