#include "graph/shapes.h"

#include "core/errors.h"

namespace plrt {
namespace {

/// No model's heads are wider; the table is computed when a program is made.
constexpr int64_t kMaxRopeDims = 1 << 16;
constexpr int64_t kMaxExperts = 1 << 16;

class NodeRules {
  public:
    NodeRules(const Graph& graph, size_t index)
        : graph_(graph), index_(index), node_(graph.nodes[index]) {}

    void check() const {
        switch (node_.op) {
            case Op::embed:
            case Op::embed_positions: expect(node_.rows == Rows::kStep, "rows n"); break;
            case Op::rope_table:
                expect(node_.rows == Rows::kStep, "rows n");
                expect(node_.width <= kMaxRopeDims && node_.integer("dims") == node_.width,
                       "a width of dims, at most 65536");
                break;
            case Op::rms_norm:
            case Op::layer_norm:
            case Op::gelu:
            case Op::softcap:
            case Op::scale:
            case Op::add_row: expect(is_like(0), "its input's rows and width"); break;
            case Op::slice: check_slice(); break;
            case Op::topk_route: check_route(); break;
            case Op::expert_linear: check_expert_linear(); break;
            case Op::expert_sum:
                expect(is_route(1) && input(0).rows == node_.rows &&
                           input(0).width % n_used() == 0 &&
                           input(0).width / n_used() == node_.width,
                       "its width n_used times, and a route of the same rows");
                break;
            case Op::linear: expect(input(0).rows == node_.rows, "its input's rows"); break;
            case Op::rope:
                expect(node_.rows == Rows::kStep && is_like(0), "rows n and its input's width");
                expect(input(1).rows == Rows::kStep && input(1).width == node_.integer("dims"),
                       "a table of rows n and width dims");
                break;
            case Op::attention:
                expect(node_.rows == Rows::kStep && is_like(0), "rows n and its query's width");
                expect(input(1).rows == Rows::kStep && input(2).rows == Rows::kStep &&
                           input(1).width == input(2).width,
                       "keys and values of rows n and one width");
                break;
            case Op::silu_mul:
            case Op::gelu_mul:
            case Op::add: expect(is_like(0) && is_like(1), "its inputs' rows and width"); break;
            case Op::output_rows:
                expect(node_.rows == Rows::kOutput && input(0).rows == Rows::kStep &&
                           input(0).width == node_.width,
                       "rows m of an input of rows n and the same width");
                break;
            case Op::quantize_rows:
            case Op::tally: break;  // never in a text: the planner makes them
        }
    }

  private:
    void check_slice() const {
        const int64_t first = node_.integer("first");
        expect(input(0).rows == node_.rows && first >= 0 && first < input(0).width &&
                   node_.width <= input(0).width - first,
               "columns of its input");
    }

    void check_route() const {
        expect(input(0).rows == node_.rows && node_.width == 2 * n_used() &&
                   n_used() <= input(0).width && input(0).width <= kMaxExperts,
               "a number and a share for each of n_used experts");
    }

    void check_expert_linear() const {
        const int64_t n = n_used();
        const int64_t n_experts = node_.integer("n_experts");
        const Node& route = input(1);
        expect(is_route(1) && route.op == Op::topk_route &&
                   graph_.nodes[static_cast<size_t>(route.inputs[0])].width == n_experts,
               "a route among n_experts");
        expect(input(0).rows == node_.rows && node_.width % n == 0 &&
                   (node_.integer("shared") != 0 || input(0).width % n == 0),
               "widths that n_used divides");
    }

    /// Experts that a row uses; their numbers must be exact in float.
    int64_t n_used() const {
        const int64_t n = node_.integer("n_used");
        expect(n > 0 && n <= kMaxExperts, "1 to 65536 experts");
        return n;
    }

    bool is_route(size_t i) const {
        return input(i).rows == node_.rows && input(i).width == 2 * n_used();
    }

    void expect(bool ok, const char* expected) const {
        require(ok, ErrorKind::kFormat, "graph value %", index_, " (", op_name(node_.op),
                "): expected ", expected);
    }

    const Node& input(size_t i) const { return graph_.nodes[static_cast<size_t>(node_.inputs[i])]; }

    bool is_like(size_t i) const {
        return input(i).rows == node_.rows && input(i).width == node_.width;
    }

    const Graph& graph_;
    size_t index_;
    const Node& node_;
};

}  // namespace

void check_shapes(const Graph& graph) {
    for (size_t i = 0; i < graph.nodes.size(); ++i) NodeRules(graph, i).check();
}

}  // namespace plrt
