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

export const FIRST_EPOCH: Epoch = [0, 1, 0, 1]
/** The next placement inside the site. */
export const nextPlacement = ([g, home, h, placement]: Epoch): Epoch => [g, home, h, placement + 1]
/** The first placement in the next home. */
export const nextHome = ([g, home]: Epoch): Epoch => [g, home + 1, 0, 1]
/** `E.s` for people; generations show only when there were any. */
export const printEpoch = ([g, home, h, placement]: Epoch): string =>
  `${g > 0 ? `${g}:` : ''}${home}.${h > 0 ? `${h}:` : ''}${placement}`
