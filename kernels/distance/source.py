"""The CUDA C of the distance transform; a block's y is a job, the box of an organ.

Every result is the least of fl(fl(dx^2 + dy^2) + dz^2) over all sites, so neither the order of threads nor that of
candidates shows; compile with --fmad=false. A search walks away from its voxel and ends where a step alone is as far
as the best so far: reads in proportion to the distance, by neighbouring threads from neighbouring addresses.
"""

from __future__ import annotations

THREADS = 256
COLUMNS = ("x", "y", "z", "nx", "ny", "nz", "offset", "id")  # of the table of jobs, int64
NAMES = ("cut", "scan", "search_y", "search_z")

COMMON = r"""
#define NONE 65535u
#define INFINITE __longlong_as_double(0x7ff0000000000000LL)

struct Job { long long x, y, z, nx, ny, nz, offset, id; };

__device__ __forceinline__ Job job_of(const long long* jobs) {
    const long long* at = jobs + 8 * (long long)blockIdx.y;
    return {at[0], at[1], at[2], at[3], at[4], at[5], at[6], at[7]};
}

__device__ __forceinline__ long long thread_of() {
    return (long long)blockIdx.x * blockDim.x + threadIdx.x;
}

// whether a voxel of the volume [X, Y, Z] has the id; nothing outside has
__device__ __forceinline__ bool has(const unsigned char* labels, int X, int Y, int Z,
                                    long long x, long long y, long long z, long long id) {
    if (x < 0 || y < 0 || z < 0 || x >= X || y >= Y || z >= Z) return false;
    return labels[(x * Y + y) * Z + z] == id;
}

// the least of at[k stride] + (k spacing)^2 over the voxels of a line: `before` of them precede, `after` follow
__device__ __forceinline__ double nearest(const double* at, long long stride, long long before, long long after,
                                          double spacing) {
    double best = *at;
    for (long long k = 1; k <= before || k <= after; k++) {
        double away = (double)k * spacing;
        double square = away * away;
        if (square >= best) break;
        if (k <= before) best = min(best, at[-k * stride] + square);
        if (k <= after) best = min(best, at[k * stride] + square);
    }
    return best;
}

// steps along x, in place; a thread a column (y, z)
extern "C" __global__ void scan(const long long* jobs, unsigned short* steps) {
    Job job = job_of(jobs);
    long long column = thread_of(), plane = job.ny * job.nz;
    if (column >= plane) return;
    unsigned short* at = steps + job.offset + column;
    unsigned count = NONE;
    for (long long x = 0; x < job.nx; x++) {
        unsigned here = at[x * plane];
        count = min(here, count == NONE ? NONE : count + 1);
        at[x * plane] = (unsigned short)count;
    }
    count = NONE;
    for (long long x = job.nx - 1; x >= 0; x--) {
        unsigned here = at[x * plane];
        count = min(here, count == NONE ? NONE : count + 1);
        at[x * plane] = (unsigned short)count;
    }
}

// squared distances in the plane of x and y; a thread a voxel
extern "C" __global__ void search_y(const long long* jobs, const unsigned short* steps, double* squares,
                                    const double* spacing) {
    double sx = spacing[0], sy = spacing[1];
    Job job = job_of(jobs);
    long long voxel = thread_of();
    if (voxel >= job.nx * job.ny * job.nz) return;
    long long y = voxel / job.nz % job.ny;
    const unsigned short* at = steps + job.offset + voxel;
    double away = (double)*at * sx;
    double best = *at == NONE ? INFINITE : away * away;
    for (long long k = 1; k <= y || k < job.ny - y; k++) {
        away = (double)k * sy;
        double square = away * away;
        if (square >= best) break;
        for (int side = -1; side <= 1; side += 2) {
            if (side < 0 ? k > y : k >= job.ny - y) continue;
            unsigned count = at[side * k * job.nz];
            if (count == NONE) continue;
            away = (double)count * sx;
            best = min(best, away * away + square);
        }
    }
    squares[job.offset + voxel] = best;
}
"""

DISTANCE = (
    COMMON
    + r"""
// steps before the first pass: NONE in the organ, 0 outside it; a thread a voxel
extern "C" __global__ void cut(const unsigned char* labels, int X, int Y, int Z, const long long* jobs,
                               unsigned short* steps) {
    Job job = job_of(jobs);
    long long voxel = thread_of();
    if (voxel >= job.nx * job.ny * job.nz) return;
    long long z = voxel % job.nz, y = voxel / job.nz % job.ny, x = voxel / job.nz / job.ny;
    bool inside = has(labels, X, Y, Z, job.x + x, job.y + y, job.z + z, job.id);
    steps[job.offset + voxel] = inside ? NONE : 0;
}

// distances in space; a thread a voxel
extern "C" __global__ void search_z(const long long* jobs, const double* squares, float* out,
                                    const double* spacing, int squared) {
    Job job = job_of(jobs);
    long long voxel = thread_of();
    if (voxel >= job.nx * job.ny * job.nz) return;
    long long z = voxel % job.nz;
    double best = nearest(squares + job.offset + voxel, 1, z, job.nz - 1 - z, spacing[2]);
    out[job.offset + voxel] = (float)(squared ? best : sqrt(best));
}
"""
)
