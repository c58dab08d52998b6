/* The EGG network on members that differ by noise of low rank, one byte after the other; see arithmetic.py for what each
 * step means and egg_kernel.py for the arguments. Eight rows, four pairs, are computed together, so that a weight that
 * was loaded serves all of them. Right shifts of negative numbers are arithmetic here, as on every compiler in use. */
#include <stdint.h>
#include <string.h>
#if defined(__AVX512VNNI__)
#include <immintrin.h>
#endif

#define ROWS 8
#define WIDEST 1024 /* 4 x the largest width */
#define MOST 256    /* the largest width, and the number of bytes */

typedef struct {
  int32_t width, layers, length, rank, noise_shift, wide;
  int32_t scale_narrow, scale_wide; /* a shift if >= 0, else minus a divisor: of sums over D and over 4 D inputs */
} Sizes;

typedef struct {
  const uint8_t *weights; /* w + 128 in blocks [m / 16][n / 4][16][4] */
  const int8_t *b, *a;    /* (pairs, rank, n) and (pairs, rank, m) */
  int32_t n, m;
} Matrix;

typedef struct {
  const int8_t *weights;
  const int16_t *noise; /* (pairs, D): products of two numbers */
} Vector;

typedef struct {
  const int32_t *shift, *magic, *power, *threshold; /* see arithmetic.py */
} Tables;

static inline int clip(int v) { return v > 127 ? 127 : v < -127 ? -127 : v; }

static inline int scaled(int v, int scale) {
  if (scale >= 0) return v >> scale;
  int d = -scale, q = v / d;
  return q - (v % d < 0);
}

/* sums[r][i] = sum over j of x[r][j] w[i][j] */
static void multiply(const Matrix *w, const int8_t *x, int32_t *sums) {
  const int n = w->n, m = w->m;
  int32_t less[ROWS];
  for (int r = 0; r < ROWS; r++) {
    int s = 0;
    for (int j = 0; j < n; j++) s += x[r * n + j];
    less[r] = -128 * s;
  }
#if defined(__AVX512VNNI__)
  for (int g = 0; g + 1 < m / 16; g += 2) {
    __m512i one[ROWS], two[ROWS];
    for (int r = 0; r < ROWS; r++) one[r] = two[r] = _mm512_set1_epi32(less[r]);
    const uint8_t *first = w->weights + (size_t)g * n * 16, *second = first + (size_t)n * 16;
    for (int k = 0; k < n / 4; k++) {
      const __m512i u = _mm512_loadu_si512(first + 64 * k), v = _mm512_loadu_si512(second + 64 * k);
      for (int r = 0; r < ROWS; r++) {
        int32_t four;
        memcpy(&four, x + r * n + 4 * k, 4);
        const __m512i all = _mm512_set1_epi32(four);
        one[r] = _mm512_dpbusd_epi32(one[r], u, all);
        two[r] = _mm512_dpbusd_epi32(two[r], v, all);
      }
    }
    for (int r = 0; r < ROWS; r++) {
      _mm512_storeu_si512(sums + r * m + 16 * g, one[r]);
      _mm512_storeu_si512(sums + r * m + 16 * g + 16, two[r]);
    }
  }
  const int begin = m / 16 / 2 * 2;
#else
  const int begin = 0;
#endif
  for (int r = 0; r < ROWS; r++)
    for (int g = begin; g < m / 16; g++) {
      int32_t s[16];
      for (int i = 0; i < 16; i++) s[i] = less[r];
      for (int k = 0; k < n / 4; k++) {
        const uint8_t *block = w->weights + ((size_t)g * (n / 4) + k) * 64;
        for (int i = 0; i < 16; i++)
          for (int q = 0; q < 4; q++) s[i] += (int)block[4 * i + q] * x[r * n + 4 * k + q];
      }
      memcpy(sums + r * m + 16 * g, s, sizeof s);
    }
}

