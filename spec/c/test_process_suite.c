/* The executor behind a child. */
#include "endpoint_suite.h"

int main(void) {
  const struct CMUnitTest tests[] = {
      ENDPOINT_SUITE,
  };
  suite_calls = &node_endpoint_process;
  return cmocka_run_group_tests_name("executor in a child", tests, NULL, NULL);
}
