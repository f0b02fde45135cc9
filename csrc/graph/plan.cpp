#include "graph/plan.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "core/checked.h"

namespace plrt {
namespace {

constexpr int64_t kAlignment = 64;

int64_t align_up(int64_t n) {
    return checked_add(n, kAlignment - 1) / kAlignment * kAlignment;
}

ValueFormat activation_format(TensorType type) {
    const TensorTypeInfo& row = info(type);
    if (type == TensorType::kBF16) return ValueFormat::kBF16;
    if (!row.is_quantized) return ValueFormat::kF32;
    return row.block_size == 32 ? ValueFormat::kAct32 : ValueFormat::kAct256;
}

class Planner {
  public:
    Planner(const WeightTypeOf& type_of, Observe observe) : type_of_(type_of), observe_(observe) {}

    Plan run(const Graph& graph) {
        std::vector<int> renumbered;
        for (const Node& node : graph.nodes) {
            Node copy = node;
            for (int& input : copy.inputs) input = renumbered[static_cast<size_t>(input)];
            if (copy.op == Op::linear || copy.op == Op::expert_linear) {
                const ValueFormat format = activation_format(type_of_(copy.weights[0]));
                const std::vector<int> read = copy.inputs;
                copy.inputs[0] = in_format(read[0], format);
                // Behind the copy: before it, the copy would have to wait for all threads.
                if (observe_ != Observe::kNothing) tally(copy, read);
            }
            if (copy.op == Op::attention) {
                copy.attributes["layer"] = std::to_string(n_layers_++);
            }
            renumbered.push_back(append(std::move(copy), ValueFormat::kF32));
        }
        assign_stages();
        assign_slots();
        return std::move(plan_);
    }

  private:
    int append(Node node, ValueFormat format) {
        plan_.values.push_back(
            {format, node.rows, node.width, activation_row_bytes(format, node.width), -1});
        plan_.nodes.push_back(std::move(node));
        return static_cast<int>(plan_.nodes.size()) - 1;
    }

    /// The value itself, or its quantised copy, made at the first use.
    int in_format(int value, ValueFormat format) {
        if (format == ValueFormat::kF32) return value;
        const auto key = std::make_pair(value, format);
        const auto found = copies_.find(key);
        if (found != copies_.end()) return found->second;
        const Value& source = plan_.values[static_cast<size_t>(value)];
        Node node{Op::quantize_rows, {value}, {}, {}, source.rows, source.width};
        const int copy = append(std::move(node), format);
        copies_.emplace(key, copy);
        return copy;
    }

    /// Counts what `linear` reads from the float values `read`. Linears that read the same share a
    /// tally.
    void tally(const Node& linear, const std::vector<int>& read) {
        const auto key = std::make_pair(read, linear.attributes);
        const auto found = tallies_.find(key);
        if (found != tallies_.end()) {
            plan_.tallies[found->second].weights.push_back(linear.weights[0]);
            return;
        }
        const size_t index = plan_.tallies.size();
        tallies_.emplace(key, index);
        const Value& source = plan_.values[static_cast<size_t>(read[0])];
        int64_t n_mats = 1;
        int64_t cols = source.width;
        Node node{Op::tally, read, {}, linear.attributes, source.rows, 1};
        if (linear.op == Op::expert_linear) {
            n_mats = linear.integer("n_experts");
            if (linear.integer("shared") == 0) cols /= linear.integer("n_used");
        }
        node.attributes["index"] = std::to_string(index);
        const bool has_moments = observe_ == Observe::kMoments && linear.op == Op::linear;
        plan_.tallies.push_back({{linear.weights[0]}, n_mats, cols, has_moments});
        append(std::move(node), ValueFormat::kF32);
    }

