#include "chip/executor/fiber.h"
#include "base/memory.h"
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__has_feature)
#define FIBER_HAS_FEATURE(name) __has_feature(name)
#else
#define FIBER_HAS_FEATURE(name) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || FIBER_HAS_FEATURE(address_sanitizer)
#define FIBER_ASAN 1
#include <sanitizer/common_interface_defs.h>
#else
#define FIBER_ASAN 0
#endif

#if defined(__SANITIZE_THREAD__) || FIBER_HAS_FEATURE(thread_sanitizer)
#define FIBER_TSAN 1
#include <sanitizer/tsan_interface.h>
#else
#define FIBER_TSAN 0
#endif

enum { STACK_BYTES = 256 << 10 };

struct chip_fiber {
  void *inside, *outside; /* stack pointers of the side that does not run */
  char *mapping;          /* the guard page, then the stack */
  size_t mapped;
  void (*entry)(void *argument);
  void *argument;
  int ended;
  void *fake_inside, *fake_outside; /* address sanitizer: its own stacks, and where the lane's stack lies */
  const void *outside_bottom;
  size_t outside_size;
  void *tsan_inside, *tsan_outside;
};

/* Saves what a function must preserve on the stack, leaves the stack pointer in *save, and goes on with
** another one. */
void chip_fiber_swap(void **save, void *load);

#if defined(__x86_64__)
__asm__(".text\n"
        ".globl chip_fiber_swap\n"
        ".hidden chip_fiber_swap\n"
        ".type chip_fiber_swap, @function\n"
        "chip_fiber_swap:\n"
        "  pushq %rbp\n"
        "  pushq %rbx\n"
        "  pushq %r12\n"
        "  pushq %r13\n"
        "  pushq %r14\n"
        "  pushq %r15\n"
        "  subq $8, %rsp\n"
        "  stmxcsr (%rsp)\n"
        "  fnstcw 4(%rsp)\n"
        "  movq %rsp, (%rdi)\n"
        "  movq %rsi, %rsp\n"
        "  ldmxcsr (%rsp)\n"
        "  fldcw 4(%rsp)\n"
        "  addq $8, %rsp\n"
        "  popq %r15\n"
        "  popq %r14\n"
        "  popq %r13\n"
        "  popq %r12\n"
        "  popq %rbx\n"
        "  popq %rbp\n"
        "  ret\n"
        ".size chip_fiber_swap, . - chip_fiber_swap\n");

/* From the lowest address: control words, six registers, where to return to, and a word that ends the
** stack. */
enum { FRAME_WORDS = 9, FRAME_RETURN = 7 };

static void prepare_frame(uintptr_t *frame) {
  uint32_t control[2] = {0, 0};
  __asm__ volatile("stmxcsr %0" : "=m"(control[0]));
  __asm__ volatile("fnstcw %0" : "=m"(control[1]));
  frame[0] = control[0] | (uintptr_t)control[1] << 32;
}

#elif defined(__aarch64__)
__asm__(".text\n"
        ".globl chip_fiber_swap\n"
        ".hidden chip_fiber_swap\n"
        ".type chip_fiber_swap, %function\n"
        "chip_fiber_swap:\n"
        "  sub sp, sp, #160\n"
        "  stp x19, x20, [sp, #0]\n"
        "  stp x21, x22, [sp, #16]\n"
        "  stp x23, x24, [sp, #32]\n"
        "  stp x25, x26, [sp, #48]\n"
        "  stp x27, x28, [sp, #64]\n"
        "  stp x29, x30, [sp, #80]\n"
        "  stp d8, d9, [sp, #96]\n"
        "  stp d10, d11, [sp, #112]\n"
        "  stp d12, d13, [sp, #128]\n"
        "  stp d14, d15, [sp, #144]\n"
        "  mov x2, sp\n"
        "  str x2, [x0]\n"
        "  mov sp, x1\n"
        "  ldp x19, x20, [sp, #0]\n"
        "  ldp x21, x22, [sp, #16]\n"
        "  ldp x23, x24, [sp, #32]\n"
        "  ldp x25, x26, [sp, #48]\n"
        "  ldp x27, x28, [sp, #64]\n"
        "  ldp x29, x30, [sp, #80]\n"
        "  ldp d8, d9, [sp, #96]\n"
        "  ldp d10, d11, [sp, #112]\n"
        "  ldp d12, d13, [sp, #128]\n"
        "  ldp d14, d15, [sp, #144]\n"
        "  add sp, sp, #160\n"
        "  ret\n"
        ".size chip_fiber_swap, . - chip_fiber_swap\n");

