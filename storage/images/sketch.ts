/**
 * A sketch of an image: a sample of its fingerprints that is the same sample for every image, so that two sketches tell how
 * much of one image another holds. Kept are all fingerprints below 2^(48 - shift) (a FracMinHash; Irber et al., sourmash
 * gather, 2022): unlike the k least of all (MinHash) it says containment, not only likeness, and a small image inside a
 * large one is found. One block in 256 is 6 KiB for each GiB of content; larger images take a higher `shift`.
 *
 *   u8 shift, 6 bytes for each fingerprint, ascending
 */
import { GodwitError } from '../../protocols/errors.ts'
import type { ImageId } from '../../protocols/ids.ts'
import { BASES_MAX, SKETCH_FINGERPRINTS_MAX } from '../../protocols/limits.ts'
import { FINGERPRINT_BYTES, fingerprintAt, setFingerprint } from './fingerprint.ts'

export type Sketch = {
  /** The part of all blocks that is looked at is 2^-shift. */
  readonly shift: number
  /** Ascending, each once, all below 2^(48 - shift). */
  readonly fingerprints: Float64Array
}

/** A GiB in 1,024 samples: a base that holds a hundredth of it shows as ten. */
const SHIFT_MIN = 8
const SHIFT_MAX = 40
/** A base that brings less than a hundredth of what is missing is not worth its list. */
const SHARE_MIN = 0.01

/** Of a list of fingerprints, read in pieces or whole. A block of zeros counts for nothing. */
export class Sketching {
  #shift = SHIFT_MIN
  #kept = new Set<number>()

  add(list: Uint8Array): void {
    for (let at = 0; at < list.length / FINGERPRINT_BYTES; at++) {
      const fingerprint = fingerprintAt(list, at)
      if (fingerprint === 0 || fingerprint >= 2 ** (48 - this.#shift)) continue
      this.#kept.add(fingerprint)
      while (this.#kept.size > SKETCH_FINGERPRINTS_MAX && this.#shift < SHIFT_MAX)
        this.#kept = below(this.#kept, ++this.#shift)
    }
  }

  sketch(): Sketch {
    return { shift: this.#shift, fingerprints: Float64Array.from(this.#kept).sort() }
  }
}

const below = (some: Iterable<number>, shift: number): Set<number> =>
  new Set([...some].filter((fingerprint) => fingerprint < 2 ** (48 - shift)))

export function sketchOf(...lists: readonly Uint8Array[]): Sketch {
  const sketching = new Sketching()
  for (const list of lists) sketching.add(list)
  return sketching.sketch()
}

/**
 * The bases that together hold most of `target`, the one that brings most first: greedily, each for what those before it
 * do not hold. At most BASES_MAX.
 */
export function nearest(
  target: Sketch,
  candidates: readonly { readonly image: ImageId; readonly sketch: Sketch }[],
): ImageId[] {
  const left = new Set(target.fingerprints)
  const worth = Math.max(1, left.size * SHARE_MIN) * 2 ** target.shift
  const rest = new Map(candidates.map(({ image, sketch }) => [image, sketch]))
  const bases: ImageId[] = []
  while (bases.length < BASES_MAX && rest.size > 0) {
    let best: ImageId | undefined
    let most = 0
    for (const [image, sketch] of rest) {
      const brings = shared(left, sketch) * 2 ** Math.max(target.shift, sketch.shift)
      if (brings > most) [best, most] = [image, brings]
    }
    if (best === undefined || most < worth) break
    for (const fingerprint of (rest.get(best) as Sketch).fingerprints) left.delete(fingerprint)
    rest.delete(best)
    bases.push(best)
  }
  return bases
}

/** Fingerprints of `left` in `sketch`: of those that both look at. */
function shared(left: ReadonlySet<number>, sketch: Sketch): number {
  let count = 0
  for (const fingerprint of sketch.fingerprints) if (left.has(fingerprint)) count++
  return count
}

export function encodeSketch({ shift, fingerprints }: Sketch): Uint8Array {
  const encoded = new Uint8Array(1 + fingerprints.length * FINGERPRINT_BYTES)
  encoded[0] = shift
  const list = encoded.subarray(1)
  fingerprints.forEach((fingerprint, at) => setFingerprint(list, at, fingerprint))
  return encoded
}

/** @throws GodwitError FRAME_INVALID, and nothing else, whatever the bytes are. */
export function decodeSketch(encoded: Uint8Array): Sketch {
  const [shift = 0] = encoded
  const list = encoded.subarray(1)
  const count = list.length / FINGERPRINT_BYTES
  if (shift < SHIFT_MIN || shift > SHIFT_MAX || !Number.isInteger(count) || count > SKETCH_FINGERPRINTS_MAX)
    return refuse()
  const fingerprints = Float64Array.from({ length: count }, (_, at) => fingerprintAt(list, at))
  let before = 0
  for (const fingerprint of fingerprints) {
    if (fingerprint <= before) return refuse()
    before = fingerprint
  }
  return before < 2 ** (48 - shift) ? { shift, fingerprints } : refuse()
}

const refuse = (): never => {
  throw new GodwitError({ code: 'FRAME_INVALID', at: 'a sketch', expected: 'a sample in order' })
}
