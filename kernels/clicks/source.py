"""CUDA C of the clicks. Boxes and choices stay on the device: no launch needs to know them on the host.

One organ after another in the same workspace, every loop a grid-stride loop over the box that `survey` found. State: 0
outside, 1 in the region, 2 in the second one, as in loops.py; integers and float32 sums in one order, so that the
results are those of the CPU, bit for bit.
"""

from umd_engine.kernels.components.source import UNION

BLOCK = 256
BLOCKS = 2048  # of a grid-stride loop, at most
RULE_BITS = {"first": 1, "split": 2, "ties_positive": 4, "largest": 8, "deepest": 16, "half": 32}

PHILOX = r"""
// Philox4x32-10 of a counter [4] and a key [2]
__device__ void philox4x32(const unsigned* counter, const unsigned* key, unsigned* out) {
    unsigned c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    for (int turn = 0; turn < 10; turn++) {
        unsigned high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
        unsigned high1 = __umulhi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
        c0 = high1 ^ c1 ^ k0; c1 = low1; c2 = high0 ^ c3 ^ k1; c3 = low0;
        k0 += 0x9E3779B9u; k1 += 0xBB67AE85u;
    }
    out[0] = c0; out[1] = c1; out[2] = c2; out[3] = c3;
}

extern "C" __global__ void philox_rows(const unsigned* words, unsigned* out, int count) {
    int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row < count) philox4x32(words + 6 * row, words + 6 * row + 4, out + 4 * row);
}
"""

VOLUMES = r"""
// the word of voxel i: bit `slot` is organ `slot`; wide volumes are bit planes, a null one is empty
__device__ unsigned word_at(const void* volume, int wide, const unsigned* table, int i) {
    if (volume == nullptr) return 0u;
    return wide ? ((const unsigned*)volume)[i] : table[((const unsigned char*)volume)[i]];
}

struct Box { int x, y, z, nx, ny, nz, voxels; };

// boxes [N, 6]: lowest x, y, z and highest, inclusive
__device__ Box box_of(const int* boxes, int slot) {
    const int* b = boxes + 6 * slot;
    Box box = {b[0], b[1], b[2], 0, 0, 0, 0};
    if (b[3] >= b[0]) {
        box.nx = b[3] - b[0] + 1; box.ny = b[4] - b[1] + 1; box.nz = b[5] - b[2] + 1;
        box.voxels = box.nx * box.ny * box.nz;
    }
    return box;
}

#define EACH_VOXEL(i, box) \
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < box.voxels; i += gridDim.x * blockDim.x)

// a block a slice x: boxes of where label and prediction differ
extern "C" __global__ void survey(const void* label, const void* prediction, int label_wide, int prediction_wide,
                                  const unsigned* table, unsigned wanted, int* boxes, int ny, int nz) {
    __shared__ int low[64], high[64];
    for (int i = threadIdx.x; i < 64; i += blockDim.x) { low[i] = 0x7fffffff; high[i] = -1; }
    __syncthreads();
    for (int i = threadIdx.x; i < ny * nz; i += blockDim.x) {
        int at = blockIdx.x * ny * nz + i;
        unsigned error = word_at(label, label_wide, table, at) ^ word_at(prediction, prediction_wide, table, at);
        error &= wanted;
        while (error) {
            int slot = __ffs(error) - 1, y = i / nz, z = i % nz;
            if (y < low[2 * slot]) atomicMin(&low[2 * slot], y);
            if (z < low[2 * slot + 1]) atomicMin(&low[2 * slot + 1], z);
            if (y > high[2 * slot]) atomicMax(&high[2 * slot], y);
            if (z > high[2 * slot + 1]) atomicMax(&high[2 * slot + 1], z);
            error &= error - 1;
        }
    }
    __syncthreads();
    int slot = threadIdx.x;
    if (slot < 32 && high[2 * slot] >= 0) {
        atomicMin(&boxes[6 * slot], (int)blockIdx.x);
        atomicMin(&boxes[6 * slot + 1], low[2 * slot]);
        atomicMin(&boxes[6 * slot + 2], low[2 * slot + 1]);
        atomicMax(&boxes[6 * slot + 3], (int)blockIdx.x);
        atomicMax(&boxes[6 * slot + 4], high[2 * slot]);
        atomicMax(&boxes[6 * slot + 5], high[2 * slot + 1]);
    }
}

extern "C" __global__ void load(const void* label, const void* prediction, int label_wide, int prediction_wide,
                                const unsigned* table, const int* boxes, int slot, int split, unsigned char* state,
                                int ny, int nz) {
    Box box = box_of(boxes, slot);
    EACH_VOXEL(i, box) {
        int x = i / box.nz / box.ny, y = i / box.nz % box.ny, z = i % box.nz;
        int at = ((box.x + x) * ny + box.y + y) * nz + box.z + z;
        unsigned one = word_at(label, label_wide, table, at) >> slot & 1u;
        unsigned other = word_at(prediction, prediction_wide, table, at) >> slot & 1u;
        state[i] = one == other ? 0 : (split && other ? 2 : 1);
    }
}
"""

