/** Seeded dice (xoshiro128**, Blackman and Vigna 2018): the same seed and purpose give the same throws for ever. */

export type Random = {
  /** A number in [0, 1). */
  (): number
  /** An integer in 0..below-1. */
  below(below: number): number
  chance(probability: number): boolean
  pick<T>(items: readonly T[]): T
  shuffle<T>(items: readonly T[]): T[]
}

/** `purpose` keeps streams apart, so that one throw more in one part does not shift another. */
export function random(seed: number, purpose: string): Random {
  let a = mix(seed >>> 0)
  for (let i = 0; i < purpose.length; i++) a = mix(a ^ purpose.charCodeAt(i))
  let [s0, s1, s2, s3] = [mix(a), mix(a ^ 0x9e3779b9), mix(a ^ 0x85ebca6b), mix(a ^ 0xc2b2ae35) | 1]
  const rotate = (x: number, k: number): number => (x << k) | (x >>> (32 - k))

  const next = (): number => {
    const result = Math.imul(rotate(Math.imul(s1, 5), 7), 9) >>> 0
    const t = s1 << 9
    s2 ^= s0
    s3 ^= s1
    s1 ^= s2
    s0 ^= s3
    s2 ^= t
    s3 = rotate(s3, 11)
    return result / 2 ** 32
  }
  const below = (bound: number): number => Math.floor(next() * bound)

  return Object.assign(next, {
    below,
    chance: (probability: number): boolean => next() < probability,
    pick: <T>(items: readonly T[]): T => items[below(items.length)] as T,
    shuffle: <T>(items: readonly T[]): T[] => {
      const out = [...items]
      for (let i = out.length - 1; i > 0; i--) {
        const j = below(i + 1)
        const moved = out[i] as T
        out[i] = out[j] as T
        out[j] = moved
      }
      return out
    },
  })
}

/** splitmix32's finaliser. */
function mix(value: number): number {
  let x = (value + 0x9e3779b9) | 0
  x = Math.imul(x ^ (x >>> 16), 0x21f0aaad)
  x = Math.imul(x ^ (x >>> 15), 0x735a2d97)
  return (x ^ (x >>> 15)) >>> 0
}
