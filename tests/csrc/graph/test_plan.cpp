/// The planner: slots are never shared by values that live at the same time, quantised copies are
/// made once, and numbers that cannot be sizes are refused.

#include <limits>
#include <set>

#include "graph/kv_layout.h"
#include "graph/plan.h"
#include "testing.h"
#include "tiny_model.h"

namespace plrt::testing {
namespace {

/// Fails if two values that live at the same time share a slot, or a slot is too small.
void check_slots(const Plan& plan) {
    const size_t n = plan.nodes.size();
    check(plan.values.size() == n, "a value a node");
    std::vector<size_t> last_use(n);
    for (size_t i = 0; i < n; ++i) {
        last_use[i] = i;
        for (const int input : plan.nodes[i].inputs) {
            check(input >= 0 && static_cast<size_t>(input) < i, "inputs come first");
            last_use[static_cast<size_t>(input)] = i;
        }
    }
    last_use[n - 1] = n;
    for (size_t i = 0; i < n; ++i) {
        const Value& value = plan.values[i];
        const Slot& slot = plan.slots.at(static_cast<size_t>(value.slot));
        check(slot.rows == value.rows, "rows of the slot");
        check(slot.bytes_per_row >= value.bytes_per_row, "size of the slot");
        check(value.bytes_per_row == activation_row_bytes(value.format, value.width), "row bytes");
        for (size_t j = i + 1; j < n; ++j) {
            // Threads run through a stage at their own pace: a value lives to the stage's end.
            const bool both_live =
                last_use[i] == n || plan.stages[last_use[i]] >= plan.stages[j] || last_use[i] >= j;
            check(!both_live || plan.values[j].slot != value.slot, "two live values in a slot");
        }
    }
}

/// Fails if a node reads, with no barrier between, what other threads wrote.
void check_stages(const Plan& plan) {
    for (size_t i = 0; i < plan.nodes.size(); ++i) {
        check(i == 0 || plan.stages[i] >= plan.stages[i - 1], "stages ascend");
        const bool by_row = op_sharing(plan.nodes[i].op) != Sharing::own;
        for (const int input : plan.nodes[i].inputs) {
            const auto j = static_cast<size_t>(input);
            const bool same_rows = by_row && op_sharing(plan.nodes[j].op) == Sharing::by_row &&
                                   plan.nodes[i].rows == plan.nodes[j].rows;
            check(same_rows || plan.stages[j] < plan.stages[i], "a barrier before foreign rows");
        }
    }
}

Plan plan_of(const TinyModel& model) {
    return make_plan(parse_graph(model.text()), [&](const std::string&) { return model.type; });
}

const Test slots_do_not_overlap("plan: live values never share a slot", [] {
    for (const TensorTypeInfo& type : tensor_types()) {
        TinyModel model = wide_model(type.type);
        model.n_layers = 3;
        const Plan plan = plan_of(model);
        check_slots(plan);
        check_stages(plan);
        check(plan.slots.size() <= 16, "slots are used again");
        check(plan.stages.back() < 10 * 3 + 4, "ten barriers a layer at most");
    }
});

/// A graph of random adds and norms over earlier values, so that lives have every length.
std::string random_graph(std::mt19937_64& random, int n_nodes) {
    std::string text = "plrt-graph 1\n%0 = embed @w -> n 8\n";
    std::vector<int> step_values = {0};
    std::vector<int> output_values;
    const auto pick = [&](const std::vector<int>& values) {
        return " %" + std::to_string(values[random() % values.size()]);
    };
    for (int i = 1; i < n_nodes; ++i) {
        const std::string number = "%" + std::to_string(i);
        const auto kind = random() % 5;
        if (i == n_nodes - 1 || kind == 0) {
            text += number + " = output_rows" + pick(step_values) + " -> m 8\n";
            output_values.push_back(i);
        } else if (kind == 1 && !output_values.empty()) {
            text += number + " = add" + pick(output_values) + pick(output_values) + " -> m 8\n";
            output_values.push_back(i);
        } else if (kind == 2) {
            text += number + " = linear" + pick(step_values) + " @w @- -> n 8\n";
            step_values.push_back(i);
        } else {
            text += number + " = add" + pick(step_values) + pick(step_values) + " -> n 8\n";
            step_values.push_back(i);
        }
    }
    return text;
}

const Test random_graphs("plan: slots of 300 random graphs", [] {
    std::mt19937_64 random(3);
    for (int round = 0; round < 300; ++round) {
        const Graph graph = parse_graph(random_graph(random, 2 + static_cast<int>(random() % 40)));
        const TensorType types[] = {TensorType::kF32, TensorType::kQ8_0, TensorType::kQ4_K};
        const TensorType type = types[round % 3];
        check_slots(make_plan(graph, [&](const std::string&) { return type; }));
    }
});

const Test copies_are_made_once("plan: one quantised copy for each value and format", [] {
    const std::string text =
        "plrt-graph 1\n%0 = embed @f32 -> n 256\n%1 = linear %0 @q4_0 @- -> n 256\n"
        "%2 = linear %0 @q8_0 @- -> n 256\n%3 = linear %0 @q4_k @- -> n 256\n"
        "%4 = linear %0 @q6_k @- -> n 256\n%5 = linear %0 @f32 @- -> n 256\n"
        "%6 = linear %5 @iq4_xs @- -> n 256\n%7 = linear %5 @iq4_nl @- -> n 256\n"
        "%8 = linear %5 @bf16 @- -> n 256\n";
    const Plan plan = make_plan(parse_graph(text), [](const std::string& name) {
        return info(std::string_view(name)).type;
    });
    std::set<std::pair<int, ValueFormat>> copies;
    for (size_t i = 0; i < plan.nodes.size(); ++i) {
        const Node& node = plan.nodes[i];
        if (node.op == Op::quantize_rows) {
            check(copies.emplace(node.inputs[0], plan.values[i].format).second, "made once");
        } else if (node.op == Op::linear) {
            const Value& input = plan.values[static_cast<size_t>(node.inputs[0])];
            const TensorTypeInfo& type = info(std::string_view(node.weights[0]));
            const ValueFormat wanted = type.type == TensorType::kBF16 ? ValueFormat::kBF16
                                       : !type.is_quantized           ? ValueFormat::kF32
                                       : type.block_size == 32        ? ValueFormat::kAct32
                                                                      : ValueFormat::kAct256;
            check(input.format == wanted, "a linear reads the format of its weights");
        }
    }
    check(copies.size() == 5, "one value in two formats, one in three");
    check_slots(plan);
});

const Test tallies_stand_before_linears(
    "plan: an observing one counts what enters each linear", [] {
        for (const TensorTypeInfo& type : tensor_types()) {
            TinyModel model = wide_model(type.type);
            model.n_layers = 2;
            const auto type_of = [&](const std::string&) { return type.type; };
            const Plan plan = make_plan(parse_graph(model.text()), type_of, Observe::kMoments);
            check_slots(plan);
            check_stages(plan);
            std::multiset<std::string> counted;
            size_t n_tallies = 0;
            for (const Node& node : plan.nodes) {
                if (node.op == Op::linear)
                    check(counted.count(node.weights[0]) == 1, "counted once");
                if (node.op != Op::tally) continue;
                check(node.integer("index") == static_cast<int64_t>(n_tallies), "in order");
                const TallyPlan& tally = plan.tallies.at(n_tallies++);
                const Value& input = plan.values[static_cast<size_t>(node.inputs[0])];
                check(input.format == ValueFormat::kF32, "floats, whatever the linear reads");
                check(tally.n_mats == 1 && tally.cols == input.width, "sizes");
                check(tally.has_moments, "products of columns too");
                counted.insert(tally.weights.begin(), tally.weights.end());
            }
            check(plan.tallies.size() == 2 * 4 + 1 && n_tallies == 9,
                  "shared by q, k, v and gate, up");
            check(counted.size() == 2 * 7 + 1, "every linear");
            const Plan ordinary = plan_of(model);
            check(ordinary.tallies.empty() && plan.stages.back() == ordinary.stages.back(),
                  "no more barriers");
        }
    });

const Test tallies_of_experts(
    "plan: experts are counted apart, where the input or route differs", [] {
        const std::string experts = " n_experts=4 n_used=2 shared=";
        const std::string text =
            "plrt-graph 1\n%0 = embed @e -> n 64\n%1 = linear %0 @router @- -> n 4\n"
            "%2 = topk_route %1 n_used=2 -> n 4\n%3 = expert_linear %0 %2 @gate" +
            experts + "1 -> n 64\n%4 = expert_linear %0 %2 @up" + experts +
            "1 -> n 64\n%5 = silu_mul %3 %4 -> n 64\n%6 = expert_linear %5 %2 @down" + experts +
            "0 -> n 128\n%7 = expert_sum %6 %2 n_used=2 -> n 64\n%8 = output_rows %7 -> m 64\n";
        const Plan plan = make_plan(
            parse_graph(text), [](const std::string&) { return TensorType::kQ8_0; },
            Observe::kMoments);
        check_slots(plan);
        check_stages(plan);
        const std::vector<std::string> both = {"gate", "up"};
        check(plan.tallies.size() == 3 && plan.tallies[0].n_mats == 1, "the router by itself");
        check(plan.tallies[1].weights == both && plan.tallies[1].n_mats == 4,
              "one input, one route");
        check(plan.tallies[0].has_moments && !plan.tallies[1].has_moments, "not of experts");
        check(plan.tallies[1].cols == 64 && plan.tallies[2].cols == 32, "columns of one expert");
    });

const Test layers_are_numbered("plan: attention nodes are numbered in order", [] {
    TinyModel model;
    model.n_layers = 3;
    const Plan plan = plan_of(model);
    int64_t layer = 0;
    for (const Node& node : plan.nodes) {
        if (node.op == Op::attention) check(node.integer("layer") == layer++, "number");
    }
    const KvLayout layout = make_kv_layout(plan, KvType::kF16);
    check(layer == 3 && layout.layers.size() == 3, "three layers");
    int64_t end = 0;
    for (int64_t i = 0; i < 3; ++i) {
        for (int64_t head = 0; head < 2; ++head) {
            check(layout.k_offset(i, head) == end, "keys follow what comes before");
            check(layout.v_offset(i, head) == end + 8 * 64 * 2, "values follow the keys");
            end = layout.v_offset(i, head) + 64 * 16 * 2;
        }
    }
    check(layout.page_bytes == end, "page");
    const KvLayout small = make_kv_layout(plan, KvType::kQ8_0);
    check(small.v_offset(0, 0) == 8 * 64 + 64 * 2, "values follow the codes and scales of keys");
    check(small.k_offset(0, 1) == small.v_offset(0, 0) + 16 * 64 + 64 * 2, "likewise");
    check(small.page_bytes == 3 * 2 * small.k_offset(0, 1), "page of codes");
});

const Test sizes_are_checked("plan: sizes that do not fit 63 bits", [] {
    check_throws(ErrorKind::kShape, [] {
        activation_row_bytes(ValueFormat::kF32, std::numeric_limits<int64_t>::max() / 2);
    });
    const std::string wide =
        "plrt-graph 1\n%0 = embed @w -> n 131072\n"
        "%1 = attention %0 %0 %0 n_heads=1 n_kv_heads=1 head_dim=131072 scale=1.0 -> n 131072\n";
    const Plan plan =
        make_plan(parse_graph(wide), [](const std::string&) { return TensorType::kF32; });
    check_throws(ErrorKind::kFormat, [&] { make_kv_layout(plan, KvType::kF16); });
});

}  // namespace
}  // namespace plrt::testing