    /// Whether a thread may go on from node `before` to node `after`, which reads its result,
    /// without waiting for the others: both work on the same rows of the same split.
    bool same_rows(int before, const Node& after) const {
        const Node& source = plan_.nodes[static_cast<size_t>(before)];
        return op_sharing(source.op) == Sharing::by_row && op_sharing(after.op) != Sharing::own &&
               source.rows == after.rows;
    }

    void assign_stages() {
        int stage = 0;
        for (const Node& node : plan_.nodes) {
            for (const int input : node.inputs) {
                const bool in_this_stage = plan_.stages[static_cast<size_t>(input)] == stage;
                if (in_this_stage && !same_rows(input, node)) ++stage;
            }
            plan_.stages.push_back(stage);
        }
    }

    /// A slot is free again in the stage after the last use of its value: within a stage threads
    /// do not wait for one another, and the next user may split its work differently.
    void assign_slots() {
        std::vector<int> last_stage = plan_.stages;
        for (size_t i = 0; i < plan_.nodes.size(); ++i) {
            for (const int input : plan_.nodes[i].inputs) {
                last_stage[static_cast<size_t>(input)] = plan_.stages[i];
            }
        }
        last_stage.back() = plan_.stages.back() + 1;  // the output outlives the step
        std::vector<int> free_from;                   // per slot: a stage
        for (size_t i = 0; i < plan_.values.size(); ++i) {
            Value& value = plan_.values[i];
            value.slot = best_slot(value, plan_.stages[i], free_from);
            Slot& slot = plan_.slots[static_cast<size_t>(value.slot)];
            slot.bytes_per_row = std::max(slot.bytes_per_row, value.bytes_per_row);
            free_from[static_cast<size_t>(value.slot)] = last_stage[i] + 1;
        }
    }

    /// The free slot that has to grow least (then the smallest), or a new one.
    int best_slot(const Value& value, int stage, std::vector<int>& free_from) {
        int best = -1;
        int64_t best_growth = value.bytes_per_row;  // a new slot costs all its bytes
        int64_t best_size = 0;
        for (size_t s = 0; s < free_from.size(); ++s) {
            const Slot& slot = plan_.slots[s];
            if (free_from[s] > stage || slot.rows != value.rows) continue;
            const int64_t growth = std::max<int64_t>(value.bytes_per_row - slot.bytes_per_row, 0);
            const bool tighter = growth == best_growth && slot.bytes_per_row < best_size;
            if (growth < best_growth || tighter) {
                best = static_cast<int>(s);
                best_growth = growth;
                best_size = slot.bytes_per_row;
            }
        }
        if (best >= 0) return best;
        plan_.slots.push_back({value.rows, 0});
        free_from.push_back(0);
        return static_cast<int>(free_from.size()) - 1;
    }

    const WeightTypeOf& type_of_;
    const Observe observe_;
    Plan plan_;
    std::map<std::pair<int, ValueFormat>, int> copies_;
    std::map<std::pair<std::vector<int>, std::map<std::string, std::string>>, size_t> tallies_;
    int n_layers_ = 0;
};

}  // namespace

int64_t activation_row_bytes(ValueFormat format, int64_t width) {
    switch (format) {
        case ValueFormat::kF32: return align_up(checked_mul(width, sizeof(float)));
        case ValueFormat::kBF16: return align_up(checked_mul(width, sizeof(uint16_t)));
        case ValueFormat::kAct32:
            return align_up(width) + 2 * align_up(checked_mul(width / 32, sizeof(float))) +
                   align_up(checked_mul(width / 32, sizeof(int16_t)));
        case ValueFormat::kAct256:
            return align_up(width) + align_up(checked_mul(width / 256, sizeof(float))) +
                   align_up(checked_mul(width / 16, sizeof(int16_t))) +
                   align_up(checked_mul(width / 32, sizeof(int16_t)));
    }
    return 0;
}

Plan make_plan(const Graph& graph, const WeightTypeOf& type_of, Observe observe) {
    return Planner(type_of, observe).run(graph);
}

}  // namespace plrt
