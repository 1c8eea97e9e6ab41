// Runs CUDA C on a CPU: blocks one after another, the threads of a block as fibers that switch at barriers.
//
// A kernel's text is compiled after this header as plain C++. What is there: threadIdx, blockIdx, blockDim, gridDim,
// static __shared__ memory (poisoned before every block through poison_shared), __syncthreads and its votes, warp
// shuffles, votes and __syncwarp of 32 lanes, atomics, and the integer intrinsics that kernels here use. Fibers take
// turns in an order that the launch chooses, so that a kernel whose result depends on the order shows it. A barrier
// that some threads of the block never reach, while others wait, aborts the launch with a message.
#pragma once
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <type_traits>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __constant__ static const
#define __shared__ static
#define __align__(n) alignas(n)
#define CUDA_ON_CPU 1

struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x = 1, y = 1, z = 1; };
struct float2 { float x, y; };
struct float4 { float x, y, z, w; };
struct int2 { int x, y; };
struct int4 { int x, y, z, w; };
struct uint2 { unsigned x, y; };
struct uint4 { unsigned x, y, z, w; };
struct uchar4 { unsigned char x, y, z, w; };
struct double2 { double x, y; };
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline int2 make_int2(int x, int y) { return {x, y}; }
static inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

namespace cuda_on_cpu {

enum class State { Ready, AtBlock, AtWarp, Ended };

struct Fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    State state = State::Ready;
    uint3 thread{};
    unsigned rank = 0;      // in its block
    unsigned mask = 0;      // of the warp barrier it waits at
    bool vote = false;      // of a block-wide vote
};

constexpr size_t STACK = 64 * 1024;
inline std::vector<Fiber> fibers;
inline Fiber* current = nullptr;
inline ucontext_t scheduler;
inline uint3 block{};
inline dim3 block_dim, grid_dim;
inline std::function<void()> body;
inline unsigned long long slots[32 * 32];  // a value of every lane, for shuffles
inline int count_votes = 0;

inline void fail(const char* fault) {
    std::fprintf(stderr, "cuda_on_cpu: %s in block (%u, %u, %u)\n", fault, block.x, block.y, block.z);
    std::abort();
}

inline void wait(State state) {
    current->state = state;
    swapcontext(&current->context, &scheduler);
}

inline void enter() {
    body();
    current->state = State::Ended;
    swapcontext(&current->context, &scheduler);
}

inline bool release_warps() {
    bool any = false;
    for (size_t first = 0; first < fibers.size(); first += 32) {
        size_t last = std::min(first + 32, fibers.size());
        for (size_t i = first; i < last; i++) {
            if (fibers[i].state != State::AtWarp) continue;
            unsigned mask = fibers[i].mask;
            bool all = true;
            for (size_t j = first; j < last; j++)
                if (mask >> (j - first) & 1)
                    all = all && (fibers[j].state == State::Ended ||
                                  (fibers[j].state == State::AtWarp && fibers[j].mask == mask));
            if (!all) continue;
            for (size_t j = first; j < last; j++)
                if (mask >> (j - first) & 1 && fibers[j].state == State::AtWarp) fibers[j].state = State::Ready;
            any = true;
        }
    }
    return any;
}

inline bool release_block() {
    bool waiting = false;
    for (auto& fiber : fibers) {
        if (fiber.state == State::AtWarp || fiber.state == State::Ready) return false;
        waiting = waiting || fiber.state == State::AtBlock;
    }
    count_votes = 0;
    for (auto& fiber : fibers)
        if (fiber.state == State::AtBlock) {
            count_votes += fiber.vote;
            fiber.state = State::Ready;
        }
    return waiting;
}

