// GCC 12's _tile_loadconfig tells the compiler that it reads 8 bytes of the 64: stores to the rest are dropped, and the
// instruction faults. This says all 64; llama.cpp's sources stay as they are.
#pragma once
#if defined(__AMX_TILE__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>
#undef _tile_loadconfig
#define _tile_loadconfig(config) \
    __asm__ volatile("ldtilecfg %0" ::"m"(*reinterpret_cast<const char(*)[64]>(config)))
#endif
