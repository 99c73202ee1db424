# llama.cpp's own HTTP server, as the xllamacpp wheel ships it: `llama_server.py MODEL PORT SLOTS CONTEXT [KEY]`.
# CONTEXT is per slot. Prints its address once it serves; runs until it is killed.
import signal
import sys

import xllamacpp

model, port, slots, context, *keys = sys.argv[1:]
params = xllamacpp.CommonParams()
params.model.path = model
params.hostnames = ["127.0.0.1"]
params.port = int(port)
params.n_parallel = int(slots)
params.n_ctx = int(slots) * int(context)
# One thread that does not spin: two on busy cores wait for each other.
params.cpuparams.n_threads = 1
params.cpuparams.poll = 0
params.warmup = False
# A prompt computed in other portions gives other last bits, and now and then another token: unless a request asks for
# reuse, none is made.
params.cache_prompt = False
params.api_keys = keys
server = xllamacpp.Server(params)
print(f"listening {server.listening_address}", flush=True)
signal.pause()