// order: 0 forwards, 1 backwards, any other a seed of random turns
inline void run_block(unsigned order, std::mt19937& random) {
    unsigned size = block_dim.x * block_dim.y * block_dim.z;
    fibers.resize(size);
    for (unsigned i = 0; i < size; i++) {
        Fiber& fiber = fibers[i];
        fiber.state = State::Ready;
        fiber.rank = i;
        fiber.thread = {i % block_dim.x, i / block_dim.x % block_dim.y, i / (block_dim.x * block_dim.y)};
        if (!fiber.stack) fiber.stack.reset(new char[STACK]);
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.get();
        fiber.context.uc_stack.ss_size = STACK;
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, enter, 0);
    }
    std::vector<unsigned> turns(size);
    for (unsigned i = 0; i < size; i++) turns[i] = order == 1 ? size - 1 - i : i;
    for (;;) {
        if (order > 1) std::shuffle(turns.begin(), turns.end(), random);
        bool alive = false, ran = false;
        for (unsigned i : turns) {
            if (fibers[i].state == State::Ready) {
                current = &fibers[i];
                swapcontext(&scheduler, &current->context);
                ran = true;
            }
            alive = alive || fibers[i].state != State::Ended;
        }
        if (!alive) return;
        if (!release_warps() && !release_block() && !ran) fail("threads wait at barriers that others never reach");
    }
}

inline void launch(dim3 grid, dim3 threads, unsigned order, std::function<void()> kernel) {
    if (threads.x * threads.y * threads.z > 1024) fail("more than 1024 threads a block");
    grid_dim = grid;
    block_dim = threads;
    body = std::move(kernel);
    std::mt19937 random(order);
    unsigned long long blocks = 1ull * grid.x * grid.y * grid.z;
    std::vector<unsigned long long> queue(blocks);
    for (unsigned long long i = 0; i < blocks; i++) queue[i] = order == 1 ? blocks - 1 - i : i;
    if (order > 1) std::shuffle(queue.begin(), queue.end(), random);
    for (unsigned long long i : queue) {
        block = {unsigned(i % grid.x), unsigned(i / grid.x % grid.y), unsigned(i / grid.x / grid.y)};
        run_block(order, random);
    }
}

template <class T>
inline T exchange(unsigned mask, T value, unsigned from) {
    static_assert(sizeof(T) <= 8);
    unsigned warp = current->rank / 32, lane = current->rank % 32;
    std::memcpy(&slots[warp * 32 + lane], &value, sizeof(T));
    current->mask = mask;
    wait(State::AtWarp);
    T found;
    std::memcpy(&found, &slots[warp * 32 + from % 32], sizeof(T));
    current->mask = mask;
    wait(State::AtWarp);
    return found;
}

inline unsigned ballot(unsigned mask, bool predicate) {
    unsigned warp = current->rank / 32, lane = current->rank % 32;
    slots[warp * 32 + lane] = predicate;
    current->mask = mask;
    wait(State::AtWarp);
    unsigned votes = 0;
    for (unsigned i = 0; i < 32; i++) {
        size_t other = warp * 32 + i;
        if (mask >> i & 1 && other < fibers.size() && fibers[other].state != State::Ended)
            votes |= unsigned(slots[other] & 1) << i;
    }
    current->mask = mask;
    wait(State::AtWarp);
    return votes;
}

inline int block_vote(bool predicate) {
    current->vote = predicate;
    wait(State::AtBlock);
    current->vote = false;
    return count_votes;
}

}  // namespace cuda_on_cpu

#define threadIdx (cuda_on_cpu::current->thread)
#define blockIdx (cuda_on_cpu::block)
#define blockDim (cuda_on_cpu::block_dim)
#define gridDim (cuda_on_cpu::grid_dim)
#define warpSize 32

