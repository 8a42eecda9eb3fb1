/* The executor behind a thread of this process. */
#include "endpoint_suite.h"

int main(void) {
  const struct CMUnitTest tests[] = {
      ENDPOINT_SUITE,
  };
  suite_calls = &node_endpoint_thread;
  return cmocka_run_group_tests_name("executor", tests, NULL, NULL);
}
