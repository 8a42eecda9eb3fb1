// onetbb.cc - the peer `onetbb`: the same graphs as a flow graph of continue_nodes with given edges, built while the clock
// runs, or before it for a replay; tasks without edges in a task_group. oneTBB infers nothing.
#include "base/clock.h"
#include "body.h"
#include "edges.h"
#include <cstring>
#include <memory>
#include <tbb/flow_graph.h>
#include <tbb/global_control.h>
#include <tbb/task_group.h>
#include <vector>

namespace {

using node = tbb::flow::continue_node<tbb::flow::continue_msg>;

class bench {
public:
  explicit bench(const bench_case &of)
      : of_(of), limit_(tbb::global_control::max_allowed_parallelism, of.threads),
        edges_(bench_edges_make(&of)) {
    if (of_.way == BENCH_REPLAYED) build();
  }
  ~bench() { bench_edges_free(&edges_); }
  bench(const bench &) = delete;
  bench &operator=(const bench &) = delete;

  double once() {
    int64_t begin = base_now();
    if (edges_.first[of_.tasks] == 0) {
      run_group();
    } else if (of_.way == BENCH_REPLAYED) {
      run_graph();
    } else {
      build();
      run_graph();
    }
    int64_t end = base_now();
    if (of_.way != BENCH_REPLAYED) forget();
    return static_cast<double>(end - begin);
  }

private:
  void run_group() {
    tbb::task_group group;
    for (uint32_t i = 0; i < of_.tasks; i++) {
      uint32_t turns = bench_turns(&of_, i);
      group.run([turns] { bench_body(turns); });
    }
    group.wait();
  }

  void build() {
    graph_ = std::make_unique<tbb::flow::graph>();
    nodes_.reserve(of_.tasks);
    for (uint32_t i = 0; i < of_.tasks; i++) {
      uint32_t turns = bench_turns(&of_, i);
      nodes_.push_back(
          std::make_unique<node>(*graph_, [turns](const tbb::flow::continue_msg &) { bench_body(turns); }));
      for (uint32_t k = edges_.first[i]; k < edges_.first[i + 1]; k++)
        tbb::flow::make_edge(*nodes_[edges_.producers[k]], *nodes_[i]);
    }
  }

  void run_graph() {
    for (uint32_t i = 0; i < of_.tasks; i++)
      if (edges_.first[i] == edges_.first[i + 1]) nodes_[i]->try_put(tbb::flow::continue_msg());
    graph_->wait_for_all();
  }

  void forget() {
    nodes_.clear();
    graph_.reset();
  }

  bench_case of_;
  tbb::global_control limit_;
  bench_edges edges_;
  std::unique_ptr<tbb::flow::graph> graph_;
  std::vector<std::unique_ptr<node>> nodes_;
};

int can(const bench_case *) { return 1; }
void *open_case(const bench_case *of) { return new bench(*of); }
double once(void *context) { return static_cast<bench *>(context)->once(); }
void close_case(void *context) { delete static_cast<bench *>(context); }

} // namespace

int main(int argc, char **argv) {
  const bench_runner runner = {"onetbb/edges_given", can, open_case, once, close_case};
  return bench_figures_main(argc, argv, &runner);
}
