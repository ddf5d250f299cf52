/**
 * Epochs: which grant of a VM is the newer one (DESIGN section 3).
 *
 * `E.s`: home's number E, led by the mesh group's generation, then placement's number s, led by the site group's.
 * Compared left to right. None is used twice.
 */
import { integer, type Shape } from './shape.ts'
import { GodwitError } from './errors.ts'

export type Epoch = readonly [meshGeneration: number, home: number, siteGeneration: number, placement: number]

const part = integer(0, 2 ** 40)

export const epoch: Shape<Epoch> = (value, at) => {
  if (!Array.isArray(value) || value.length !== 4)
    throw new GodwitError({ code: 'FRAME_INVALID', at, expected: 'an epoch of four numbers' })
  return [part(value[0], at), part(value[1], at), part(value[2], at), part(value[3], at)]
}

/** Negative when `a` is older than `b`, 0 when equal, positive when newer. */
export function compareEpochs(a: Epoch, b: Epoch): number {
  return a[0] - b[0] || a[1] - b[1] || a[2] - b[2] || a[3] - b[3]
}

/** The first placement of a VM that a site group of this generation creates. */
export const firstEpoch = (siteGeneration: number): Epoch => [0, 1, siteGeneration, 1]
/** The next placement inside the site. The group's generation leads: what a lost log may have given is passed over. */
export const nextPlacement = ([g, home, h, placement]: Epoch, siteGeneration = 0): Epoch => [
  g,
  home,
  Math.max(h, siteGeneration),
  placement + 1,
]
/** The first placement in the next home. */
export const nextHome = ([g, home]: Epoch, meshGeneration = 0): Epoch => [
  Math.max(g, meshGeneration),
  home + 1,
  0,
  1,
]
/** Negative when home `a` is older than home `b`. */
export const compareHomes = (a: Epoch, b: Epoch): number => a[0] - b[0] || a[1] - b[1]
/** `E.s` for people; generations show only when there were any. */
export const printEpoch = ([g, home, h, placement]: Epoch): string =>
  `${g > 0 ? `${printGeneration(g)}:` : ''}${home}.${h > 0 ? `${printGeneration(h)}:` : ''}${placement}`

/**
 * A group's generation: how often it was recovered, and 16 bits drawn each time. Two members that are both recovered
 * make two generations, of which one is the newer everywhere; they are never taken for one another.
 */
const GENERATION_MARKS = 2 ** 16
export const nextGeneration = (generation: number, dice: () => number): number =>
  (partsOf(generation).ordinal + 1) * GENERATION_MARKS + Math.floor(dice() * GENERATION_MARKS)
export const partsOf = (generation: number): { ordinal: number; mark: number } => ({
  ordinal: Math.floor(generation / GENERATION_MARKS),
  mark: generation % GENERATION_MARKS,
})
/** `2-9c1f`: the second, and its mark. */
export function printGeneration(generation: number): string {
  const { ordinal, mark } = partsOf(generation)
  return `${ordinal}-${mark.toString(16).padStart(4, '0')}`
}