static inline void __syncthreads() { cuda_on_cpu::block_vote(false); }
static inline int __syncthreads_or(int p) { return cuda_on_cpu::block_vote(p != 0) > 0; }
static inline int __syncthreads_count(int p) { return cuda_on_cpu::block_vote(p != 0); }
static inline int __syncthreads_and(int p) { return cuda_on_cpu::block_vote(p == 0) == 0; }
static inline void __syncwarp(unsigned mask = 0xffffffffu) { cuda_on_cpu::exchange(mask, 0, 0); }
static inline void __threadfence() {}
static inline void __threadfence_block() {}
static inline unsigned __ballot_sync(unsigned mask, int p) { return cuda_on_cpu::ballot(mask, p != 0); }
static inline int __any_sync(unsigned mask, int p) { return cuda_on_cpu::ballot(mask, p != 0) != 0; }
static inline int __all_sync(unsigned mask, int p) { return cuda_on_cpu::ballot(mask, p == 0) == 0; }
static inline unsigned __activemask() { return 0xffffffffu; }
template <class T> static inline T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {
    int own = cuda_on_cpu::current->rank % 32;
    return cuda_on_cpu::exchange(mask, value, own / width * width + lane % width);
}
template <class T> static inline T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32) {
    int own = cuda_on_cpu::current->rank % 32, from = own ^ lanes;
    return cuda_on_cpu::exchange(mask, value, from / width <= own / width ? from : own);
}
template <class T> static inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    int own = cuda_on_cpu::current->rank % 32, from = own + int(delta);
    return cuda_on_cpu::exchange(mask, value, from / width == own / width ? from : own);
}
template <class T> static inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    int own = cuda_on_cpu::current->rank % 32, from = own - int(delta);
    return cuda_on_cpu::exchange(mask, value, from >= own / width * width ? from : own);
}

template <class T> static inline T atomicExch(T* at, std::type_identity_t<T> value) { T old = *at; *at = value; return old; }
template <class T> static inline T atomicAdd(T* at, std::type_identity_t<T> value) { T old = *at; *at = T(old + value); return old; }
template <class T> static inline T atomicSub(T* at, std::type_identity_t<T> value) { T old = *at; *at = T(old - value); return old; }
template <class T> static inline T atomicMin(T* at, std::type_identity_t<T> value) { T old = *at; *at = value < old ? value : old; return old; }
template <class T> static inline T atomicMax(T* at, std::type_identity_t<T> value) { T old = *at; *at = value > old ? value : old; return old; }
template <class T> static inline T atomicOr(T* at, std::type_identity_t<T> value) { T old = *at; *at = old | value; return old; }
template <class T> static inline T atomicAnd(T* at, std::type_identity_t<T> value) { T old = *at; *at = old & value; return old; }
template <class T> static inline T atomicXor(T* at, std::type_identity_t<T> value) { T old = *at; *at = old ^ value; return old; }
template <class T> static inline T atomicCAS(T* at, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
    T old = *at;
    if (old == expected) *at = value;
    return old;
}

template <class A, class B> static inline std::common_type_t<A, B> min(A a, B b) { using T = std::common_type_t<A, B>; return T(b) < T(a) ? T(b) : T(a); }
template <class A, class B> static inline std::common_type_t<A, B> max(A a, B b) { using T = std::common_type_t<A, B>; return T(a) < T(b) ? T(b) : T(a); }
template <class T> static inline T __ldg(const T* at) { return *at; }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __ffsll(long long x) { return __builtin_ffsll(x); }
static inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
static inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
static inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned(1ull * a * b >> 32); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) { return (unsigned long long)((unsigned __int128)a * b >> 64); }
static inline int __float_as_int(float x) { int y; std::memcpy(&y, &x, 4); return y; }
static inline unsigned __float_as_uint(float x) { unsigned y; std::memcpy(&y, &x, 4); return y; }
static inline float __int_as_float(int x) { float y; std::memcpy(&y, &x, 4); return y; }
static inline float __uint_as_float(unsigned x) { float y; std::memcpy(&y, &x, 4); return y; }
static inline long long __double_as_longlong(double x) { long long y; std::memcpy(&y, &x, 8); return y; }
static inline double __longlong_as_double(long long x) { double y; std::memcpy(&y, &x, 8); return y; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