/* From the lowest address: x19 to x30, then d8 to d15. */
enum { FRAME_WORDS = 20, FRAME_RETURN = 11 };

static void prepare_frame(uintptr_t *frame) { (void)frame; }

#else
#error "fibers need a context switch for this CPU"
#endif

/* The fiber that this thread enters for the first time. */
static _Thread_local chip_fiber *entered;

static void announce_inside(chip_fiber *fiber) {
  (void)fiber;
#if FIBER_ASAN
  __sanitizer_start_switch_fiber(&fiber->fake_outside, fiber->mapping, fiber->mapped);
#endif
#if FIBER_TSAN
  fiber->tsan_outside = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(fiber->tsan_inside, 0);
#endif
}

static void arrived_outside(chip_fiber *fiber) {
  (void)fiber;
#if FIBER_ASAN
  __sanitizer_finish_switch_fiber(fiber->fake_outside, NULL, NULL);
#endif
}

static void announce_outside(chip_fiber *fiber) {
  (void)fiber;
#if FIBER_ASAN
  __sanitizer_start_switch_fiber(&fiber->fake_inside, fiber->outside_bottom, fiber->outside_size);
#endif
#if FIBER_TSAN
  __tsan_switch_to_fiber(fiber->tsan_outside, 0);
#endif
}

static void arrived_inside(chip_fiber *fiber) {
  (void)fiber;
#if FIBER_ASAN
  __sanitizer_finish_switch_fiber(fiber->fake_inside, &fiber->outside_bottom, &fiber->outside_size);
#endif
}

/* The bottom of every fiber: one entry after the other. */
static void fiber_main(void) {
  chip_fiber *fiber = entered;
  arrived_inside(fiber);
  for (;;) {
    fiber->entry(fiber->argument);
    fiber->ended = 1;
    chip_fiber_yield(fiber);
  }
}

chip_fiber *chip_fiber_open(void) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  chip_fiber *fiber = base_calloc(1, sizeof *fiber);
  if (!fiber) return NULL;
  fiber->mapped = STACK_BYTES + page;
  fiber->mapping = mmap(NULL, fiber->mapped, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (fiber->mapping == MAP_FAILED || mprotect(fiber->mapping, page, PROT_NONE) != 0) {
    if (fiber->mapping != MAP_FAILED) munmap(fiber->mapping, fiber->mapped);
    base_free(fiber);
    return NULL;
  }
  uintptr_t *frame = (uintptr_t *)(void *)(fiber->mapping + fiber->mapped) - FRAME_WORDS;
  prepare_frame(frame);
  frame[FRAME_RETURN] = (uintptr_t)fiber_main;
  fiber->inside = frame;
  fiber->ended = 1;
#if FIBER_TSAN
  fiber->tsan_inside = __tsan_create_fiber(0);
#endif
  return fiber;
}

void chip_fiber_close(chip_fiber *fiber) {
  if (!fiber) return;
#if FIBER_TSAN
  __tsan_destroy_fiber(fiber->tsan_inside);
#endif
  munmap(fiber->mapping, fiber->mapped);
  base_free(fiber);
}

void chip_fiber_start(chip_fiber *fiber, void (*entry)(void *argument), void *argument) {
  fiber->entry = entry;
  fiber->argument = argument;
  fiber->ended = 0;
}

int chip_fiber_resume(chip_fiber *fiber) {
  entered = fiber;
  announce_inside(fiber);
  chip_fiber_swap(&fiber->outside, fiber->inside);
  arrived_outside(fiber);
  return fiber->ended;
}

void chip_fiber_yield(chip_fiber *fiber) {
  announce_outside(fiber);
  chip_fiber_swap(&fiber->inside, fiber->outside);
  arrived_inside(fiber);
}
