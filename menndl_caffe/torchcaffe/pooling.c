/* Max pooling on one thread: the bits of PyTorch's kernels in less time, for windows of any kind.

   Source: `pooling_layer.cpp`. A maximum starts at -FLT_MAX with mask -1, and only what is larger takes its place: the
   first of equal numbers wins; NaN, -inf and -FLT_MAX never do. Gradients are added in the order of the windows.

   Notation
   --------
   bottom  num x image x channels: the images, or their gradient
   top     num x pooled x channels: the maxima, or their gradient
   mask    like top: where in its image a maximum was, h * width + w, or -1; a blob of Caffe has fewer than 2^31 numbers
   lanes   how many channels a vector of this processor holds

   Channels lie side by side; images in C order are num x channels images of one channel. A vector of maxima, and that
   of their places, stay in registers until a window is done, which compilers do not make of loops over arrays. Vectors
   are an extension of GCC and clang; one that is wider than a processor's would be computed number by number. */
#include <float.h>
#include <stdint.h>
#include <string.h>

#ifndef __GNUC__
#error no vectors
#endif

#if !defined LANES && defined __x86_64__ && defined __ELF__ && defined __has_attribute
#if __has_attribute(target_clones)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default")))
#define LANES (__builtin_cpu_supports("avx512f") ? 16 : __builtin_cpu_supports("avx2") ? 8 : 4)
#endif
#endif
#ifndef FOR_EACH_PROCESSOR
#define FOR_EACH_PROCESSOR
#endif
#ifndef LANES
#define LANES 4
#endif

enum { H, W };
struct windows { int64_t image[2], kernel[2], stride[2], pad[2], pooled[2]; };
struct span { int64_t from, to; };

/* What of a row or column of windows lies in the image. */
static struct span inside(const struct windows *of, int axis, int64_t i)
{
    int64_t from = i * of->stride[axis] - of->pad[axis], to = from + of->kernel[axis];
    return (struct span){from > 0 ? from : 0, to < of->image[axis] ? to : of->image[axis]};
}

/* The maxima of a window in N channels at once, from channel c on for as long as there are so many; the next c. */
#define MAXIMA(N)                                                                                                      \
    static inline __attribute__((always_inline)) int64_t maxima_##N(                                                   \
        int64_t c, int64_t channels, int64_t width, struct span rows, struct span columns, const float *bottom,        \
        float *restrict top, int32_t *restrict mask)                                                                   \
    {                                                                                                                  \
        typedef float floats __attribute__((vector_size(4 * N)));                                                      \
        typedef int32_t integers __attribute__((vector_size(4 * N)));                                                  \
        for (; c + N <= channels; c += N) {                                                                            \
            floats x, most = (floats){0} - FLT_MAX;                                                                    \
            integers at = (integers){0} - 1;                                                                           \
            for (int64_t h = rows.from; h < rows.to; h++)                                                              \
                for (int64_t w = columns.from; w < columns.to; w++) {                                                  \
                    const int64_t place = h * width + w;                                                               \
                    memcpy(&x, bottom + place * channels + c, sizeof x);                                               \
                    const integers wins = x > most; /* all bits set, or none */                                        \
                    most = (floats)((wins & (integers)x) | (~wins & (integers)most));                                  \
                    at = (wins & (int32_t)place) | (~wins & at);                                                       \
                }                                                                                                      \
            memcpy(top + c, &most, sizeof most);                                                                       \
            memcpy(mask + c, &at, sizeof at);                                                                          \
        }                                                                                                              \
        return c;                                                                                                      \
    }

MAXIMA(16)
MAXIMA(8)
MAXIMA(4)
MAXIMA(2)
MAXIMA(1)

FOR_EACH_PROCESSOR
void max_pool(const struct windows *of, int64_t num, int64_t channels, const float *bottom, float *restrict top,
              int32_t *restrict mask)
{
    const int64_t width = of->image[W];
    const int lanes = LANES;
    for (int64_t n = 0; n < num; n++, bottom += of->image[H] * width * channels)
        for (int64_t i = 0; i < of->pooled[H]; i++)
            for (int64_t j = 0; j < of->pooled[W]; j++, top += channels, mask += channels) {
                const struct span rows = inside(of, H, i), columns = inside(of, W, j);
                int64_t c = 0;
                if (lanes >= 16)
                    c = maxima_16(c, channels, width, rows, columns, bottom, top, mask);
                if (lanes >= 8)
                    c = maxima_8(c, channels, width, rows, columns, bottom, top, mask);
                c = maxima_4(c, channels, width, rows, columns, bottom, top, mask);
                c = maxima_2(c, channels, width, rows, columns, bottom, top, mask);
                c = maxima_1(c, channels, width, rows, columns, bottom, top, mask);
            }
}

void max_pool_backward(const struct windows *of, int64_t num, int64_t channels, float *restrict bottom,
                       const float *restrict top, const int32_t *restrict mask)
{
    const int64_t image = of->image[H] * of->image[W] * channels, pooled = of->pooled[H] * of->pooled[W];
    for (int64_t n = 0; n < num; n++, bottom += image) {
        memset(bottom, 0, image * sizeof *bottom);
        for (int64_t i = 0; i < pooled; i++, top += channels, mask += channels)
            for (int64_t c = 0; c < channels; c++)
                if (mask[c] >= 0)
                    bottom[mask[c] * channels + c] += top[c];
    }
}
