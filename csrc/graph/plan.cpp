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
    if (!row.is_quantized) return ValueFormat::kF32;
    return row.block_size == 32 ? ValueFormat::kAct32 : ValueFormat::kAct256;
}

class Planner {
  public:
    explicit Planner(const WeightTypeOf& type_of) : type_of_(type_of) {}

    Plan run(const Graph& graph) {
        std::vector<int> renumbered;
        for (const Node& node : graph.nodes) {
            Node copy = node;
            for (int& input : copy.inputs) input = renumbered[static_cast<size_t>(input)];
            if (copy.op == Op::linear) {
                const ValueFormat format = activation_format(type_of_(copy.weights[0]));
                copy.inputs[0] = in_format(copy.inputs[0], format);
            }
            if (copy.op == Op::attention) {
                copy.attributes["layer"] = std::to_string(n_layers_++);
            }
            renumbered.push_back(append(std::move(copy), ValueFormat::kF32));
        }
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
        const char* block = format == ValueFormat::kAct32 ? "32" : "256";
        Node node{Op::quantize_rows, {value}, {}, {{"block", block}}, source.rows, source.width};
        const int copy = append(std::move(node), format);
        copies_.emplace(key, copy);
        return copy;
    }

    void assign_slots() {
        std::vector<int> last_use(plan_.nodes.size());
        for (size_t i = 0; i < plan_.nodes.size(); ++i) {
            last_use[i] = static_cast<int>(i);
            for (int input : plan_.nodes[i].inputs) {
                last_use[static_cast<size_t>(input)] = static_cast<int>(i);
            }
        }
        last_use.back() = static_cast<int>(plan_.nodes.size());  // the output outlives the step
        std::vector<int> free_at;  // per slot: first node at which it is free again
        for (size_t i = 0; i < plan_.values.size(); ++i) {
            Value& value = plan_.values[i];
            value.slot = best_slot(value, static_cast<int>(i), free_at);
            Slot& slot = plan_.slots[static_cast<size_t>(value.slot)];
            slot.bytes_per_row = std::max(slot.bytes_per_row, value.bytes_per_row);
            free_at[static_cast<size_t>(value.slot)] = last_use[i] + 1;
        }
    }

    /// The free slot that has to grow least (then the smallest), or a new one.
    int best_slot(const Value& value, int node, std::vector<int>& free_at) {
        int best = -1;
        int64_t best_growth = value.bytes_per_row;  // a new slot costs all its bytes
        int64_t best_size = 0;
        for (size_t s = 0; s < free_at.size(); ++s) {
            const Slot& slot = plan_.slots[s];
            if (free_at[s] > node || slot.rows != value.rows) continue;
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
        free_at.push_back(0);
        return static_cast<int>(free_at.size()) - 1;
    }

    const WeightTypeOf& type_of_;
    Plan plan_;
    std::map<std::pair<int, ValueFormat>, int> copies_;
    int n_layers_ = 0;
};

}  // namespace

int64_t activation_row_bytes(ValueFormat format, int64_t width) {
    switch (format) {
        case ValueFormat::kF32: return align_up(checked_mul(width, sizeof(float)));
        case ValueFormat::kAct32:
            return align_up(width) + 2 * align_up(checked_mul(width / 32, sizeof(float)));
        case ValueFormat::kAct256:
            return align_up(width) + align_up(checked_mul(width / 256, sizeof(float))) +
                   align_up(checked_mul(width / 16, sizeof(int16_t)));
    }
    return 0;
}

Plan make_plan(const Graph& graph, const WeightTypeOf& type_of) {
    return Planner(type_of).run(graph);
}

}  // namespace plrt
