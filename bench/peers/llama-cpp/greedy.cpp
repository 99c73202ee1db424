// Greedy continuations by llama.cpp, for comparison token by token. Usage: greedy MODEL.gguf THREADS. Each line of stdin is
// `count id id id …`; the answer is `id:gap id:gap …`, where gap is the difference of the two best logits at that place.
// Prompts are evaluated alone, one after another, with f16 keys and values.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "llama.h"

static void die(const char * what) {
    std::fprintf(stderr, "greedy: %s\n", what);
    std::exit(1);
}

static void decode(llama_context * context, std::vector<llama_token> & ids) {
    if (llama_decode(context, llama_batch_get_one(ids.data(), static_cast<int32_t>(ids.size()))) != 0) {
        die("llama_decode failed");
    }
}

int main(int argc, char ** argv) {
    if (argc != 3) die("usage: greedy MODEL.gguf THREADS");
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    llama_backend_init();
    llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (model == nullptr) die("the model cannot be loaded");
    llama_context_params params = llama_context_default_params();
    params.n_ctx = 4096;
    params.n_batch = 4096;
    params.n_threads = params.n_threads_batch = std::atoi(argv[2]);
    llama_context * context = llama_init_from_model(model, params);
    if (context == nullptr) die("no context");
    const int32_t vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));

    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream words(line);
        int count = 0;
        words >> count;
        std::vector<llama_token> ids;
        for (llama_token id; words >> id;) ids.push_back(id);
        llama_memory_clear(llama_get_memory(context), true);
        for (int made = 0; made < count; made += 1) {
            decode(context, ids);
            const float * logits = llama_get_logits_ith(context, -1);
            const int32_t best = static_cast<int32_t>(std::max_element(logits, logits + vocab) - logits);
            float second = -1e30f;
            for (int32_t id = 0; id < vocab; id += 1) {
                if (id != best) second = std::max(second, logits[id]);
            }
            std::printf("%s%d:%.6f", made == 0 ? "" : " ", best, static_cast<double>(logits[best] - second));
            ids.assign(1, best);
        }
        std::printf("\n");
        std::fflush(stdout);
    }
    llama_free(context);
    llama_model_free(model);
}