/* out = clip((x W^T + ((sum over k of (x . b_k) a_k sign) >> noise_shift)) / scale), floored */
static void product(const Sizes *z, const Matrix *w, int pair, const int8_t *x, int32_t *sums, int16_t *out) {
  const int n = w->n, m = w->m, scale = n > z->width ? z->scale_wide : z->scale_narrow;
  multiply(w, x, sums);
  for (int r = 0; r < ROWS; r++) {
    const int8_t *b = w->b + (size_t)(pair + r / 2) * z->rank * n, *a = w->a + (size_t)(pair + r / 2) * z->rank * m;
    const int8_t *own = x + r * n;
    int32_t *s = sums + r * m;
    int16_t *to = out + r * m;
    if (!z->wide && z->rank == 1 && scale >= 0) {
      int t = 0;
      for (int j = 0; j < n; j++) t += own[j] * b[j];
      if (r & 1) t = -t;
      for (int i = 0; i < m; i++) to[i] = (int16_t)clip((s[i] + ((t * a[i]) >> z->noise_shift)) >> scale);
      continue;
    }
    int64_t t[16];
    for (int k = 0; k < z->rank; k++) {
      int32_t sum = 0;
      for (int j = 0; j < n; j++) sum += own[j] * b[k * n + j];
      t[k] = r & 1 ? -(int64_t)sum : sum;
    }
    for (int i = 0; i < m; i++) {
      int64_t sum = 0;
      for (int k = 0; k < z->rank; k++) sum += t[k] * a[k * m + i];
      to[i] = (int16_t)clip(scaled(s[i] + (int32_t)(sum >> z->noise_shift), scale));
    }
  }
}

static void normalise(const Sizes *z, const Tables *tables, const int16_t *x, const int16_t *w, int8_t *out) {
  const int d = z->width;
  for (int r = 0; r < ROWS; r++) {
    int sum = 0;
    for (int j = 0; j < d; j++) sum += x[r * d + j] < 0 ? -x[r * d + j] : x[r * d + j];
    int mean = sum / d;
    mean = mean < 1 ? 1 : mean;
    const int shift = tables->shift[mean], magic = tables->magic[mean];
    for (int j = 0; j < d; j++) {
      const int a = x[r * d + j] * w[r * d + j], minus = a >> 31;
      out[r * d + j] = (int8_t)clip((((a ^ minus) * magic) >> shift) ^ minus);
    }
  }
}

static void vectors(const Sizes *z, const Vector *v, int pair, int16_t *out) {
  const int d = z->width;
  for (int r = 0; r < ROWS; r++)
    for (int j = 0; j < d; j++) {
      int noise = v->noise[(size_t)(pair + r / 2) * d + j];
      noise = r & 1 ? -noise : noise;
      out[r * d + j] = (int16_t)clip(v->weights[j] + (noise >> z->noise_shift));
    }
}

/* floor(16 log2(sum / 16)) by the 15 thresholds between two powers of two */
static inline int logarithm(const Tables *tables, int32_t sum) {
  const int k = 31 - __builtin_clz((uint32_t)sum);
  const int64_t mantissa = (int64_t)sum << (30 - k);
  int part = 0;
  for (int q = 0; q < 15; q++) part += mantissa >= tables->threshold[q];
  return 16 * (k - 4) + part;
}

/* Rows 2 pair to 2 pair + 7. matrices: of each layer wf, uf, wh, uh, up, down; then the head. vecs: of each layer norm1,
 * bf, bh, norm2; then the last norm. bytes: (pairs, length + 1). states: (rows, layers, D). scores: (rows). */