REGIONS = r"""
extern "C" __global__ void erode(const unsigned char* state, unsigned char* out, const int* boxes, int slot,
                                 int nx, int ny, int nz) {
    Box box = box_of(boxes, slot);
    EACH_VOXEL(i, box) {
        int x = i / box.nz / box.ny, y = i / box.nz % box.ny, z = i % box.nz;
        unsigned char kept = state[i];
        for (int n = 0; n < 27 && kept; n++) {
            int u = x + n / 9 - 1, v = y + n / 3 % 3 - 1, w = z + n % 3 - 1;
            if (u >= 0 && u < box.nx && v >= 0 && v < box.ny && w >= 0 && w < box.nz) {
                if (state[(u * box.ny + v) * box.nz + w] != kept) kept = 0;
            } else if (u + box.x >= 0 && u + box.x < nx && v + box.y >= 0 && v + box.y < ny && w + box.z >= 0 &&
                       w + box.z < nz) kept = 0;  // beyond the volume nothing erodes
        }
        out[i] = kept;
    }
}

extern "C" __global__ void start(const unsigned char* state, int* parent, int* sizes, const int* boxes, int slot) {
    Box box = box_of(boxes, slot);
    EACH_VOXEL(i, box) { parent[i] = state[i] ? (int)i : -1; sizes[i] = 0; }
}

extern "C" __global__ void join(const unsigned char* state, int* parent, const int* boxes, int slot) {
    Box box = box_of(boxes, slot);
    EACH_VOXEL(i, box)
        if (state[i]) unite_before(state, parent, i, i / box.nz / box.ny, i / box.nz % box.ny, i % box.nz, box.ny,
                                   box.nz, 3);
}

extern "C" __global__ void count(int* parent, int* sizes, const int* boxes, int slot) {
    Box box = box_of(boxes, slot);
    EACH_VOXEL(i, box)
        if (parent[i] >= 0) { int root = find_root(parent, i); parent[i] = root; atomicAdd(&sizes[root], 1); }
}

// values [N, 3]: of each state the size of its largest component and, inverted, the first voxel of it
extern "C" __global__ void find_largest(const unsigned char* state, const int* parent, const int* sizes,
                                        unsigned long long* values, const int* boxes, int slot) {
    Box box = box_of(boxes, slot);
    EACH_VOXEL(i, box)
        if (parent[i] == (int)i)
            atomicMax(&values[3 * slot + state[i]], (unsigned long long)sizes[i] << 32 | (0xffffffffu - (unsigned)i));
}

extern "C" __global__ void keep_largest(unsigned char* state, const int* parent, const unsigned long long* values,
                                        const int* boxes, int slot) {
    Box box = box_of(boxes, slot);
    EACH_VOXEL(i, box)
        if (state[i] && (unsigned)parent[i] != 0xffffffffu - (unsigned)values[3 * slot + state[i]]) state[i] = 0;
}
"""

DEPTH = r"""
// rows [box]: squared distance to another state within the row; a thread a row
extern "C" __global__ void scan_rows(const unsigned char* state, float* rows, const float* costs, int steps,
                                     const int* boxes, int slot) {
    Box box = box_of(boxes, slot);
    for (int r = blockIdx.x * blockDim.x + threadIdx.x; r < box.nx * box.ny; r += gridDim.x * blockDim.x) {
        const unsigned char* row = state + r * box.nz;
        int start = 0;
        for (int z = 1; z <= box.nz; z++) {
            if (z < box.nz && row[z] == row[start]) continue;
            for (int i = start; i < z; i++) rows[r * box.nz + i] = costs[2 * steps + min(i - start, z - 1 - i) + 1];
            start = z;
        }
    }
}

// the least sum over the line through a voxel along one axis: `length` voxels, `stride` apart
__device__ float least(const unsigned char* state, const float* before, const float* costs, int i, int at, int length,
                       int stride) {
    float best = before[i];
    for (int far = 1; costs[far] < best; far++)
        for (int side = -1; side <= 1; side += 2) {
            int other = i + side * far * stride;
            bool inside = at + side * far >= 0 && at + side * far < length && state[other] == state[i];
            best = min(best, inside ? costs[far] + before[other] : costs[far]);
        }
    return best;
}

extern "C" __global__ void search_columns(const unsigned char* state, const float* rows, float* planes,
                                          const float* costs, int steps, const int* boxes, int slot) {
    Box box = box_of(boxes, slot);
    EACH_VOXEL(i, box)
        if (state[i]) planes[i] = least(state, rows, costs + steps, i, i / box.nz % box.ny, box.ny, box.nz);
}

// depth [box]; values [N, 3]: the largest of each state, as the bits of a float
extern "C" __global__ void search_planes(const unsigned char* state, const float* planes, float* depth,
                                         const float* costs, unsigned long long* values, const int* boxes, int slot) {
    __shared__ unsigned tops[3];
    if (threadIdx.x < 3) tops[threadIdx.x] = 0;
    __syncthreads();
    Box box = box_of(boxes, slot);
    EACH_VOXEL(i, box)
        if (state[i]) {
            depth[i] = least(state, planes, costs, i, i / box.nz / box.ny, box.nx, box.ny * box.nz);
            unsigned bits = __float_as_uint(depth[i]);  // in order, as no depth is negative
            if (bits > tops[state[i]]) atomicMax(&tops[state[i]], bits);
        }
    __syncthreads();
    if (threadIdx.x < 3 && tops[threadIdx.x])
        atomicMax(&values[3 * slot + threadIdx.x], (unsigned long long)tops[threadIdx.x]);
}
"""

