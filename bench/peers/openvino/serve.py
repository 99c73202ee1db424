"""OpenVINO GenAI's continuous batching behind the benches' line protocol: {"prompts": [[ids]], "decodeTokens": n} in,
seconds out. Usage: serve.py MODEL.gguf THREADS [no-amx]: as it is on this machine, or as it is on one without AMX (float32,
the largest instruction set below)."""

import json
import os
import sys
import time

if "no-amx" in sys.argv:
    os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX512_CORE_VNNI"

import numpy as np
import openvino as ov
import openvino_genai as genai


def resident_bytes():
    with open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return None


def open_pipeline(path, threads):
    scheduler = genai.SchedulerConfig()
    scheduler.cache_size = 1
    scheduler.max_num_batched_tokens = 4096
    scheduler.max_num_seqs = 64
    scheduler.enable_prefix_caching = False
    properties = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    if "no-amx" in sys.argv:
        properties["INFERENCE_PRECISION_HINT"] = "f32"
    return genai.ContinuousBatchingPipeline(path, scheduler, "CPU", properties)


def run(pipeline, prompts, decode_tokens, first_id):
    config = genai.GenerationConfig()
    config.max_new_tokens = decode_tokens
    config.ignore_eos = True
    config.do_sample = False
    start = time.perf_counter()
    handles = [
        pipeline.add_request(first_id + index, ov.Tensor(np.array([ids], dtype=np.int64)), config)
        for index, ids in enumerate(prompts)
    ]
    waiting = set(range(len(handles)))
    first = None
    while pipeline.has_non_finished_requests():
        pipeline.step()
        if first is None:
            for index in list(waiting):
                if handles[index].can_read():
                    waiting.discard(index)
            if not waiting:
                first = time.perf_counter()
    end = time.perf_counter()
    for handle in handles:
        if len(handle.read_all()[0].generated_ids) != decode_tokens:
            raise RuntimeError("a sequence ended early")
    return {
        "prefillSeconds": first - start,
        "decodeSeconds": end - first,
        "residentBytes": resident_bytes(),
    }


def main():
    path, threads = sys.argv[1], int(sys.argv[2])
    pipeline = open_pipeline(path, threads)
    about = f"OpenVINO GenAI {genai.__version__}, continuous batching, {threads} threads, " + (
        "float32, without AMX" if "no-amx" in sys.argv else "precision as it chooses"
    )
    print(json.dumps({"about": about}), flush=True)
    done = 0
    for line in sys.stdin:
        request = json.loads(line)
        answer = run(pipeline, request["prompts"], request["decodeTokens"], done)
        done += len(request["prompts"])
        print(json.dumps(answer), flush=True)


main()
