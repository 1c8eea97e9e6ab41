"""The CUDA C of the distances between surfaces; the passes between `mark` and `query` are those of `distance`.

The first half of the jobs are the organs' boxes in the label, the second half the same boxes in the prediction.
"""

from __future__ import annotations

from umd_engine.kernels.distance.source import COMMON

NAMES = ("mark", "scan", "search_y", "query")

SURFACE = (
    COMMON
    + r"""
// codes of the elements, 0 elsewhere, and the first pass's start; a thread an element's place
extern "C" __global__ void mark(const unsigned char* label, const unsigned char* prediction, int X, int Y, int Z,
                                const long long* jobs, int surfels, unsigned char* codes, unsigned short* steps) {
    Job job = job_of(jobs);
    long long at = thread_of();
    if (at >= job.nx * job.ny * job.nz) return;
    const unsigned char* labels = blockIdx.y < gridDim.y / 2 ? label : prediction;
    long long z = job.z + at % job.nz, y = job.y + at / job.nz % job.ny, x = job.x + at / job.nz / job.ny;
    unsigned code = 0;
    if (surfels) {
        for (int bit = 0; bit < 8; bit++) {  // corner i lies between voxels i - 1 and i
            int dx = bit >> 2 & 1, dy = bit >> 1 & 1, dz = bit & 1;
            code |= (unsigned)has(labels, X, Y, Z, x - 1 + dx, y - 1 + dy, z - 1 + dz, job.id) << (7 - bit);
        }
        if (code == 255) code = 0;
    } else if (has(labels, X, Y, Z, x, y, z, job.id)) {
        code = !(has(labels, X, Y, Z, x - 1, y, z, job.id) && has(labels, X, Y, Z, x + 1, y, z, job.id) &&
                 has(labels, X, Y, Z, x, y - 1, z, job.id) && has(labels, X, Y, Z, x, y + 1, z, job.id) &&
                 has(labels, X, Y, Z, x, y, z - 1, job.id) && has(labels, X, Y, Z, x, y, z + 1, job.id));
    }
    codes[job.offset + at] = (unsigned char)code;
    steps[job.offset + at] = code ? 0 : NONE;
}

// distance of each element to the other map's surface; a thread an element
extern "C" __global__ void query(const long long* jobs, const long long* elements, const long long* rows, int count,
                                 const double* squares, int organs, const double* spacing, double* distances) {
    long long thread = thread_of();
    if (thread >= count) return;
    long long at = elements[thread], half = jobs[8 * organs + 6];  // where the prediction's boxes begin
    const long long* job = jobs + 8 * rows[thread];
    long long nz = job[5], z = (at - job[6]) % nz;
    const double* other = squares + (at < half ? at + half : at - half);
    distances[thread] = sqrt(nearest(other, 1, z, nz - 1 - z, spacing[2]));
}
"""
)