PICK = r"""
#define FIRST 1
#define SPLIT 2
#define TIES_POSITIVE 4
#define LARGEST 8
#define DEEPEST 16
#define HALF 32

struct Choice { int region; float top; };

__device__ Choice choose(const unsigned long long* values, int slot, int rule) {
    unsigned long long one = values[3 * slot + 1], two = values[3 * slot + 2];
    if ((rule & LARGEST) && !(rule & (DEEPEST | HALF))) { one >>= 32; two >>= 32; }
    bool first = !(rule & SPLIT) || one > two || ((rule & TIES_POSITIVE) && one == two);
    Choice choice = {first ? 1 : 2, __uint_as_float((unsigned)(first ? one : two))};
    return choice;
}

__device__ bool may_click(const unsigned char* state, const float* depth, int i, Choice choice, int rule) {
    if (state[i] != choice.region) return false;
    if (rule & DEEPEST) return depth[i] == choice.top;
    return !(rule & HALF) || 4.0f * depth[i] > choice.top;
}

// slices [X]: candidates of each slice of the box; a block a slice of the volume
extern "C" __global__ void count_candidates(const unsigned char* state, const float* depth,
                                            const unsigned long long* values, const int* boxes, int slot, int rule,
                                            int* slices) {
    Box box = box_of(boxes, slot);
    Choice choice = choose(values, slot, rule);
    int total = 0, x = blockIdx.x, size = box.ny * box.nz;
    for (int first = 0; first < size; first += blockDim.x) {
        int i = first + threadIdx.x;
        bool may = x < box.nx && i < size && may_click(state, depth, x * size + i, choice, rule);
        total += __syncthreads_count(may);
    }
    if (threadIdx.x == 0) slices[x] = total;
}

// rows [N, 5] = x, y, z, positive, drawn, unless the organ has its click already; one block
extern "C" __global__ void pick(const void* label, int label_wide, const unsigned* table, const unsigned char* state,
                                const float* depth, const unsigned long long* values, const int* boxes, int slot,
                                int rule, const int* slices, const unsigned* words, long long* rows, int ny, int nz) {
    __shared__ int slice, rank;
    __shared__ int warps[32];
    Box box = box_of(boxes, slot);
    Choice choice = choose(values, slot, rule);
    if (threadIdx.x == 0) {
        unsigned long long total = 0, k = 0;
        for (int x = 0; x < box.nx; x++) total += slices[x];
        if (!(rule & FIRST)) {
            unsigned random[4];
            philox4x32(words + 6 * slot, words + 6 * slot + 4, random);
            k = __umul64hi((unsigned long long)random[1] << 32 | random[0], total);
        }
        slice = 0;
        while (slice < box.nx && k >= slices[slice]) k -= slices[slice++];
        rank = (int)k;
        if (rows[5 * slot + 4]) slice = box.nx;
    }
    __syncthreads();
    int own = slice, wanted = rank, size = box.ny * box.nz;
    if (own == box.nx) return;
    for (int first = 0; first < size; first += blockDim.x) {
        int i = first + threadIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
        bool may = i < size && may_click(state, depth, own * size + i, choice, rule);
        unsigned votes = __ballot_sync(0xffffffffu, may);
        if (lane == 0) warps[warp] = __popc(votes);
        __syncthreads();
        int before = __popc(votes & ((1u << lane) - 1u)), total = 0;
        for (int w = 0; w < blockDim.x / 32; w++) { if (w < warp) before += warps[w]; total += warps[w]; }
        if (may && before == wanted) {
            int x = box.x + own, y = box.y + i / box.nz, z = box.z + i % box.nz;
            long long* row = rows + 5 * slot;
            row[0] = x; row[1] = y; row[2] = z; row[4] = 1;
            row[3] = word_at(label, label_wide, table, (x * ny + y) * nz + z) >> slot & 1u;
        }
        wanted -= total;
        if (wanted < 0) return;
        __syncthreads();
    }
}
"""
SOURCE = UNION + PHILOX + VOLUMES + REGIONS + DEPTH + PICK
