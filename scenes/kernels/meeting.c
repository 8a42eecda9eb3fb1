/* meeting.c - a function of the host that shows in which order the tasks of a node begin, and which of them run together. */
#include <baton/kernel.h>
#include <sched.h>
#include <time.h>

enum { LONGEST = 60 }; /* seconds that a member waits for the others */

/* Takes the next number of `counter` as its ticket, then waits until all members of its group have come. The tasks share
** `counter`, those of a group `arrived`. */
BATON_KERNEL(meet) {
  int32_t *counter = baton_io(args, 0, int32_t), *arrived = baton_io(args, 1, int32_t);
  int32_t members = (int32_t)baton_scalar_i64(args, 2);
  baton_out(args, 3, int32_t)[0] = __atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
  baton_signal_add(args, arrived, 1);
  for (time_t last = time(NULL) + LONGEST; __atomic_load_n(arrived, __ATOMIC_ACQUIRE) < members;) {
    if (time(NULL) > last) baton_kernel_fail(args, "not all of %d members have come", members);
    sched_yield();
  }
}
