/* The twister and the normal values of rng.py, whose notation this has: the same bits, in a tenth of the time.

   Compiled without contraction of products and sums, which would round differently. */
#include <float.h>
#include <math.h>
#include <stdint.h>

#if FLT_EVAL_METHOD != 0
#error float32 is not computed in float32 here
#endif

enum { WORDS = 624, NEAR = 397 };
static const uint32_t ROUNDS_TO_ONE = 0xFFFFFF80;

struct twister { uint32_t word[WORDS], next; };
struct ziggurat { const double *exact_x; const float *x, *y, *widths, *heights; };

static uint32_t twisted(uint32_t word, uint32_t following, uint32_t near)
{
    uint32_t joined = (word & 0x80000000) | (following & 0x7fffffff);
    return near ^ (joined >> 1) ^ (-(joined & 1) & 0x9908b0df);
}

static void refill(struct twister *t)
{
    uint32_t *w = t->word;
    int i;
    for (i = 0; i < WORDS - NEAR; i++)
        w[i] = twisted(w[i], w[i + 1], w[i + NEAR]);
    for (; i < WORDS - 1; i++)
        w[i] = twisted(w[i], w[i + 1], w[i + NEAR - WORDS]);
    w[i] = twisted(w[i], w[0], w[NEAR - 1]);
    t->next = 0;
}

static uint32_t tempered(uint32_t u)
{
    u ^= u >> 11;
    u ^= u << 7 & 0x9d2c5680;
    u ^= u << 15 & 0xefc60000;
    return u ^ u >> 18;
}

static uint32_t draw(struct twister *t)
{
    if (t->next == WORDS)
        refill(t);
    return tempered(t->word[t->next++]);
}

void draws(struct twister *t, uint32_t *out, int64_t n)
{
    while (n > 0) {
        if (t->next == WORDS)
            refill(t);
        int64_t left = WORDS - t->next, some = n < left ? n : left;
        for (int64_t i = 0; i < some; i++)
            out[i] = tempered(t->word[t->next + i]);
        t->next += some, out += some, n -= some;
    }
}

static float height(struct twister *t)
{
    uint32_t u;
    do
        u = draw(t);
    while (u >= ROUNDS_TO_ONE);
    return (float)u * 0x1p-32f;
}

static float exponential(struct twister *t, const struct ziggurat *layers)
{
    for (float shift = 0;;) {
        uint32_t u = draw(t), i = u & 255;
        float x = (float)(u >> 8) * 0x1p-24f * layers->x[i];
        if (x < layers->x[i + 1])
            return shift + x;
        if (i == 0) /* the tail is the whole over again */
            shift += layers->x[1];
        else if (layers->y[i] + height(t) * layers->heights[i] < (float)exp(-(double)x))
            return shift + x;
    }
}

static int is_under_normal(float x, uint32_t i, float v, const struct ziggurat *layers)
{
    float inward = layers->x[i] - x, y = layers->y[i] + v * layers->heights[i];
    float above_chord = layers->widths[i] * v - inward;
    float above_tangent = y - (layers->y[i] + inward * layers->y[i] * layers->x[i]);
    int is_convex = layers->exact_x[i] >= 1;
    float upper = is_convex ? above_chord : above_tangent, lower = is_convex ? above_tangent : above_chord;
    return upper < 0 && (lower < 0 || y < (float)exp(-(double)(x * x / 2)));
}

static float tail(struct twister *t, const struct ziggurat *layers, const struct ziggurat *exponentials)
{
    float x, y;
    do {
        x = exponential(t, exponentials) / layers->x[1];
        y = exponential(t, exponentials);
    } while (!(y + y > x * x));
    return x + layers->x[1];
}

static float normal(struct twister *t, const struct ziggurat *layers, const struct ziggurat *exponentials)
{
    for (;;) {
        uint32_t u = draw(t), i = u >> 1 & 127;
        float sign = (int)(2 * (u & 1)) - 1; /* no branch, which would go either way */
        float x = (float)(u >> 8) * 0x1p-24f * layers->x[i];
        if (x < layers->exact_x[i + 1])
            return sign * x;
        if (i == 0)
            return sign * tail(t, layers, exponentials);
        if (is_under_normal(x, i, height(t), layers))
            return sign * x;
    }
}

void normals(struct twister *t, float *out, int64_t n, float mean, float std, const struct ziggurat *layers,
             const struct ziggurat *exponentials)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = normal(t, layers, exponentials) * std + mean;
}
