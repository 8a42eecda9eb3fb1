/* starpu.c - the peer `starpu`: the same graphs as StarPU tasks over one handle a tile. StarPU runs tasks on its workers
** only, so the submitting thread is one more: the kind says how many there are of each. STARPU_NCPU chooses the workers. */
#include "base/clock.h"
#include "body.h"
#include "figures.h"
#include <starpu.h>
#include <stdio.h>
#include <stdlib.h>

static char buffer[BENCH_TILES][BENCH_TILE];
static starpu_data_handle_t handles[BENCH_TILES];

typedef struct starpu_bench {
  bench_case of;
  struct starpu_codelet codelets[BENCH_MOST_USES + 1]
                                [2]; /* by the number of uses; the first reads and writes, or writes */
} starpu_bench;

static void body(void *tiles[], void *turns) {
  (void)tiles;
  bench_body((uint32_t)(uintptr_t)turns);
}

static void make_codelets(starpu_bench *bench) {
  int output_last = bench_width(bench->of.shape) != 0;
  for (int count = 0; count <= BENCH_MOST_USES; count++)
    for (int writes = 0; writes < 2; writes++) {
      struct starpu_codelet *codelet = &bench->codelets[count][writes];
      starpu_codelet_init(codelet);
      codelet->cpu_funcs[0] = body;
      codelet->nbuffers = count;
      for (int i = 0; i < count; i++) codelet->modes[i] = STARPU_R;
      if (count) codelet->modes[output_last ? count - 1 : 0] = writes ? STARPU_W : STARPU_RW;
    }
}

/* StarPU has no use for the same handle twice. */
static uint32_t distinct(bench_use *uses, uint32_t count) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t k = 0;
    while (k < kept && uses[k].tile != uses[i].tile) k++;
    if (k == kept) uses[kept++] = uses[i];
  }
  return kept;
}

static void submit(starpu_bench *bench, uint32_t i) {
  bench_use uses[BENCH_MOST_USES];
  uint32_t count = distinct(uses, bench_uses(bench->of.shape, i, uses));
  struct starpu_task *task = starpu_task_create();
  int updates = count && uses[0].mode == (BENCH_READS | BENCH_WRITES);
  task->cl = &bench->codelets[count][!updates];
  task->cl_arg = (void *)(uintptr_t)bench_turns(&bench->of, i);
  for (uint32_t k = 0; k < count; k++) task->handles[k] = handles[uses[k].tile];
  if (starpu_task_submit(task)) {
    fprintf(stderr, "starpu refuses a task\n");
    exit(1);
  }
}

static double once(void *context) {
  starpu_bench *bench = context;
  int64_t begin = base_now();
  for (uint32_t i = 0; i < bench->of.tasks; i++) submit(bench, i);
  starpu_task_wait_for_all();
  return (double)(base_now() - begin);
}

/* One worker and the thread that submits are two threads: there is nothing with one. */
static int can(const bench_case *of) { return of->way != BENCH_REPLAYED && of->threads == BENCH_THREADS; }

static void *open_case(const bench_case *of) {
  starpu_bench *bench = calloc(1, sizeof *bench);
  if (!bench) abort();
  bench->of = *of;
  make_codelets(bench);
  return bench;
}

int main(int argc, char **argv) {
  struct starpu_conf conf;
  char who[BENCH_NAME];
  starpu_conf_init(&conf);
  if (starpu_init(&conf)) {
    fprintf(stderr, "starpu does not start here\n");
    return 1;
  }
  for (int i = 0; i < BENCH_TILES; i++)
    starpu_variable_data_register(&handles[i], STARPU_MAIN_RAM, (uintptr_t)buffer[i], BENCH_TILE);
  snprintf(who, sizeof who, "starpu/submitter_and_%u_workers", starpu_cpu_worker_get_count());
  bench_runner runner = {.who = who, .can = can, .open = open_case, .once = once, .close = free};
  int status = bench_figures_main(argc, argv, &runner);
  for (int i = 0; i < BENCH_TILES; i++) starpu_data_unregister(handles[i]);
  starpu_shutdown();
  return status;
}