void egg_block(const Sizes *z, const Tables *tables, const int8_t *embedding, const int8_t *embedding_a,
               const int8_t *embedding_b, const Matrix *matrices, const Vector *vecs, const uint8_t *bytes, int pair,
               int8_t *states, int32_t *scores) {
  const int d = z->width, layers = z->layers;
  int32_t sums[ROWS * WIDEST];
  int16_t x[ROWS * MOST], f[ROWS * MOST], u[ROWS * MOST], h[ROWS * MOST], many[ROWS * WIDEST], w[ROWS * MOST];
  int8_t y[ROWS * WIDEST], g[ROWS * MOST], s[ROWS * MOST];
  int32_t total[ROWS] = {0};
  for (int t = 0; t < z->length; t++) {
    for (int r = 0; r < ROWS; r++) {
      const int p = pair + r / 2, byte = bytes[(size_t)p * (z->length + 1) + t];
      for (int j = 0; j < d; j++) {
        int64_t noise = 0;
        for (int k = 0; k < z->rank; k++)
          noise += (int)embedding_a[((size_t)p * z->rank + k) * 256 + byte] * embedding_b[((size_t)p * z->rank + k) * d + j];
        noise = r & 1 ? -noise : noise;
        x[r * d + j] = (int16_t)clip(embedding[byte * d + j] + (int)(noise >> z->noise_shift));
      }
    }
    for (int layer = 0; layer < layers; layer++) {
      const Matrix *m = matrices + 6 * layer;
      const Vector *v = vecs + 4 * layer;
      for (int r = 0; r < ROWS; r++) {
        const int byte = bytes[(size_t)(pair + r / 2) * (z->length + 1) + t];
        int8_t *kept = states + ((size_t)(2 * pair + r) * layers + layer) * d;
        if (!byte) memset(kept, 0, d); /* a document begins */
        memcpy(s + r * d, kept, d);
      }
      vectors(z, v, pair, w);
      normalise(z, tables, x, w, y);
      product(z, m, pair, y, sums, f);
      product(z, m + 1, pair, s, sums, u);
      vectors(z, v + 1, pair, w);
      for (int i = 0; i < ROWS * d; i++) {
        f[i] = (int16_t)(clip(f[i] + u[i] + w[i]) + 127);
        g[i] = (int8_t)((f[i] * s[i]) >> 8);
      }
      product(z, m + 2, pair, y, sums, h);
      product(z, m + 3, pair, g, sums, u);
      vectors(z, v + 2, pair, w);
      for (int i = 0; i < ROWS * d; i++) {
        const int next = s[i] + ((f[i] * (clip(h[i] + u[i] + w[i]) - s[i])) >> 8);
        s[i] = (int8_t)next;
        x[i] = (int16_t)clip(x[i] + next);
      }
      for (int r = 0; r < ROWS; r++) memcpy(states + ((size_t)(2 * pair + r) * layers + layer) * d, s + r * d, d);
      vectors(z, v + 3, pair, w);
      normalise(z, tables, x, w, y);
      product(z, m + 4, pair, y, sums, many);
      for (int i = 0; i < ROWS * 4 * d; i++) y[i] = (int8_t)many[i];
      product(z, m + 5, pair, y, sums, u);
      for (int i = 0; i < ROWS * d; i++) x[i] = (int16_t)clip(x[i] + u[i]);
    }
    vectors(z, vecs + 4 * layers, pair, w);
    normalise(z, tables, x, w, y);
    product(z, matrices + 6 * layers, pair, y, sums, many);
    for (int r = 0; r < ROWS; r++) {
      const int16_t *logits = many + r * 256;
      int32_t sum = 0;
      for (int i = 0; i < 256; i++) sum += tables->power[logits[i] + 128];
      const int target = bytes[(size_t)(pair + r / 2) * (z->length + 1) + t + 1];
      total[r] += logits[target] + 128 - logarithm(tables, sum);
    }
  }
  for (int r = 0; r < ROWS; r++) scores[2 * pair + r] += total[r];
}

/* numbers[i] = table[codes[i]] */
void egg_numbers(const uint16_t *codes, int64_t count, const int8_t *table, int8_t *numbers) {
  for (int64_t i = 0; i < count; i++) numbers[i] = table[codes[i]];
}
