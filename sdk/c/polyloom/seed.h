/* seed.h: the seed of a cell, from the flow's seed and the cell's id, as in every language (protocol/SPEC.md, 6.3).
 * A cell finds its own as $POLYLOOM_SEED. It does not make random numbers of it.
 */
#ifndef POLYLOOM_SEED_H
#define POLYLOOM_SEED_H

#include "base.h"

/* SHA-256 (FIPS 180-4) of a text that comes in pieces. */
typedef struct pl_sha256 {
  uint32_t state[8];
  unsigned char block[64];
  uint64_t size;
} pl_sha256;

PL_API uint32_t pl_rotated(uint32_t word, unsigned by) { return (word >> by) | (word << (32 - by)); }

PL_API void pl_sha256_block(pl_sha256 *hash) {
  static const uint32_t k[64] = {
      0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
      0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
      0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
      0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
      0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
      0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
      0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
      0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
  uint32_t w[64], s[8];
  unsigned i;
  for (i = 0; i < 16; i++) {
    const unsigned char *at = hash->block + 4 * i;
    w[i] = ((uint32_t)at[0] << 24) | ((uint32_t)at[1] << 16) | ((uint32_t)at[2] << 8) | at[3];
  }
  for (; i < 64; i++) {
    uint32_t a = pl_rotated(w[i - 15], 7) ^ pl_rotated(w[i - 15], 18) ^ (w[i - 15] >> 3);
    uint32_t b = pl_rotated(w[i - 2], 17) ^ pl_rotated(w[i - 2], 19) ^ (w[i - 2] >> 10);
    w[i] = w[i - 16] + a + w[i - 7] + b;
  }
  memcpy(s, hash->state, sizeof s);
  for (i = 0; i < 64; i++) {
    uint32_t e = pl_rotated(s[4], 6) ^ pl_rotated(s[4], 11) ^ pl_rotated(s[4], 25);
    uint32_t a = pl_rotated(s[0], 2) ^ pl_rotated(s[0], 13) ^ pl_rotated(s[0], 22);
    uint32_t t = s[7] + e + ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
    uint32_t u = a + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
    memmove(s + 1, s, 7 * sizeof *s);
    s[4] += t;
    s[0] = t + u;
  }
  for (i = 0; i < 8; i++) hash->state[i] += s[i];
}

PL_API void pl_sha256_add(pl_sha256 *hash, const void *data, size_t size) {
  const unsigned char *at = (const unsigned char *)data;
  while (size-- > 0) {
    hash->block[hash->size++ % 64] = *at++;
    if (hash->size % 64 == 0) pl_sha256_block(hash);
  }
}

/* The seed of the cell `cell` in a flow of seed `flow`: 0 to 2^63-1. */
PL_API int64_t pl_cell_seed(int64_t flow, const char *cell) {
  static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  pl_sha256 hash;
  char number[24];
  unsigned char length[8];
  uint64_t bits;
  int i;
  memcpy(hash.state, start, sizeof start);
  hash.size = 0;
  snprintf(number, sizeof number, "%lld", (long long)flow);
  pl_sha256_add(&hash, "polyloom seed 1", 16);
  pl_sha256_add(&hash, number, strlen(number) + 1);
  pl_sha256_add(&hash, cell, strlen(cell));
  bits = hash.size * 8;
  pl_sha256_add(&hash, "\x80", 1);
  while (hash.size % 64 != 56) pl_sha256_add(&hash, "", 1);
  for (i = 0; i < 8; i++) length[i] = (unsigned char)(bits >> (56 - 8 * i));
  pl_sha256_add(&hash, length, 8);
  /* The digest is the state with the highest byte of each word first; its first eight bytes, the lowest first. */
  bits = 0;
  for (i = 7; i >= 0; i--) bits = (bits << 8) | ((hash.state[i / 4] >> (24 - 8 * (i % 4))) & 255);
  return (int64_t)(bits & 0x7fffffffffffffffULL);
}

#endif
