"""CUDA C of the connected components: union-find on voxels, where a set's parent is its first voxel in C order.

Parents only ever move towards lower voxels, by atomicMin, so that the roots do not depend on the order of the threads
(Playne and Hawick, A new algorithm for parallel connected-component labelling on GPUs, 2018).
"""

BLOCK = 256
CHUNK = 1024  # voxels whose roots a block numbers

UNION = r"""
__device__ int find_root(const volatile int* parent, int voxel) {
    int up = parent[voxel];
    while (up != voxel) { voxel = up; up = parent[voxel]; }
    return voxel;
}

__device__ void unite(int* parent, int one, int two) {
    for (;;) {
        one = find_root(parent, one);
        two = find_root(parent, two);
        if (one == two) return;
        if (one < two) { int swap = one; one = two; two = swap; }
        int old = atomicMin(&parent[one], two);
        if (old == one) return;
        one = old;  // another thread moved it meanwhile: its set has to be joined too
    }
}

// joins a voxel with those of its neighbours of the same id that come before it in C order
__device__ void unite_before(const unsigned char* ids, int* parent, int i, int x, int y, int z, int ny, int nz,
                             int axes) {
    for (int dx = -1; dx <= 0; dx++)
        for (int dy = -1; dy <= 1; dy++)
            for (int dz = -1; dz <= 1; dz++) {
                if (dx == 0 && (dy > 0 || (dy == 0 && dz >= 0))) continue;
                if ((dx != 0) + (dy != 0) + (dz != 0) > axes) continue;
                if (x + dx < 0 || y + dy < 0 || y + dy >= ny || z + dz < 0 || z + dz >= nz) continue;
                int other = i + (dx * ny + dy) * nz + dz;
                if (ids[other] == ids[i]) unite(parent, i, other);
            }
}
"""

SOURCE = (
    UNION
    + r"""
#define VOXEL (blockIdx.x * blockDim.x + threadIdx.x)

extern "C" __global__ void start(const unsigned char* ids, int* parent, int voxels) {
    unsigned i = VOXEL;
    if (i < voxels) parent[i] = ids[i] ? (int)i : -1;
}

extern "C" __global__ void join(const unsigned char* ids, int* parent, int voxels, int ny, int nz, int axes) {
    unsigned i = VOXEL;
    if (i < voxels && ids[i])
        unite_before(ids, parent, i, i / nz / ny, i / nz % ny, i % nz, ny, nz, axes);
}

extern "C" __global__ void flatten(int* parent, int voxels) {
    unsigned i = VOXEL;
    if (i < voxels && parent[i] >= 0) parent[i] = find_root(parent, i);
}

// roots of each chunk of 1024 voxels
extern "C" __global__ void count_roots(const int* parent, int* chunks, int voxels) {
    int total = 0;
    for (unsigned step = 0; step < 1024; step += blockDim.x) {
        unsigned i = blockIdx.x * 1024u + step + threadIdx.x;
        total += __syncthreads_count(i < voxels && parent[i] == (int)i);
    }
    if (threadIdx.x == 0) chunks[blockIdx.x] = total;
}

// chunks [count + 1]: roots before each chunk, and of all at the end; one block of 1024 threads
extern "C" __global__ void sum_chunks(int* chunks, int count) {
    __shared__ int part[1024];
    int share = (count + 1023) / 1024, sum = 0;
    int first = threadIdx.x * share, last = min(first + share, count);
    for (int i = first; i < last; i++) sum += chunks[i];
    part[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        int before = 0;
        for (int i = 0; i < 1024; i++) { int own = part[i]; part[i] = before; before += own; }
        chunks[count] = before;
    }
    __syncthreads();
    int before = part[threadIdx.x];
    for (int i = first; i < last; i++) { int own = chunks[i]; chunks[i] = before; before += own; }
}

// numbers of the roots, from 1 in C order
extern "C" __global__ void number_roots(const int* parent, const int* chunks, int* numbers, int voxels) {
    __shared__ int warps[32];
    int before = chunks[blockIdx.x];
    for (unsigned step = 0; step < 1024; step += blockDim.x) {
        unsigned i = blockIdx.x * 1024u + step + threadIdx.x;
        int root = i < voxels && parent[i] == (int)i;
        unsigned votes = __ballot_sync(0xffffffffu, root);
        int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
        if (lane == 0) warps[warp] = __popc(votes);
        __syncthreads();
        int rank = __popc(votes & ((1u << lane) - 1u)), total = 0;
        for (int w = 0; w < blockDim.x / 32; w++) { if (w < warp) rank += warps[w]; total += warps[w]; }
        if (root) numbers[i] = before + rank + 1;
        before += total;
        __syncthreads();
    }
}

extern "C" __global__ void number_others(const int* parent, int* numbers, int voxels) {
    unsigned i = VOXEL;
    if (i >= voxels) return;
    if (parent[i] < 0) numbers[i] = 0;
    else if (parent[i] != (int)i) numbers[i] = numbers[parent[i]];
}

// sizes [N] += voxels; ids [N]. A warp that lies in one component adds once.
extern "C" __global__ void measure(const unsigned char* labels, const int* numbers, unsigned long long* sizes,
                                   unsigned char* ids, int voxels) {
    unsigned i = VOXEL;
    int number = i < voxels ? numbers[i] : 0;
    int first = __shfl_sync(0xffffffffu, number, 0);
    if (__all_sync(0xffffffffu, number == first)) {
        if (threadIdx.x % 32 == 0 && number) { atomicAdd(&sizes[number - 1], 32ull); ids[number - 1] = labels[i]; }
    } else if (number) {
        atomicAdd(&sizes[number - 1], 1ull);
        ids[number - 1] = labels[i];
    }
}
"""
)
KERNELS = ("start", "join", "flatten", "count_roots", "sum_chunks", "number_roots", "number_others", "measure")
